//! Many at once.

use std::time::{Duration, Instant};

use super::super::Subject;
use super::super::support::soon;
use crate::container::{Changed, RemoveOptions, StopOptions, WaitCondition};
use crate::{RuntimeError, Status};

/// Less than any time-out that a runtime may have within itself: who takes as long has missed what it
/// waited for.
const MISSED: Duration = Duration::from_millis(9500);

pub(super) async fn fifty_containers_at_once(s: Subject) {
    let runs = (0..50).map(|n| {
        let s = s.clone();
        async move {
            let (id, written) = s.output(s.sh(&format!("echo {n}; exit {n}"))).await;
            assert_eq!((written.stdout, written.code), (format!("{n}\n"), n));
            s.remove(&id).await;
        }
    });
    let tasks: Vec<_> = runs.map(tokio::spawn).collect();
    for task in tasks {
        task.await.expect("a run");
    }
}

/// Whatever twenty clients do to one container, it ends in a state that makes sense, and nothing hangs.
pub(super) async fn twenty_clients_of_one_container(s: Subject) {
    let id = s
        .create(s.sh("trap 'exit 7' TERM; sleep 1000 & wait"))
        .await;
    // Everybody's restarts may come first, and each takes as long as a start does here.
    let begun = Instant::now();
    s.start(&id).await;
    let limit = MISSED.max(begun.elapsed() * 40);
    let clients: Vec<_> = (0..20_u64)
        .map(|n| {
            let (s, id) = (s.clone(), id.clone());
            tokio::spawn(async move {
                // A small generator (Numerical Recipes): what matters is that clients differ.
                let mut state = n.wrapping_mul(2_654_435_761).wrapping_add(12_345);
                for _ in 0..10 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    act(&s, &id, (state >> 16) % 9, limit).await;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
    // Now it does what it is told.
    if s.status(&id).await == Status::Paused {
        s.runtime.unpause_container(&id).await.unwrap();
    }
    s.stop(&id, 0).await;
    let container = s.inspect(&id).await;
    assert_eq!(
        (container.state.status, container.state.pid),
        (Status::Exited, 0)
    );
    s.start(&id).await;
    assert_eq!(s.status(&id).await, Status::Running);
    s.kill(&id, "KILL").await;
    assert_eq!(s.ended(&id).await, 137);
    s.remove(&id).await;
    s.until_gone(&id).await;
}

/// One random act. What the state does not allow is refused as such; nothing else may go wrong.
async fn act(s: &Subject, id: &str, what: u64, limit: Duration) {
    let start = Instant::now();
    act_untimed(s, id, what).await;
    let took = start.elapsed();
    assert!(
        took < limit,
        "act {what} took {took:?}: a wake-up was missed"
    );
}

async fn act_untimed(s: &Subject, id: &str, what: u64) {
    let r = &s.runtime;
    let at_once = StopOptions {
        timeout: Some(0),
        ..StopOptions::default()
    };
    let result = match what {
        0 | 1 => soon("start", r.start_container(id)).await.map(drop),
        2 => soon("stop", r.stop_container(id, at_once)).await.map(drop),
        3 => soon("kill", r.kill_container(id, "KILL")).await,
        4 => soon("restart", r.restart_container(id, at_once)).await,
        5 if s.can.pause => soon("pause", r.pause_container(id)).await,
        6 if s.can.pause => soon("unpause", r.unpause_container(id)).await,
        7 => soon("inspect", r.inspect_container(id, false))
            .await
            .map(drop),
        _ => {
            let wait = soon("wait", r.wait_container(id, WaitCondition::NextExit)).await;
            let wait = wait.expect("a wait can always be registered");
            drop(tokio::time::timeout(Duration::from_millis(20), wait).await);
            Ok(())
        }
    };
    match result {
        Ok(()) | Err(RuntimeError::InvalidState(_)) => {}
        Err(other) => panic!("act {what}: {other:?}"),
    }
}

/// Of many who start it one does; of many who remove it one does.
pub(super) async fn one_of_many_wins(s: Subject) {
    let id = s.create(s.spec(&["sleep", "1000"])).await;
    let starts = (0..20).map(|_| s.runtime.start_container(&id));
    let results = soon("starts", futures_util::future::join_all(starts)).await;
    assert_eq!(
        results
            .iter()
            .filter(|result| **result == Ok(Changed(true)))
            .count(),
        1,
        "{results:?}"
    );
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let force = RemoveOptions {
        force: true,
        ..RemoveOptions::default()
    };
    let removals = (0..20).map(|_| s.runtime.remove_container(&id, force));
    let results = soon("removals", futures_util::future::join_all(removals)).await;
    assert_eq!(
        results.iter().filter(|result| result.is_ok()).count(),
        1,
        "{results:?}"
    );
    for result in results {
        assert!(
            matches!(
                result,
                Ok(()) | Err(RuntimeError::NotFound(_) | RuntimeError::InvalidState(_))
            ),
            "{result:?}"
        );
    }
    s.until_gone(&id).await;
}

/// Creation, list, inspection and removal side by side: what is listed can be looked at or is gone.
pub(super) async fn lists_while_containers_come_and_go(s: Subject) {
    let makers = (0..4).map(|_| {
        let s = s.clone();
        tokio::spawn(async move {
            for _ in 0..5 {
                let id = s.create(s.spec(&["true"])).await;
                s.remove(&id).await;
            }
        })
    });
    let makers: Vec<_> = makers.collect();
    while makers.iter().any(|maker| !maker.is_finished()) {
        for container in soon("list", s.runtime.list_containers(true))
            .await
            .expect("a list")
        {
            match soon("inspect", s.runtime.inspect_container(&container.id, true)).await {
                Ok(_) | Err(RuntimeError::NotFound(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        tokio::task::yield_now().await;
    }
    for maker in makers {
        maker.await.expect("a maker");
    }
}

/// A forced removal amid everything else: it is gone, told once, and whoever comes late learns so.
pub(super) async fn removal_amid_everything(s: Subject) {
    for round in 0..6_u64 {
        let mut listener = s.listen();
        let mut spec = s.sh("trap 'exit 7' TERM; sleep 1000 & wait");
        spec.host.auto_remove = round % 2 == 0;
        let id = s.create(spec).await;
        let clients: Vec<_> = (0..8_u64)
            .map(|n| {
                let (s, id) = (s.clone(), id.clone());
                tokio::spawn(async move {
                    for step in 0..6 {
                        amid(&s, &id, (n + step + round) % 5).await;
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(10 * round)).await;
        let force = RemoveOptions {
            force: true,
            ..RemoveOptions::default()
        };
        match soon("remove", s.runtime.remove_container(&id, force)).await {
            Ok(()) | Err(RuntimeError::NotFound(_) | RuntimeError::InvalidState(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        for client in clients {
            client.await.expect("a client");
        }
        s.until_gone(&id).await;
        let told = super::super::told::actions(&mut listener, &id);
        assert_eq!(
            told.iter().filter(|action| *action == "destroy").count(),
            1,
            "{told:?}"
        );
        assert_eq!(told.last().map(String::as_str), Some("destroy"), "{told:?}");
        let count = |wanted: &str| told.iter().filter(|action| *action == wanted).count();
        assert_eq!(count("start"), count("die"), "{told:?}");
    }
}

async fn amid(s: &Subject, id: &str, what: u64) {
    let r = &s.runtime;
    let result = match what {
        0 | 1 => soon("start", r.start_container(id)).await.map(drop),
        2 => soon("kill", r.kill_container(id, "TERM")).await,
        3 if s.can.exec => match soon("exec", r.create_exec(id, s.exec_spec(&["true"]))).await {
            Ok(exec) => soon("exec", r.start_exec(&exec, Default::default()))
                .await
                .map(drop),
            Err(error) => Err(error),
        },
        _ => match soon("wait", r.wait_container(id, WaitCondition::Removed)).await {
            Ok(wait) => {
                drop(tokio::time::timeout(Duration::from_millis(5), wait).await);
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) | Err(RuntimeError::InvalidState(_) | RuntimeError::NotFound(_)) => {}
        Err(other) => panic!("act {what}: {other:?}"),
    }
}
