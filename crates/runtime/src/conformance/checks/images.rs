//! Images: commit, list, tag, remove, pull.

use super::super::Subject;
use super::super::support::{all, refused, soon};
use super::super::told::event;
use crate::container::RemoveOptions;
use crate::image::{CommitRequest, ImageRemoval, PullRequest, RemoveImageOptions};
use crate::{Filters, RuntimeError};

const PLAIN: RemoveImageOptions = RemoveImageOptions {
    force: false,
    no_prune: false,
};
const FORCE: RemoveImageOptions = RemoveImageOptions {
    force: true,
    no_prune: false,
};

impl Subject {
    /// A new image, of a container that ran a script; gives its id.
    pub(super) async fn commit_of(
        &self,
        script: &str,
        name: Option<&str>,
        changes: &[&str],
    ) -> String {
        let (container, code) = self.run(self.sh(script)).await;
        assert_eq!(code, 0, "{script}");
        let request = CommitRequest {
            container: container.clone(),
            reference: name.map(str::to_owned),
            comment: "a comment".into(),
            author: "somebody".into(),
            pause: true,
            changes: changes.iter().map(|&change| change.to_owned()).collect(),
            ..CommitRequest::default()
        };
        let id = soon("commit", self.runtime.commit_container(request)).await;
        self.remove(&container).await;
        id.unwrap_or_else(|error| panic!("commit: {error}"))
    }
}

pub(super) async fn inspected_and_listed(s: Subject) {
    let image = s.runtime.inspect_image(&s.image).await.unwrap();
    assert!(
        image.id.starts_with("sha256:") && image.id.len() == 71,
        "{}",
        image.id
    );
    assert!(!image.repo_tags.is_empty() && !image.layers.is_empty() && image.size > 0);
    assert_eq!(image.os, "linux");
    let hex = &image.id[7..];
    for text in [&image.id, hex, &hex[..12], &image.repo_tags[0]] {
        assert_eq!(
            s.runtime.inspect_image(text).await.unwrap().id,
            image.id,
            "{text}"
        );
    }
    let listed = s.runtime.list_images(true).await.unwrap();
    let found = listed
        .iter()
        .find(|other| other.id == image.id)
        .expect("it is listed");
    assert_eq!(found.repo_tags, image.repo_tags);
    assert!(found.shared_size.is_some());
    let plain = s.runtime.list_images(false).await.unwrap();
    assert!(plain.iter().all(|image| image.shared_size.is_none()));
}

pub(super) async fn history(s: Subject) {
    if !s.can.commit {
        return;
    }
    let name = s.image_name();
    let id = s.commit_of("echo x > /file", Some(&name), &[]).await;
    let base = s.runtime.image_history(&s.image).await.unwrap();
    let history = s.runtime.image_history(&id).await.unwrap();
    assert_eq!(history.len(), base.len() + 1, "newest first");
    assert_eq!(history[0].id, id);
    assert_eq!(history[0].tags, [name]);
    assert_eq!(history[0].comment, "a comment");
    assert!(
        history[0].created_by.contains("echo x > /file"),
        "{}",
        history[0].created_by
    );
    assert!(history[0].size > 0);
    assert!(history[1..].iter().all(|step| step.id != id));
}

pub(super) async fn commit_then_run(s: Subject) {
    if !s.can.commit {
        return;
    }
    let mut listener = s.listen();
    let name = s.image_name();
    let changes = [
        "CMD [\"cat\", \"/own\"]",
        "ENV A=1",
        "LABEL own=yes",
        "WORKDIR /tmp",
        "EXPOSE 80",
    ];
    let id = s
        .commit_of(
            "echo committed > /own; rm /etc/group",
            Some(&name),
            &changes,
        )
        .await;
    let told = loop {
        let next = soon("event commit", listener.next()).await.unwrap();
        if next.action == "commit" && next.attributes.get("imageID") == Some(&id) {
            break next;
        }
    };
    assert_eq!(told.attributes["comment"], "a comment");
    let image = s.runtime.inspect_image(&name).await.unwrap();
    assert_eq!(image.id, id);
    assert_eq!(
        (image.author.as_str(), image.comment.as_str()),
        ("somebody", "a comment")
    );
    assert!(image.config.env.contains(&"A=1".to_owned()));
    assert_eq!(
        (
            image.config.labels["own"].as_str(),
            image.config.working_dir.as_str()
        ),
        ("yes", "/tmp")
    );
    assert!(image.config.exposed_ports.contains_key("80/tcp"));
    let base = s.runtime.inspect_image(&s.image).await.unwrap();
    assert_eq!(image.parent, base.id);
    assert_eq!(image.layers[..base.layers.len()], base.layers);
    let mut spec = s.spec(&[]);
    spec.config.image.clone_from(&name);
    spec.config.cmd = None;
    assert_eq!(s.output(spec).await.1.stdout, "committed\n");
    let mut spec = s.sh("[ ! -f /etc/group ] && echo $A $(pwd)");
    spec.config.image = name;
    assert_eq!(s.output(spec).await.1.stdout, "1 /tmp\n");
}

