//! Futures and streams that are dropped.

use std::time::Duration;

use futures_util::StreamExt;

use super::super::Subject;
use super::super::support::soon;
use crate::container::{StopOptions, WaitCondition};
use crate::exec::StartExec;
use crate::io::LogOptions;
use crate::{RuntimeError, Status};

/// However early a creation is dropped, there is a whole container or none.
pub(super) async fn a_dropped_creation(s: Subject) {
    for micros in [0, 10, 100, 1000, 5000, 20_000] {
        let spec = s.spec(&["true"]);
        let name = spec.name.clone().unwrap();
        let creation = s.runtime.create_container(spec.clone());
        let done = tokio::time::timeout(Duration::from_micros(micros), creation).await;
        if let Ok(created) = done {
            created.unwrap();
        }
        // What was begun may still come to its end.
        let start = std::time::Instant::now();
        loop {
            match s.runtime.create_container(spec.clone()).await {
                Ok(_) => break,
                Err(RuntimeError::AlreadyExists(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
            if let Ok(container) = s.runtime.inspect_container(&name, false).await {
                s.start(&container.id).await;
                assert_eq!(s.ended(&container.id).await, 0);
                break;
            }
            assert!(
                start.elapsed().as_secs() < 30,
                "the name is taken by nobody"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        s.remove(&name).await;
    }
}

/// However early a start is dropped, the container runs or can be started.
pub(super) async fn a_dropped_start(s: Subject) {
    for micros in [0, 10, 100, 1000, 5000, 20_000] {
        let id = s.create(s.spec(&["sleep", "1000"])).await;
        let start = s.runtime.start_container(&id);
        let _ = tokio::time::timeout(Duration::from_micros(micros), start).await;
        soon("start", s.runtime.start_container(&id)).await.unwrap();
        assert_eq!(s.status(&id).await, Status::Running);
        s.remove(&id).await;
    }
}

/// However early the start of an exec is dropped, it comes to an end, or can be started.
pub(super) async fn a_dropped_exec(s: Subject) {
    if !s.can.exec {
        return;
    }
    let id = s.sleeper().await;
    for micros in [0, 10, 100, 1000, 5000, 20_000] {
        let exec = s.create_exec(&id, s.exec_spec(&["true"])).await;
        let start = s.runtime.start_exec(&exec, StartExec::default());
        let _ = tokio::time::timeout(Duration::from_micros(micros), start).await;
        let begun = std::time::Instant::now();
        loop {
            let known = s.runtime.inspect_exec(&exec).await.unwrap();
            if !known.running && known.exit_code.is_some() {
                break;
            }
            match s.runtime.start_exec(&exec, StartExec::default()).await {
                Ok(_) | Err(RuntimeError::InvalidState(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
            assert!(
                begun.elapsed().as_secs() < 30,
                "dropped after {micros} us, it never ends: {known:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(s.exec(&id, s.exec_spec(&["true"])).await.code, 0);
}

pub(super) async fn a_dropped_stop(s: Subject) {
    let id = s.sleeper().await;
    let options = StopOptions {
        timeout: Some(30),
        ..StopOptions::default()
    };
    let stop = s.runtime.stop_container(&id, options);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), stop)
            .await
            .is_err()
    );
    // Whoever gave up waiting hangs nobody else.
    assert_eq!(s.status(&id).await, Status::Running);
    s.stop(&id, 0).await;
    assert_eq!(s.status(&id).await, Status::Exited);
}

pub(super) async fn dropped_waits(s: Subject) {
    let id = s.sleeper().await;
    for _ in 0..100 {
        let wait = s
            .runtime
            .wait_container(&id, WaitCondition::NextExit)
            .await
            .unwrap();
        drop(wait);
    }
    let kept = s.waiting(&id, WaitCondition::NextExit).await;
    s.kill(&id, "KILL").await;
    assert_eq!(kept.await.code, 137);
}

pub(super) async fn dropped_streams(s: Subject) {
    let id = s
        .launch(s.sh("while true; do echo tick; sleep 0.01; done"))
        .await;
    s.until_logged(&id, "tick").await;
    let options = LogOptions {
        stdout: true,
        stderr: true,
        follow: true,
        ..LogOptions::default()
    };
    for _ in 0..20 {
        let mut logs = s
            .runtime
            .container_logs(&id, options.clone())
            .await
            .unwrap();
        soon("a line", logs.entries.next()).await.unwrap().unwrap();
        drop(logs);
        let mut attached = s.attach(&id, false).await;
        soon("a line", attached.output.next())
            .await
            .unwrap()
            .unwrap();
        drop(attached);
    }
    if s.can.stats {
        let mut readings = s.runtime.container_stats(&id, true).await.unwrap();
        soon("a reading", readings.next()).await.unwrap().unwrap();
    }
    assert_eq!(s.status(&id).await, Status::Running);
    s.kill(&id, "KILL").await;
    assert_eq!(s.ended(&id).await, 137);
}

/// One who is attached and does not read hinders neither the process' end nor anybody else.
pub(super) async fn a_reader_that_does_not_read(s: Subject) {
    let id = s.create(s.sh("seq 1 3000")).await;
    let idle = s.attach(&id, false).await;
    s.start(&id).await;
    // It is held up by its reader at most until that is gone.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(idle);
    assert_eq!(s.ended(&id).await, 0);
    assert_eq!(s.logged(&id).await.len(), 3000);
    // A kill is not held up at all.
    let id = s.create(s.sh("while true; do seq 1 10000; done")).await;
    let idle = s.attach(&id, false).await;
    s.start(&id).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    s.kill(&id, "KILL").await;
    assert_eq!(s.ended(&id).await, 137);
    drop(idle);
}

pub(super) async fn an_archive_that_is_not_read(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s.create(s.spec(&["true"])).await;
    for _ in 0..5 {
        let mut tar = s.runtime.export_container(&id).await.unwrap();
        soon("a piece", tar.next()).await.unwrap().unwrap();
        drop(tar);
        drop(s.runtime.read_path(&id, "/bin").await.unwrap());
    }
    // Nothing holds the container any more.
    s.remove(&id).await;
    s.until_gone(&id).await;
}
