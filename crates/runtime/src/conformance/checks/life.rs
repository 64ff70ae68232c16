//! Start, stop, kill and restart.

use std::time::{Duration, Instant};

use super::super::Subject;
use super::super::support::soon;
use crate::Status;
use crate::container::{Changed, StopOptions};

pub(super) async fn starting_what_runs_changes_nothing(s: Subject) {
    let id = s.sleeper().await;
    let pid = s.inspect(&id).await.state.pid;
    for _ in 0..2 {
        assert_eq!(
            s.runtime.start_container(&id).await.unwrap(),
            Changed(false)
        );
    }
    assert_eq!(s.inspect(&id).await.state.pid, pid);
}

pub(super) async fn stopping_what_does_not_run_changes_nothing(s: Subject) {
    let id = s.create(s.spec(&["true"])).await;
    assert_eq!(s.stop(&id, 1).await, Changed(false));
    assert_eq!(s.status(&id).await, Status::Created);
    s.start(&id).await;
    s.ended(&id).await;
    for _ in 0..2 {
        assert_eq!(s.stop(&id, 1).await, Changed(false));
    }
    assert_eq!(s.status(&id).await, Status::Exited);
}

pub(super) async fn stop_asks_first(s: Subject) {
    let id = s.polite().await;
    assert_eq!(s.stop(&id, 60).await, Changed(true));
    let state = s.inspect(&id).await.state;
    assert_eq!((state.status, state.exit_code), (Status::Exited, 7));
    assert_eq!(
        s.logged(&id).await.last().map(String::as_str),
        Some("bye\n")
    );
}

pub(super) async fn stop_kills_after_the_grace(s: Subject) {
    let id = s.sleeper().await;
    let start = Instant::now();
    assert_eq!(s.stop(&id, 1).await, Changed(true));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(950), "{took:?}");
    let state = s.inspect(&id).await.state;
    assert_eq!((state.status, state.exit_code), (Status::Exited, 137));
}

pub(super) async fn without_grace_stop_kills_at_once(s: Subject) {
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.config.stop_timeout = Some(1000);
    let id = s.launch(spec).await;
    assert_eq!(s.stop(&id, 0).await, Changed(true));
    assert_eq!(s.inspect(&id).await.state.exit_code, 137);
}

pub(super) async fn the_containers_own_grace_and_signal_count(s: Subject) {
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.config.stop_timeout = Some(0);
    let id = s.launch(spec).await;
    let start = Instant::now();
    let options = StopOptions::default();
    assert_eq!(
        soon("stop", s.runtime.stop_container(&id, options.clone())).await,
        Ok(Changed(true))
    );
    assert!(
        start.elapsed() < Duration::from_millis(9500),
        "it is the default's"
    );

    let id = s
        .polite_as(|spec| {
            spec.config.cmd.as_mut().unwrap().0[2] =
                "trap 'exit 9' USR2; echo ready; while true; do sleep 1000 & wait $!; done".into();
            spec.config.stop_signal = Some("SIGUSR2".into());
        })
        .await;
    soon("stop", s.runtime.stop_container(&id, options))
        .await
        .unwrap();
    assert_eq!(s.inspect(&id).await.state.exit_code, 9);
}

pub(super) async fn the_callers_signal_counts_most(s: Subject) {
    let id = s
        .polite_as(|spec| spec.config.stop_signal = Some("USR1".into()))
        .await;
    let options = StopOptions {
        signal: Some("SIGTERM".into()),
        timeout: Some(60),
    };
    soon("stop", s.runtime.stop_container(&id, options))
        .await
        .unwrap();
    assert_eq!(s.inspect(&id).await.state.exit_code, 7);
}

/// Docker thaws what it stops: the process gets its time to end by itself.
pub(super) async fn stop_of_a_paused_container_wakes_it(s: Subject) {
    if !s.can.pause {
        return;
    }
    let id = s.polite().await;
    s.runtime.pause_container(&id).await.unwrap();
    assert_eq!(s.stop(&id, 25).await, Changed(true));
    let state = s.inspect(&id).await.state;
    assert_eq!((state.status, state.exit_code), (Status::Exited, 7));
}

pub(super) async fn many_stops_at_once(s: Subject) {
    let id = s.polite().await;
    let stops = (0..8).map(|_| s.stop(&id, 30));
    let changed = futures_util::future::join_all(stops).await;
    assert!(changed.contains(&Changed(true)));
    assert_eq!(s.inspect(&id).await.state.exit_code, 7);
}

pub(super) async fn signals_are_delivered(s: Subject) {
    let id = s.polite().await;
    s.kill(&id, "USR1").await;
    s.until_logged(&id, "one").await;
    assert_eq!(s.status(&id).await, Status::Running);
    // Without a name it is SIGKILL.
    s.kill(&id, "").await;
    assert_eq!(s.ended(&id).await, 137);
}

pub(super) async fn restart_of_what_runs(s: Subject) {
    let id = s.polite().await;
    let before = s.inspect(&id).await.state;
    let options = StopOptions {
        timeout: Some(30),
        ..StopOptions::default()
    };
    soon("restart", s.runtime.restart_container(&id, options))
        .await
        .unwrap();
    let after = s.inspect(&id).await.state;
    assert_eq!(after.status, Status::Running);
    assert!(after.started_at > before.started_at);
    // What it logged before is still there, and what it logs now comes after.
    s.until_logged(&id, "bye\nready\n").await;
    assert_eq!(
        s.inspect(&id).await.restart_count,
        0,
        "only the policy's restarts are counted"
    );
}

pub(super) async fn restart_of_what_does_not_run(s: Subject) {
    let id = s.create(s.spec(&["sleep", "1000"])).await;
    for _ in 0..2 {
        let options = StopOptions {
            timeout: Some(0),
            ..StopOptions::default()
        };
        soon("restart", s.runtime.restart_container(&id, options))
            .await
            .unwrap();
        assert_eq!(s.status(&id).await, Status::Running);
        s.kill(&id, "KILL").await;
        s.ended(&id).await;
    }
}

/// Files stay from run to run; processes do not.
pub(super) async fn runs_follow_each_other(s: Subject) {
    let id = s
        .create(s.sh("sleep 1000 & [ -f /mark ] && exit 8; touch /mark; exit 9"))
        .await;
    for expected in [9, 8, 8] {
        s.start(&id).await;
        assert_eq!(s.ended(&id).await, expected);
    }
}
