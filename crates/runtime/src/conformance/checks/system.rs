//! The runtime as a whole.

use super::super::Subject;
use super::super::support::refused;
use crate::Status;

pub(super) async fn version_and_info(s: Subject) {
    let version = s.runtime.version().await.unwrap();
    for text in [
        &version.product,
        &version.version,
        &version.os,
        &version.arch,
    ] {
        assert!(!text.is_empty(), "{version:?}");
    }
    let info = s.runtime.info().await.unwrap();
    for text in [
        &info.id,
        &info.name,
        &info.storage_driver,
        &info.default_runtime,
        &info.log_driver,
    ] {
        assert!(!text.is_empty(), "{info:?}");
    }
    assert!(info.cpus > 0 && info.memory > 0 && info.images > 0);
    assert_eq!(info.containers, info.running + info.paused + info.stopped);
    assert!(info.runtimes.contains_key(&info.default_runtime));
    assert_eq!(
        s.runtime.info().await.unwrap().id,
        info.id,
        "the identity stays"
    );
    assert_eq!(s.runtime.capabilities(), s.can);
}

pub(super) async fn disk_usage(s: Subject) {
    let (id, _) = s.run(s.sh("head -c 50000 /dev/zero > /file")).await;
    let usage = s.runtime.disk_usage().await.unwrap();
    assert!(usage.layers_size > 0);
    let container = usage
        .containers
        .iter()
        .find(|container| container.id == id)
        .unwrap();
    assert!(container.size_rw.unwrap() >= 50_000);
    let image = usage
        .images
        .iter()
        .find(|image| image.id == container.image_id)
        .unwrap();
    assert!(image.shared_size.is_some() && image.containers >= 1);
    assert!(
        usage
            .volumes
            .iter()
            .all(|volume| volume.ref_count.is_some() && volume.size.is_some())
    );
}

pub(super) async fn prune_of_containers(s: Subject) {
    let (stopped, _) = s.run(s.sh("head -c 50000 /dev/zero > /file")).await;
    let created = s.create(s.spec(&["true"])).await;
    let running = s.sleeper().await;
    let mut none = s.filter();
    none.add("label", "nosuch");
    assert!(
        s.runtime
            .prune_containers(&none)
            .await
            .unwrap()
            .deleted
            .is_empty()
    );
    let mut old = s.filter();
    old.add("until", "10m");
    assert!(
        s.runtime
            .prune_containers(&old)
            .await
            .unwrap()
            .deleted
            .is_empty(),
        "none is so old"
    );
    let mut bad = s.filter();
    bad.add("until", "soon");
    refused!(
        s.runtime.prune_containers(&bad).await,
        InvalidArgument,
        "failed to parse value as time or duration"
    );
    let mut pruned = s.runtime.prune_containers(&s.filter()).await.unwrap();
    pruned.deleted.sort();
    let mut expected = vec![stopped.clone(), created];
    expected.sort();
    assert_eq!(pruned.deleted, expected);
    assert!(pruned.space_reclaimed >= 50_000, "{pruned:?}");
    assert_eq!(s.status(&running).await, Status::Running);
    refused!(s.runtime.inspect_container(&stopped, false).await, NotFound);
}

pub(super) async fn labels_can_be_excluded(s: Subject) {
    let mut spec = s.spec(&["true"]);
    spec.config.labels.insert("keep".into(), String::new());
    let kept = s.create(spec).await;
    let other = s.create(s.spec(&["true"])).await;
    let mut filters = s.filter();
    filters.add("label!", "keep");
    assert_eq!(
        s.runtime.prune_containers(&filters).await.unwrap().deleted,
        [other]
    );
    s.inspect(&kept).await;
}
