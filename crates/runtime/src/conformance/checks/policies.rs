//! What follows an exit: removal, restarts.

use std::time::Duration;

use super::super::Subject;
use super::super::told::{actions, event};
use crate::Status;
use crate::container::{Changed, UpdateOptions, WaitCondition};
use crate::spec::{HostConfig, RestartPolicy};

fn policy(name: &str, maximum_retry_count: i64) -> RestartPolicy {
    RestartPolicy {
        name: name.into(),
        maximum_retry_count,
    }
}

pub(super) async fn auto_remove(s: Subject) {
    for script in ["exit 0", "exit 1"] {
        let mut spec = s.sh(script);
        spec.host.auto_remove = true;
        let id = s.create(spec).await;
        let removed = s.waiting(&id, WaitCondition::Removed).await;
        s.start(&id).await;
        removed.await;
        s.until_gone(&id).await;
    }
    // However it ends.
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.host.auto_remove = true;
    let id = s.launch(spec).await;
    assert_eq!(s.stop(&id, 0).await, Changed(true));
    s.until_gone(&id).await;
}

pub(super) async fn auto_remove_after_a_failed_start(s: Subject) {
    let mut spec = s.spec(&["/nosuch"]);
    spec.host.auto_remove = true;
    let id = s.create(spec).await;
    assert!(s.runtime.start_container(&id).await.is_err());
    s.until_gone(&id).await;
}

pub(super) async fn on_failure_counts(s: Subject) {
    let mut listener = s.listen();
    let mut spec = s.sh("exit 3");
    spec.host.restart_policy = policy("on-failure", 3);
    let id = s.launch(spec).await;
    let container = s
        .until(&id, "it has given up", |container| {
            container.state.status == Status::Exited && container.restart_count == 3
        })
        .await;
    assert_eq!(container.state.exit_code, 3);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(
        s.status(&id).await,
        Status::Exited,
        "it does not begin again"
    );
    let told = actions(&mut listener, &id);
    let expected = [
        "create", "start", "die", "start", "die", "start", "die", "start", "die",
    ];
    assert_eq!(told, expected);
    // A start by the user begins to count anew.
    s.start(&id).await;
    assert!(s.inspect(&id).await.restart_count <= 1);
}

/// 100 ms, and twice as long after each short run.
pub(super) async fn the_pauses_double(s: Subject) {
    let mut listener = s.listen();
    let mut spec = s.spec(&["false"]);
    spec.host.restart_policy = policy("on-failure", 4);
    let id = s.launch(spec).await;
    event(&mut listener, &id, "start").await;
    for n in 0..4 {
        let die = event(&mut listener, &id, "die").await.time;
        let start = event(&mut listener, &id, "start").await.time;
        let pause = Duration::try_from(start.duration_since(die)).unwrap();
        let least = Duration::from_millis(100 << n);
        assert!(
            pause >= least.mul_f64(0.9),
            "pause {n}: {pause:?}, not {least:?}"
        );
        assert!(
            pause < least * 2 + Duration::from_secs(20),
            "pause {n}: {pause:?}"
        );
    }
}

pub(super) async fn on_failure_leaves_success_alone(s: Subject) {
    let mut spec = s.spec(&["true"]);
    spec.host.restart_policy = policy("on-failure", 0);
    let (id, code) = s.run(spec).await;
    assert_eq!(code, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let container = s.inspect(&id).await;
    assert_eq!(
        (container.state.status, container.restart_count),
        (Status::Exited, 0)
    );
}

pub(super) async fn always_restarts_until_it_is_stopped(s: Subject) {
    for name in ["always", "unless-stopped"] {
        let mut spec = s.spec(&["true"]);
        spec.host.restart_policy = policy(name, 0);
        let id = s.launch(spec).await;
        s.until(&id, "it is started again", |container| {
            container.restart_count >= 2
        })
        .await;
        let not_running = s.waiting(&id, WaitCondition::NotRunning).await;
        // It may just be between two runs: also then the stop is one.
        s.stop(&id, 0).await;
        not_running.await;
        let count = s.inspect(&id).await.restart_count;
        tokio::time::sleep(Duration::from_millis(1000)).await;
        let container = s.inspect(&id).await;
        assert_eq!(
            (container.state.status, container.restart_count),
            (Status::Exited, count)
        );
    }
}

pub(super) async fn a_kill_is_no_failure(s: Subject) {
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.host.restart_policy = policy("always", 0);
    let id = s.launch(spec).await;
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(s.status(&id).await, Status::Exited);
}

pub(super) async fn a_new_policy_stops_the_restarts(s: Subject) {
    if !s.can.update {
        return;
    }
    let mut spec = s.spec(&["false"]);
    spec.host.restart_policy = policy("always", 0);
    let id = s.launch(spec).await;
    s.until(&id, "it is started again", |container| {
        container.restart_count >= 2
    })
    .await;
    let host = HostConfig {
        restart_policy: policy("no", 0),
        ..HostConfig::default()
    };
    s.runtime
        .update_container(&id, UpdateOptions { host })
        .await
        .unwrap();
    s.until(&id, "it stays down", |container| {
        container.state.status == Status::Exited
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let container = s.inspect(&id).await;
    assert_eq!(container.state.status, Status::Exited);
    assert_eq!(container.host_config.restart_policy.name, "no");
}
