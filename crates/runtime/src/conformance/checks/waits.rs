//! Waiting for a container's end.

use futures_util::FutureExt;

use super::super::Subject;
use super::super::support::refused;
use crate::container::WaitCondition::{NextExit, NotRunning, Removed};

pub(super) async fn not_running_is_now_where_it_does_not_run(s: Subject) {
    let id = s.create(s.sh("exit 3")).await;
    assert_eq!(s.waiting(&id, NotRunning).await.await.code, 0, "created");
    s.start(&id).await;
    assert_eq!(s.waiting(&id, NotRunning).await.await.code, 3);
    // And again, long after.
    assert_eq!(s.waiting(&id, NotRunning).await.await.code, 3);
}

pub(super) async fn every_condition_registered_before_the_exit(s: Subject) {
    let id = s.create(s.sh("exit 4")).await;
    let next = s.waiting(&id, NextExit).await;
    let removed = s.waiting(&id, Removed).await;
    s.start(&id).await;
    let not_running = s.waiting(&id, NotRunning).await;
    assert_eq!(not_running.await.code, 4);
    assert_eq!(next.await.code, 4);
    let mut removed = Box::pin(removed);
    assert!(
        (&mut removed).now_or_never().is_none(),
        "it is not removed yet"
    );
    s.remove(&id).await;
    assert_eq!(removed.await.code, 4);
}

pub(super) async fn next_exit_is_not_the_last_one(s: Subject) {
    let (id, _) = s
        .run(s.sh("[ -f /mark ] && exit 6; touch /mark; exit 5"))
        .await;
    let mut next = Box::pin(s.waiting(&id, NextExit).await);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(
        (&mut next).now_or_never().is_none(),
        "the exit before does not count"
    );
    s.start(&id).await;
    assert_eq!(next.await.code, 6);
}

/// The wait is registered when the call returns: an exit right after it is not missed, even where
/// nobody asks for the result until much later.
pub(super) async fn no_exit_is_missed(s: Subject) {
    let id = s.create(s.sh("exit 2")).await;
    for _ in 0..5 {
        let next = s.waiting(&id, NextExit).await;
        s.start(&id).await;
        s.ended(&id).await;
        assert_eq!(next.await.code, 2);
    }
}

pub(super) async fn many_may_wait(s: Subject) {
    let id = s.sleeper().await;
    let mut waits = Vec::new();
    for n in 0..30 {
        let condition = [NotRunning, NextExit, Removed][n % 3];
        waits.push(s.waiting(&id, condition).await);
    }
    s.remove(&id).await;
    for status in futures_util::future::join_all(waits).await {
        assert_eq!(status.code, 137);
    }
}

pub(super) async fn of_one_that_removes_itself(s: Subject) {
    let mut spec = s.sh("exit 11");
    spec.host.auto_remove = true;
    let id = s.create(spec).await;
    let waits = [
        s.waiting(&id, NextExit).await,
        s.waiting(&id, Removed).await,
        s.waiting(&id, NextExit).await,
    ];
    s.start(&id).await;
    for wait in waits {
        assert_eq!(wait.await.code, 11);
    }
    s.until_gone(&id).await;
    refused!(s.runtime.wait_container(&id, NotRunning).await, NotFound);
}

/// Nobody waits for ever for what can't come any more.
pub(super) async fn removal_ends_every_wait(s: Subject) {
    let id = s.create(s.spec(&["true"])).await;
    let waits = [
        s.waiting(&id, NextExit).await,
        s.waiting(&id, Removed).await,
    ];
    s.remove(&id).await;
    for wait in waits {
        wait.await;
    }
}

pub(super) async fn a_failed_start_is_an_exit(s: Subject) {
    let id = s.create(s.spec(&["/nosuch"])).await;
    let next = s.waiting(&id, NextExit).await;
    assert!(s.runtime.start_container(&id).await.is_err());
    assert_eq!(next.await.code, 127);
}

/// As in Docker, a container between two runs counts as running, and the end of a run as an end.
pub(super) async fn the_end_of_a_run_counts_though_a_restart_follows(s: Subject) {
    let mut spec = s.sh("sleep 0.2; exit 3");
    spec.host.restart_policy.name = "always".into();
    let id = s.launch(spec).await;
    for condition in [NotRunning, NextExit] {
        assert_eq!(s.waiting(&id, condition).await.await.code, 3);
    }
    // Once it is stopped there is nothing to wait for.
    s.stop(&id, 0).await;
    let code = s.waiting(&id, NotRunning).await.await.code;
    assert_eq!(code, s.inspect(&id).await.state.exit_code);
}
