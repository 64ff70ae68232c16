//! Logs.

use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;

use super::super::Subject;
use super::super::support::{all, fails_saying, soon};
use crate::io::{LogOptions, StreamKind};
use crate::spec::LogConfig;

fn both() -> LogOptions {
    LogOptions {
        stdout: true,
        stderr: true,
        ..LogOptions::default()
    }
}

pub(super) async fn lines_of_both_streams(s: Subject) {
    let script = "echo a; sleep 0.1; echo b >&2; sleep 0.1; printf 'no end'";
    let (id, _) = s.run(s.sh(script)).await;
    assert_eq!(s.log(&id, both()).await, ["a\n", "b\n", "no end"]);
    assert_eq!(
        s.log(
            &id,
            LogOptions {
                stderr: false,
                ..both()
            }
        )
        .await,
        ["a\n", "no end"]
    );
    assert_eq!(
        s.log(
            &id,
            LogOptions {
                stdout: false,
                ..both()
            }
        )
        .await,
        ["b\n"]
    );
    let logs = s.runtime.container_logs(&id, both()).await.unwrap();
    assert!(!logs.tty);
    let entries = all("logs", logs.entries).await;
    let kinds: Vec<StreamKind> = entries.iter().map(|entry| entry.stream).collect();
    assert_eq!(
        kinds,
        [StreamKind::Stdout, StreamKind::Stderr, StreamKind::Stdout]
    );
    assert!(entries.is_sorted_by_key(|entry| entry.time));
}

pub(super) async fn nothing_logged(s: Subject) {
    let id = s.create(s.spec(&["true"])).await;
    assert!(s.log(&id, both()).await.is_empty(), "never started");
    // There is nothing to come, either.
    assert!(
        s.log(
            &id,
            LogOptions {
                follow: true,
                ..both()
            }
        )
        .await
        .is_empty()
    );
    s.start(&id).await;
    s.ended(&id).await;
    assert!(s.log(&id, both()).await.is_empty(), "nothing written");
}

pub(super) async fn tail(s: Subject) {
    let (id, _) = s.run(s.sh("seq 1 300")).await;
    let tail = |n| LogOptions {
        tail: Some(n),
        ..both()
    };
    assert!(s.log(&id, tail(0)).await.is_empty());
    assert_eq!(s.log(&id, tail(2)).await, ["299\n", "300\n"]);
    assert_eq!(s.log(&id, tail(1000)).await.len(), 300);
    assert_eq!(s.log(&id, both()).await.len(), 300);
}

pub(super) async fn since_and_until(s: Subject) {
    let (id, _) = s
        .run(s.sh("echo a; sleep 0.3; echo b; sleep 0.3; echo c"))
        .await;
    let logs = s.runtime.container_logs(&id, both()).await.unwrap();
    let times: Vec<Timestamp> = all("logs", logs.entries)
        .await
        .iter()
        .map(|entry| entry.time)
        .collect();
    let middle = |a: Timestamp, b: Timestamp| a + b.duration_since(a) / 2;
    let between = middle(times[0], times[1]);
    let after = middle(times[1], times[2]);
    let since = |time| LogOptions {
        since: Some(time),
        ..both()
    };
    assert_eq!(s.log(&id, since(between)).await, ["b\n", "c\n"]);
    assert_eq!(s.log(&id, since(times[1])).await, ["b\n", "c\n"]);
    let until = LogOptions {
        until: Some(between),
        ..both()
    };
    assert_eq!(s.log(&id, until).await, ["a\n"]);
    let one = LogOptions {
        since: Some(between),
        until: Some(after),
        ..both()
    };
    assert_eq!(s.log(&id, one).await, ["b\n"]);
    let later = LogOptions {
        since: Some(Timestamp::now()),
        ..both()
    };
    assert!(s.log(&id, later).await.is_empty());
    let both_ends = LogOptions {
        since: Some(between),
        tail: Some(1),
        ..both()
    };
    assert_eq!(s.log(&id, both_ends).await, ["c\n"]);
}

pub(super) async fn follow_ends_with_the_run(s: Subject) {
    let id = s.launch(s.sh("echo a; sleep 0.3; echo b; exit 2")).await;
    assert_eq!(
        s.log(
            &id,
            LogOptions {
                follow: true,
                ..both()
            }
        )
        .await,
        ["a\n", "b\n"]
    );
    assert_eq!(s.ended(&id).await, 2);
    // Once it has ended, following is reading.
    assert_eq!(
        s.log(
            &id,
            LogOptions {
                follow: true,
                ..both()
            }
        )
        .await,
        ["a\n", "b\n"]
    );
}

