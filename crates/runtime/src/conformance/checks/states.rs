//! The states of a container, and what inspection shows in each.

use super::super::Subject;
use super::super::support::soon;
use crate::Status;
use crate::container::RemoveOptions;

pub(super) async fn created(s: Subject) {
    let before = jiff::Timestamp::now();
    let mut spec = s.sh("exit 3");
    spec.config.env = vec!["A=1".into()];
    let name = spec.name.clone().unwrap();
    let id = s.create(spec).await;
    assert_eq!(id.len(), 64);
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let container = s.inspect(&id).await;
    assert_eq!(container.id, id);
    assert_eq!(container.name, name);
    assert!(container.created >= before && container.created <= jiff::Timestamp::now());
    assert_eq!(
        (container.path.as_str(), container.args.as_slice()),
        ("sh", &["-c".to_owned(), "exit 3".into()][..])
    );
    assert_eq!(
        container.config.image, s.image,
        "the image as the user named it"
    );
    assert!(
        container.image_id.starts_with("sha256:"),
        "{}",
        container.image_id
    );
    assert!(container.config.env.contains(&"A=1".to_owned()));
    assert_eq!(container.config.hostname, id[..12]);
    assert!(
        container.platform.starts_with("linux/"),
        "{}",
        container.platform
    );
    let state = container.state;
    assert_eq!(state.status, Status::Created);
    assert_eq!(
        (state.pid, state.exit_code, state.oom_killed),
        (0, 0, false)
    );
    assert_eq!((state.started_at, state.finished_at), (None, None));
    assert_eq!(state.error, "");
}

pub(super) async fn running_and_exited(s: Subject) {
    let id = s.create(s.polite_script()).await;
    s.start(&id).await;
    let running = s.inspect(&id).await.state;
    assert_eq!(running.status, Status::Running);
    assert!(running.pid > 0);
    let started = running.started_at.expect("a time of the start");
    assert_eq!(running.finished_at, None);
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    let exited = s.inspect(&id).await.state;
    assert_eq!(exited.status, Status::Exited);
    assert_eq!(exited.pid, 0);
    assert_eq!(exited.started_at, Some(started));
    assert!(exited.finished_at.expect("a time of the end") >= started);
    // A new run starts anew, and the old one's end is remembered.
    s.start(&id).await;
    let again = s.inspect(&id).await.state;
    assert_eq!((again.status, again.exit_code), (Status::Running, 0));
    assert!(again.started_at.expect("a time of the start") > started);
}

impl Subject {
    fn polite_script(&self) -> crate::spec::ContainerSpec {
        self.sh("sleep 1000 & wait")
    }
}

pub(super) async fn paused(s: Subject) {
    if !s.can.pause {
        return;
    }
    let id = s
        .launch(s.sh("while true; do echo tick; sleep 0.02; done"))
        .await;
    s.until_logged(&id, "tick").await;
    soon("pause", s.runtime.pause_container(&id)).await.unwrap();
    let state = s.inspect(&id).await.state;
    assert_eq!(state.status, Status::Paused);
    assert!(state.pid > 0, "a paused process is there");
    // What was written before may take a moment to be logged.
    let mut logged = s.logged(&id).await.len();
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let now = s.logged(&id).await.len();
        if std::mem::replace(&mut logged, now) == now {
            break;
        }
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(
        s.logged(&id).await.len(),
        logged,
        "a paused process writes nothing"
    );
    soon("unpause", s.runtime.unpause_container(&id))
        .await
        .unwrap();
    assert_eq!(s.status(&id).await, Status::Running);
    let start = std::time::Instant::now();
    while s.logged(&id).await.len() <= logged {
        assert!(start.elapsed().as_secs() < 30, "it does not go on");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // And once more: both ways work again and again.
    soon("pause", s.runtime.pause_container(&id)).await.unwrap();
    soon("unpause", s.runtime.unpause_container(&id))
        .await
        .unwrap();
}

pub(super) async fn a_paused_container_can_be_killed_and_removed(s: Subject) {
    if !s.can.pause {
        return;
    }
    let id = s.sleeper().await;
    s.runtime.pause_container(&id).await.unwrap();
    s.kill(&id, "KILL").await;
    assert_eq!(s.ended(&id).await, 137);
    let id = s.sleeper().await;
    s.runtime.pause_container(&id).await.unwrap();
    s.remove(&id).await;
    s.until_gone(&id).await;
}

pub(super) async fn restarting(s: Subject) {
    let mut spec = s.sh("exit 5");
    spec.host.restart_policy.name = "always".into();
    let id = s.launch(spec).await;
    let container = s
        .until(&id, "it is between two runs", |container| {
            container.state.status == Status::Restarting && container.restart_count > 2
        })
        .await;
    assert_eq!(container.state.exit_code, 5);
    assert_eq!(container.state.pid, 0);
}

/// A start by the user does not wait for the pause between two runs to end, and begins to count anew.
pub(super) async fn a_start_between_two_runs(s: Subject) {
    let mut spec = s.sh("exit 5");
    spec.host.restart_policy.name = "always".into();
    let id = s.launch(spec).await;
    let container = s
        .until(&id, "it is between two runs", |container| {
            container.state.status == Status::Restarting && container.restart_count > 2
        })
        .await;
    s.start(&id).await;
    assert!(s.inspect(&id).await.restart_count < container.restart_count);
}

pub(super) async fn removed(s: Subject) {
    let (id, _) = s.run(s.spec(&["true"])).await;
    let name = s.inspect(&id).await.name;
    soon(
        "remove",
        s.runtime.remove_container(&id, RemoveOptions::default()),
    )
    .await
    .unwrap();
    for gone in [&id, &name] {
        assert!(s.runtime.inspect_container(gone, false).await.is_err());
    }
    let listed = s.runtime.list_containers(false).await.unwrap();
    assert!(!listed.iter().any(|container| container.id == id));
    // Its name is free again.
    let mut spec = s.spec(&["true"]);
    spec.name = Some(name);
    s.create(spec).await;
}

pub(super) async fn removed_by_force(s: Subject) {
    let id = s.sleeper().await;
    s.remove(&id).await;
    s.until_gone(&id).await;
}

pub(super) async fn listed_newest_first(s: Subject) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, s.create(s.spec(&["true"])).await);
    }
    let listed = s.runtime.list_containers(false).await.unwrap();
    let found: Vec<&String> = listed
        .iter()
        .map(|container| &container.id)
        .filter(|id| ids.contains(id))
        .collect();
    assert_eq!(found, ids.iter().collect::<Vec<_>>());
}

pub(super) async fn sizes_where_they_are_asked_for(s: Subject) {
    let (id, code) = s.run(s.sh("head -c 100000 /dev/zero > /file")).await;
    assert_eq!(code, 0);
    let without = s.inspect(&id).await;
    assert_eq!((without.size_rw, without.size_root_fs), (None, None));
    let with = s.runtime.inspect_container(&id, true).await.unwrap();
    let (own, whole) = (with.size_rw.unwrap(), with.size_root_fs.unwrap());
    assert!(own >= 100_000, "{own}");
    assert!(whole > own, "{whole}");
    let listed = s.runtime.list_containers(true).await.unwrap();
    let listed = listed.iter().find(|container| container.id == id).unwrap();
    assert_eq!(listed.size_rw, Some(own));
}
