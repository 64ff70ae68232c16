//! `docker rmi` and `docker image prune`.

use coracle_oci::Digest;
use coracle_store::ErrorKind;
use coracle_store::ImageUse;
use coracle_store::Removed;
use coracle_store::StoreError;

use crate::common::Fixture;
use crate::common::reference;

fn unused(_: &Digest) -> Vec<ImageUse> {
    Vec::new()
}

fn used(running: bool) -> impl Fn(&Digest) -> Vec<ImageUse> {
    move |_| {
        vec![ImageUse {
            container: "0123456789abcdef".into(),
            running,
        }]
    }
}

/// `U name` for untagged, `D` for deleted image, `L` for layers.
fn told(removed: &[Removed]) -> Vec<String> {
    removed
        .iter()
        .map(|removed| match removed {
            Removed::Untagged { name, .. } => format!("U {}", name.familiar()),
            Removed::Image(_) => "D".into(),
            Removed::Layer(_) => "L".into(),
        })
        .collect()
}

fn conflict(result: Result<Vec<Removed>, StoreError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    error.to_string()
}

#[test]
fn the_last_name_takes_the_image_with_it() {
    let f = Fixture::new();
    let id = f.pulled("busybox", &["a", "b"]);
    f.store.tag("busybox", &reference("other:1")).unwrap();
    let digest = f.store.target(&reference("busybox")).unwrap().digest;
    let removed = f.store.remove("busybox", false, false, &unused).unwrap();
    assert_eq!(
        told(&removed),
        ["U busybox:latest", &format!("U busybox@{digest}")]
    );
    let removed = f.store.remove("other:1", false, false, &unused).unwrap();
    assert_eq!(told(&removed), ["U other:1", "D", "L", "L"]);
    assert_eq!(removed[1], Removed::Image(id));
    assert!(f.store.images().is_empty());
    assert_eq!(f.gc().digests.len(), 4);
}

#[test]
fn by_id() {
    let f = Fixture::new();
    let id = f.pulled("busybox", &["a"]);
    let short = id.short().to_owned();
    f.store.tag("busybox", &reference("other:1")).unwrap();
    assert_eq!(
        conflict(f.store.remove(&short, false, false, &unused)),
        format!(
            "conflict: unable to delete {short} (must be forced) - \
             image is referenced in multiple repositories"
        )
    );
    let removed = f.store.remove(&short, true, false, &unused).unwrap();
    assert_eq!(told(&removed).len(), 5);
    assert!(f.store.images().is_empty());

    let id = f.pulled("busybox", &["a"]);
    let removed = f.store.remove(id.hex(), false, false, &unused).unwrap();
    assert_eq!(told(&removed).last().unwrap(), "L");
    assert_eq!(told(&removed)[0], "U busybox:latest");
    assert_eq!(
        f.store
            .remove(id.hex(), false, false, &unused)
            .unwrap_err()
            .to_string(),
        format!("No such image: {id}")
    );
}

#[test]
fn containers_stand_against_it() {
    let f = Fixture::new();
    let id = f.image("busybox", &["a"]);
    let short = id.short();
    assert_eq!(
        conflict(f.store.remove("busybox", false, false, &used(false))),
        format!(
            "conflict: unable to remove repository reference \"busybox\" (must force) - \
             container 0123456789ab is using its referenced image {short}"
        )
    );
    assert_eq!(
        conflict(f.store.remove(short, false, false, &used(false))),
        format!(
            "conflict: unable to delete {short} (must be forced) - \
             image is being used by stopped container 0123456789ab"
        )
    );
    for force in [false, true] {
        assert_eq!(
            conflict(f.store.remove(short, force, false, &used(true))),
            format!(
                "conflict: unable to delete {short} (cannot be forced) - \
                 image is being used by running container 0123456789ab"
            )
        );
    }
    // By name and by force: the name goes, a running container's image stays.
    let removed = f.store.remove("busybox", true, false, &used(true)).unwrap();
    assert_eq!(told(&removed), ["U busybox:latest"]);
    assert!(f.store.image_by_id(&id).unwrap().is_dangling());
    let removed = f.store.remove(short, true, false, &used(false)).unwrap();
    assert_eq!(told(&removed), ["D", "L"]);
}

#[test]
fn nothing_changes_by_a_conflict() {
    let f = Fixture::new();
    f.pulled("busybox", &["a"]);
    let before = format!("{:?}", f.store.images());
    f.store
        .remove("busybox", false, false, &used(true))
        .unwrap_err();
    assert_eq!(format!("{:?}", f.store.images()), before);
    let f = f.reopen();
    assert_eq!(format!("{:?}", f.store.images()), before);
}

#[test]
fn dangling_images_are_pruned() {
    let f = Fixture::new();
    f.pulled("busybox", &["old"]);
    let kept = f.pulled("busybox", &["new"]);
    let dangling_in_use = f.image("x", &["x"]);
    f.store.untag(&reference("x")).unwrap();
    let in_use = |id: &Digest| match *id == dangling_in_use {
        true => used(false)(id),
        false => Vec::new(),
    };
    assert!(
        f.store
            .prune(false, &|_| false, &in_use)
            .unwrap()
            .is_empty()
    );
    let removed = f.store.prune(false, &|_| true, &in_use).unwrap();
    assert_eq!(told(&removed)[1..], ["D", "L"]);
    assert_eq!(f.store.images().len(), 2);
    assert_eq!(f.store.image("busybox").unwrap().id, kept);

    let removed = f.store.prune(true, &|_| true, &in_use).unwrap();
    assert_eq!(told(&removed)[0], "U busybox:latest");
    assert_eq!(f.store.images().len(), 1);
    assert!(f.store.image_by_id(&dangling_in_use).is_ok());
}

#[test]
fn pruning_all_keeps_what_containers_use() {
    let f = Fixture::new();
    f.image("a:1", &["a"]);
    f.store.tag("a:1", &reference("b:2")).unwrap();
    // Docker takes one of two names of an image in use, and keeps the last.
    f.store.prune(true, &|_| true, &used(true)).unwrap();
    assert_eq!(f.store.images()[0].references.len(), 1);
}