/// Wherever a follower begins, it sees every line once, and in order.
pub(super) async fn follow_has_no_hole(s: Subject) {
    let script =
        "for i in 1 2 3 4 5 6 7 8 9 10; do seq ${i}001 ${i}200; sleep 0.03; done; printf end";
    let id = s.launch(s.sh(script)).await;
    let mut followers = Vec::new();
    for _ in 0..6 {
        let subject = s.clone();
        let id = id.clone();
        followers.push(tokio::spawn(async move {
            subject
                .log(
                    &id,
                    LogOptions {
                        follow: true,
                        ..both()
                    },
                )
                .await
        }));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut expected: Vec<String> = (1..=10)
        .flat_map(|i| (1..=200).map(move |n| format!("{}\n", i * 1000 + n)))
        .collect();
    expected.push("end".into());
    for follower in followers {
        let seen = follower.await.unwrap();
        assert_eq!(seen.len(), expected.len());
        assert_eq!(seen, expected);
    }
}

pub(super) async fn follow_with_a_tail(s: Subject) {
    for (tail, old) in [(2, &["99\n", "100\n"][..]), (0, &[])] {
        let script = "trap 'echo more; exit 0' USR1; seq 1 100; sleep 1000 & wait";
        let id = s.launch(s.sh(script)).await;
        s.until_logged(&id, "100\n").await;
        let (subject, follower) = (s.clone(), id.clone());
        let follower = tokio::spawn(async move {
            let options = LogOptions {
                follow: true,
                tail: Some(tail),
                ..both()
            };
            subject.log(&follower, options).await
        });
        // Long enough for the follower to have begun.
        tokio::time::sleep(Duration::from_secs(1)).await;
        s.kill(&id, "USR1").await;
        let mut expected = old.to_vec();
        expected.push("more\n");
        assert_eq!(follower.await.unwrap(), expected, "tail {tail}");
    }
}

pub(super) async fn follow_ends_with_the_container(s: Subject) {
    let id = s.polite().await;
    let options = LogOptions {
        follow: true,
        ..both()
    };
    let mut logs = s.runtime.container_logs(&id, options).await.unwrap();
    let first = soon("the first line", logs.entries.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.line, "ready\n");
    s.remove(&id).await;
    while soon("the end of the log", logs.entries.next())
        .await
        .is_some_and(|entry| entry.is_ok())
    {}
}

pub(super) async fn the_log_outlives_the_run(s: Subject) {
    let id = s.create(s.sh("echo again")).await;
    for runs in 1..=3 {
        s.start(&id).await;
        s.ended(&id).await;
        assert_eq!(s.log(&id, both()).await.len(), runs);
    }
}

pub(super) async fn long_lines_are_whole(s: Subject) {
    let (id, _) = s
        .run(s.sh("head -c 100000 /dev/zero | tr '\\0' x; echo; echo end"))
        .await;
    let text = s.log(&id, both()).await.concat();
    assert_eq!(text.len(), 100_000 + 1 + 4);
    assert!(text.ends_with("x\nend\n"));
}

pub(super) async fn a_terminals_log_is_one_stream(s: Subject) {
    let mut spec = s.sh("echo a; echo b >&2");
    spec.config.tty = true;
    let (id, _) = s.run(spec).await;
    let logs = s.runtime.container_logs(&id, both()).await.unwrap();
    assert!(logs.tty);
    let entries = all("logs", logs.entries).await;
    assert!(
        entries
            .iter()
            .all(|entry| entry.stream == StreamKind::Stdout)
    );
    let lines: Vec<&[u8]> = entries.iter().map(|entry| entry.line.as_ref()).collect();
    assert_eq!(lines, [b"a\r\n", b"b\r\n"]);
}

pub(super) async fn the_driver_none_keeps_nothing(s: Subject) {
    let mut spec = s.sh("echo a");
    spec.host.log_config = LogConfig {
        driver: "none".into(),
        ..LogConfig::default()
    };
    let id = s.create(spec).await;
    let attached = s.attach(&id, false).await;
    s.start(&id).await;
    assert_eq!(
        super::super::attached::read(attached).await.stdout,
        "a\n",
        "it can be attached to"
    );
    s.ended(&id).await;
    let result = s.runtime.container_logs(&id, both()).await;
    fails_saying("configured logging driver does not support reading", result);
    assert_eq!(s.inspect(&id).await.log_path, "");
}

pub(super) async fn boot_logs_are_machines(s: Subject) {
    let id = s.create(s.sh("true")).await;
    let options = || LogOptions {
        boot: true,
        ..both()
    };
    s.start(&id).await;
    let result = s.runtime.container_logs(&id, options()).await;
    match s.inspect(&id).await.host_config.runtime.as_str() {
        "vm" => assert!(result.is_ok()),
        _ => fails_saying("is not in a virtual machine", result),
    }
}

pub(super) async fn the_driver_local(s: Subject) {
    let mut spec = s.sh("echo a; sleep 0.05; echo b >&2");
    spec.host.log_config = LogConfig {
        driver: "local".into(),
        ..LogConfig::default()
    };
    let (id, _) = s.run(spec).await;
    assert_eq!(s.log(&id, both()).await, ["a\n", "b\n"]);
}

pub(super) async fn attributes_that_were_asked_for(s: Subject) {
    let mut spec = s.sh("echo a");
    spec.config.env = vec!["COLOR=red".into(), "OTHER=x".into()];
    let config = &mut spec.host.log_config;
    config.driver = "json-file".into();
    config.config = [("env".to_owned(), "COLOR".to_owned())].into();
    let (id, _) = s.run(spec).await;
    let logs = s.runtime.container_logs(&id, both()).await.unwrap();
    let entries = all("logs", logs.entries).await;
    let attributes = &entries[0].attributes;
    assert_eq!(attributes.len(), 1, "{attributes:?}");
    assert_eq!(attributes["COLOR"], "red");
}