pub(super) async fn commit_of_a_running_container(s: Subject) {
    if !s.can.commit {
        return;
    }
    let id = s
        .launch(s.sh("echo x > /own; echo ready; sleep 1000 & wait"))
        .await;
    s.until_logged(&id, "ready").await;
    for pause in [true, false] {
        let reference = Some(s.image_name());
        let request = CommitRequest {
            container: id.clone(),
            reference,
            pause,
            ..CommitRequest::default()
        };
        soon("commit", s.runtime.commit_container(request))
            .await
            .unwrap();
        assert_eq!(s.status(&id).await, crate::Status::Running);
    }
    for (changes, reference) in [
        (vec!["RUN x".to_owned()], None),
        (vec![], Some("Not Valid".to_owned())),
    ] {
        let request = CommitRequest {
            container: id.clone(),
            changes,
            reference,
            ..CommitRequest::default()
        };
        refused!(s.runtime.commit_container(request).await, InvalidArgument);
    }
}

pub(super) async fn tags(s: Subject) {
    if !s.can.commit {
        return;
    }
    let id = s.commit_of("echo tags > /file", None, &[]).await;
    assert!(
        s.runtime
            .inspect_image(&id)
            .await
            .unwrap()
            .repo_tags
            .is_empty()
    );
    let mut listener = s.listen();
    let (one, two) = (s.image_name(), s.image_name());
    for name in [&one, &two] {
        s.runtime.tag_image(&id, name).await.unwrap();
        event(&mut listener, &id, "tag").await;
        assert_eq!(s.runtime.inspect_image(name).await.unwrap().id, id);
    }
    let bare = one.trim_end_matches(":latest");
    assert_eq!(
        s.runtime.inspect_image(bare).await.unwrap().id,
        id,
        "latest is the default"
    );
    // A name has one image: it moves.
    let other = s.commit_of("echo other > /file", None, &[]).await;
    s.runtime.tag_image(&other, &one).await.unwrap();
    assert_eq!(s.runtime.inspect_image(&one).await.unwrap().id, other);
    assert_eq!(
        s.runtime.inspect_image(&id).await.unwrap().repo_tags,
        std::slice::from_ref(&two)
    );
    for bad in ["Not Valid", "", "conformance/x:"] {
        refused!(s.runtime.tag_image(&id, bad).await, InvalidArgument);
    }
    s.runtime.remove_image(&other, FORCE).await.unwrap();
    s.runtime.remove_image(&id, FORCE).await.unwrap();
}

pub(super) async fn the_last_name_takes_the_image_with_it(s: Subject) {
    if !s.can.commit {
        return;
    }
    let (one, two) = (s.image_name(), s.image_name());
    let id = s.commit_of("echo names > /file", Some(&one), &[]).await;
    s.runtime.tag_image(&one, &two).await.unwrap();
    let mut listener = s.listen();
    let removed = s.runtime.remove_image(&one, PLAIN).await.unwrap();
    assert_eq!(removed, [ImageRemoval::Untagged(one.clone())]);
    event(&mut listener, &id, "untag").await;
    s.runtime.inspect_image(&id).await.unwrap();
    let removed = s.runtime.remove_image(&two, PLAIN).await.unwrap();
    assert_eq!(
        removed[..2],
        [
            ImageRemoval::Untagged(two),
            ImageRemoval::Deleted(id.clone())
        ]
    );
    event(&mut listener, &id, "delete").await;
    refused!(
        s.runtime.inspect_image(&id).await,
        ImageNotFound,
        "no such image"
    );
    // What it was made from stays.
    s.runtime.inspect_image(&s.image).await.unwrap();
}

pub(super) async fn several_names_keep_an_image(s: Subject) {
    if !s.can.commit {
        return;
    }
    let (one, two) = (s.image_name(), s.image_name());
    let id = s.commit_of("echo several > /file", Some(&one), &[]).await;
    s.runtime.tag_image(&one, &two).await.unwrap();
    refused!(
        s.runtime.remove_image(&id, PLAIN).await,
        InvalidState,
        "image is referenced in multiple repositories"
    );
    let removed = s.runtime.remove_image(&id, FORCE).await.unwrap();
    for name in [one, two] {
        assert!(
            removed.contains(&ImageRemoval::Untagged(name)),
            "{removed:?}"
        );
    }
    assert!(removed.contains(&ImageRemoval::Deleted(id)));
}

