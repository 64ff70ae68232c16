//! Names and ids.

use super::super::Subject;
use super::super::support::refused;
use super::super::told::event;

pub(super) async fn a_container_is_found_by_name_and_id(s: Subject) {
    let spec = s.spec(&["true"]);
    let name = spec.name.clone().unwrap();
    let id = s.create(spec).await;
    for text in [
        id.clone(),
        id[..20].to_owned(),
        name.clone(),
        format!("/{name}"),
    ] {
        assert_eq!(s.inspect(&text).await.id, id, "{text}");
    }
    // A prefix of a name is no name.
    refused!(
        s.runtime
            .inspect_container(&name[..name.len() - 1], false)
            .await,
        NotFound
    );
}

/// Of 17 ids two begin with the same digit.
pub(super) async fn a_prefix_must_fit_one(s: Subject) {
    let mut seen = std::collections::BTreeSet::new();
    loop {
        let id = s.create(s.spec(&["true"])).await;
        if !seen.insert(id[..1].to_owned()) {
            let result = s.runtime.inspect_container(&id[..1], false).await;
            refused!(result, InvalidArgument, "multiple");
            return;
        }
    }
}

pub(super) async fn a_name_is_made_up(s: Subject) {
    let mut spec = s.spec(&["true"]);
    spec.name = None;
    let id = s.create(spec).await;
    let name = s.inspect(&id).await.name;
    assert!(!name.is_empty());
    assert_eq!(s.inspect(&name).await.id, id);
}

pub(super) async fn a_taken_name(s: Subject) {
    let spec = s.spec(&["true"]);
    let name = spec.name.clone().unwrap();
    let id = s.create(spec.clone()).await;
    refused!(
        s.runtime.create_container(spec).await,
        AlreadyExists,
        format!("The container name \"/{name}\" is already in use by container \"{id}\"")
    );
}

pub(super) async fn bad_names(s: Subject) {
    for name in ["a", "-ab", ".ab", "a b", "a/b", "ä1", "a$"] {
        let mut spec = s.spec(&["true"]);
        spec.name = Some(name.into());
        refused!(
            s.runtime.create_container(spec).await,
            InvalidArgument,
            "invalid container name"
        );
    }
    let mut spec = s.spec(&["true"]);
    let name = format!("{}_x.y", spec.name.unwrap());
    spec.name = Some(format!("/{name}"));
    let id = s.create(spec).await;
    assert_eq!(
        s.inspect(&id).await.name,
        name,
        "a leading slash is no part of it"
    );
}

pub(super) async fn rename(s: Subject) {
    let mut listener = s.listen();
    let id = s.sleeper().await;
    let old = s.inspect(&id).await.name;
    let new = s.name();
    s.runtime.rename_container(&old, &new).await.unwrap();
    let told = event(&mut listener, &id, "rename").await;
    assert_eq!(told.attributes["name"], new);
    assert_eq!(told.attributes["oldName"], format!("/{old}"));
    assert_eq!(s.inspect(&new).await.id, id);
    assert_eq!(s.inspect(&id).await.name, new);
    refused!(s.runtime.inspect_container(&old, false).await, NotFound);
    // The old name is free.
    let mut spec = s.spec(&["true"]);
    spec.name = Some(old.clone());
    let other = s.create(spec).await;
    refused!(
        s.runtime.rename_container(&id, &old).await,
        AlreadyExists,
        "already in use"
    );
    refused!(
        s.runtime.rename_container(&id, &new).await,
        InvalidArgument,
        "same name"
    );
    for bad in ["", "a b", "/"] {
        refused!(s.runtime.rename_container(&id, bad).await, InvalidArgument);
    }
    assert_eq!(s.inspect(&new).await.id, id);
    assert_eq!(s.inspect(&old).await.id, other);
}

/// However many ask for a name, one gets it.
pub(super) async fn a_name_has_one_owner(s: Subject) {
    let name = s.name();
    let creations = (0..20).map(|_| {
        let mut spec = s.spec(&["true"]);
        spec.name = Some(name.clone());
        s.runtime.create_container(spec)
    });
    let results = futures_util::future::join_all(creations).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for result in results.into_iter().filter(Result::is_err) {
        refused!(result, AlreadyExists, "already in use");
    }
}