pub(super) async fn containers_keep_an_image(s: Subject) {
    if !s.can.commit {
        return;
    }
    let name = s.image_name();
    let id = s.commit_of("echo used > /file", Some(&name), &[]).await;
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.config.image.clone_from(&name);
    let container = s.launch(spec).await;
    for text in [&name, &id] {
        refused!(
            s.runtime.remove_image(text, PLAIN).await,
            InvalidState,
            "conflict: unable to"
        );
    }
    refused!(
        s.runtime.remove_image(&id, FORCE).await,
        InvalidState,
        "cannot be forced"
    );
    s.kill(&container, "KILL").await;
    s.ended(&container).await;
    refused!(
        s.runtime.remove_image(&id, PLAIN).await,
        InvalidState,
        "must be forced"
    );
    refused!(
        s.runtime.remove_image(&name, PLAIN).await,
        InvalidState,
        "must force"
    );
    s.runtime.remove_image(&name, FORCE).await.unwrap();
    // The container still is, and still runs.
    s.start(&container).await;
    assert_eq!(s.inspect(&container).await.image_id, id);
    s.kill(&container, "KILL").await;
    s.ended(&container).await;
    soon(
        "remove",
        s.runtime
            .remove_container(&container, RemoveOptions::default()),
    )
    .await
    .unwrap();
}

pub(super) async fn children_keep_an_image(s: Subject) {
    if !s.can.commit {
        return;
    }
    let parent = s
        .commit_of("echo parent > /file", Some(&s.image_name()), &[])
        .await;
    let mut spec = s.spec(&["true"]);
    spec.config.image.clone_from(&parent);
    let (container, _) = s.run(spec).await;
    let request = CommitRequest {
        container: container.clone(),
        ..CommitRequest::default()
    };
    let child = s.runtime.commit_container(request).await.unwrap();
    s.remove(&container).await;
    refused!(
        s.runtime.remove_image(&parent, PLAIN).await,
        InvalidState,
        "dependent child images"
    );
    s.runtime.remove_image(&child, PLAIN).await.unwrap();
    s.runtime.remove_image(&parent, PLAIN).await.unwrap();
}

pub(super) async fn prune(s: Subject) {
    if !s.can.commit {
        return;
    }
    let label = format!("LABEL mark={}", s.mark);
    let named = s.image_name();
    let kept = s.commit_of("echo 1 > /file", Some(&named), &[&label]).await;
    let dangling = s.commit_of("echo 2 > /file", None, &[&label]).await;
    let mut filters = Filters::default();
    filters.add("label", format!("mark={}", s.mark));
    let pruned = s.runtime.prune_images(&filters).await.unwrap();
    assert!(
        pruned.removed.contains(&ImageRemoval::Deleted(dangling)),
        "{pruned:?}"
    );
    assert!(
        !pruned
            .removed
            .contains(&ImageRemoval::Deleted(kept.clone())),
        "{pruned:?}"
    );
    filters.add("dangling", "false");
    let pruned = s.runtime.prune_images(&filters).await.unwrap();
    assert!(
        pruned.removed.contains(&ImageRemoval::Untagged(named)),
        "{pruned:?}"
    );
    assert!(
        pruned.removed.contains(&ImageRemoval::Deleted(kept)),
        "{pruned:?}"
    );
    filters.add("until", "soon");
    refused!(
        s.runtime.prune_images(&filters).await,
        InvalidArgument,
        "failed to parse value as time or duration"
    );
}

pub(super) async fn pull(s: Subject) {
    let Some(name) = s.remote_image.clone().filter(|_| s.can.registry) else {
        return;
    };
    let request = PullRequest {
        reference: name.clone(),
        ..PullRequest::default()
    };
    let steps = soon("pull", s.runtime.pull_image(request.clone()))
        .await
        .unwrap();
    let told: Vec<String> = all("pull", steps)
        .await
        .into_iter()
        .map(|step| step.status)
        .collect();
    assert!(
        told.iter()
            .any(|status| status.starts_with("Digest: sha256:")),
        "{told:?}"
    );
    let image = s.runtime.inspect_image(&name).await.unwrap();
    assert!(!image.repo_digests.is_empty());
    // Again there is nothing to do.
    let steps = soon("pull", s.runtime.pull_image(request)).await.unwrap();
    let told: Vec<String> = all("pull", steps)
        .await
        .into_iter()
        .map(|step| step.status)
        .collect();
    assert!(
        told.iter().any(|status| status.contains("up to date")),
        "{told:?}"
    );
    let mut spec = s.spec(&["true"]);
    spec.config.image = name;
    assert_eq!(s.run(spec).await.1, 0);
}

pub(super) async fn bad_pulls(s: Subject) {
    if !s.can.registry {
        return;
    }
    let request = PullRequest {
        reference: "Not Valid".into(),
        ..PullRequest::default()
    };
    match s.runtime.pull_image(request).await {
        Err(RuntimeError::InvalidArgument(_)) => {}
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a bad reference is pulled"),
    }
}
