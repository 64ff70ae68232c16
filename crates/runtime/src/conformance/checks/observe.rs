//! Process lists, statistics, changes, new resources.

use futures_util::StreamExt;

use super::super::Subject;
use super::super::support::{all, refused, soon};
use super::super::told::event;
use crate::container::{Change, ChangeKind, UpdateOptions};
use crate::spec::HostConfig;

pub(super) async fn processes(s: Subject) {
    if !s.can.top {
        return;
    }
    let id = s.launch(s.sh("sleep 777 & sleep 888 & wait")).await;
    s.until_listed(&id, "sleep 888").await;
    let top = s.runtime.container_top(&id, "").await.unwrap();
    let pid = top
        .titles
        .iter()
        .position(|title| title == "PID")
        .expect("a column PID");
    assert_eq!(top.titles.last().map(String::as_str), Some("CMD"));
    assert_eq!(top.processes.len(), 3, "{top:?}");
    let own = s.inspect(&id).await.state.pid.to_string();
    assert!(
        top.processes.iter().any(|row| row[pid] == own),
        "{own}: {top:?}"
    );
    for row in &top.processes {
        assert_eq!(row.len(), top.titles.len(), "{row:?}");
    }
}

pub(super) async fn bad_arguments_of_ps(s: Subject) {
    if !s.can.top {
        return;
    }
    let id = s.sleeper().await;
    refused!(
        s.runtime.container_top(&id, "-o pid=x").await,
        InvalidArgument,
        "pid"
    );
}

impl Subject {
    async fn until_listed(&self, id: &str, command: &str) {
        let start = std::time::Instant::now();
        loop {
            let top = soon("top", self.runtime.container_top(id, ""))
                .await
                .unwrap();
            let listed = top
                .processes
                .iter()
                .any(|row| row.last().is_some_and(|last| last == command));
            if listed {
                return;
            }
            assert!(
                start.elapsed().as_secs() < 30,
                "{command} is not listed: {top:?}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

pub(super) async fn one_reading(s: Subject) {
    if !s.can.stats {
        return;
    }
    let id = s.sleeper().await;
    let before = jiff::Timestamp::now();
    let readings = all(
        "stats",
        s.runtime.container_stats(&id, false).await.unwrap(),
    )
    .await;
    assert_eq!(readings.len(), 1);
    let reading = &readings[0];
    assert!(reading.read >= before);
    assert!(
        reading.pids >= 1 && reading.cpu.online >= 1 && reading.cpu.host_total > 0,
        "{reading:?}"
    );
    assert!(
        reading.memory.usage > 0 && reading.memory.limit > 0,
        "{reading:?}"
    );
    // Of what does not run there are zeros.
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    let readings = all(
        "stats",
        s.runtime.container_stats(&id, false).await.unwrap(),
    )
    .await;
    assert_eq!(
        (readings.len(), readings[0].pids, readings[0].memory.usage),
        (1, 0, 0)
    );
}

pub(super) async fn a_stream_of_readings(s: Subject) {
    if !s.can.stats {
        return;
    }
    let id = s.sleeper().await;
    let mut readings = s.runtime.container_stats(&id, true).await.unwrap();
    let mut last = None;
    for _ in 0..3 {
        let reading = soon("a reading", readings.next()).await.unwrap().unwrap();
        assert!(last.is_none_or(|last| reading.read > last));
        last = Some(reading.read);
    }
    s.remove(&id).await;
    while soon("the end of the readings", readings.next())
        .await
        .is_some()
    {}
}

pub(super) async fn a_memory_limit_is_shown(s: Subject) {
    if !s.can.stats {
        return;
    }
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.host.memory = 64 << 20;
    let id = s.launch(spec).await;
    let readings = all(
        "stats",
        s.runtime.container_stats(&id, false).await.unwrap(),
    )
    .await;
    assert_eq!(readings[0].memory.limit, 64 << 20);
}

pub(super) async fn changes(s: Subject) {
    if !s.can.commit {
        return;
    }
    let id = s
        .create(s.sh("mkdir /new; echo x > /new/file; echo x >> /etc/passwd; rm /etc/group"))
        .await;
    assert_eq!(
        s.runtime.container_changes(&id).await.unwrap(),
        [],
        "never started"
    );
    s.start(&id).await;
    assert_eq!(s.ended(&id).await, 0);
    let change = |path: &str, kind| Change {
        path: path.into(),
        kind,
    };
    let expected = [
        change("/etc", ChangeKind::Modified),
        change("/etc/group", ChangeKind::Deleted),
        change("/etc/passwd", ChangeKind::Modified),
        change("/new", ChangeKind::Added),
        change("/new/file", ChangeKind::Added),
    ];
    assert_eq!(s.runtime.container_changes(&id).await.unwrap(), expected);
}

pub(super) async fn changes_of_a_running_container(s: Subject) {
    if !s.can.commit {
        return;
    }
    let id = s
        .launch(s.sh("echo x > /tmp/file; echo ready; sleep 1000 & wait"))
        .await;
    s.until_logged(&id, "ready").await;
    let changes = s.runtime.container_changes(&id).await.unwrap();
    let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(
        paths,
        ["/tmp", "/tmp/file"],
        "what the runtime itself mounts is no change"
    );
}

fn memory(bytes: i64) -> UpdateOptions {
    UpdateOptions {
        host: HostConfig {
            memory: bytes,
            memory_swap: -1,
            ..HostConfig::default()
        },
    }
}

pub(super) async fn update(s: Subject) {
    if !s.can.update {
        return;
    }
    let mut listener = s.listen();
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.host.cpu_shares = 512;
    let id = s.launch(spec).await;
    s.runtime
        .update_container(&id, memory(128 << 20))
        .await
        .unwrap();
    event(&mut listener, &id, "update").await;
    let host = s.inspect(&id).await.host_config;
    assert_eq!(
        (host.memory, host.cpu_shares),
        (128 << 20, 512),
        "only what is given changes"
    );
    if s.can.stats {
        let readings = all(
            "stats",
            s.runtime.container_stats(&id, false).await.unwrap(),
        )
        .await;
        assert_eq!(readings[0].memory.limit, 128 << 20);
    }
    // On an error nothing is changed.
    refused!(
        s.runtime.update_container(&id, memory(1024)).await,
        InvalidArgument,
        "memory"
    );
    let both = HostConfig {
        cpu_quota: 5000,
        nano_cpus: 1,
        ..HostConfig::default()
    };
    refused!(
        s.runtime
            .update_container(&id, UpdateOptions { host: both })
            .await,
        InvalidArgument
    );
    assert_eq!(s.inspect(&id).await.host_config.memory, 128 << 20);
    // Of one that does not run it counts from the next start.
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    s.runtime
        .update_container(&id, memory(96 << 20))
        .await
        .unwrap();
    s.start(&id).await;
    assert_eq!(s.inspect(&id).await.host_config.memory, 96 << 20);
}

pub(super) async fn a_policy_for_what_removes_itself(s: Subject) {
    if !s.can.update {
        return;
    }
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.host.auto_remove = true;
    let id = s.create(spec).await;
    let mut host = HostConfig::default();
    host.restart_policy.name = "always".into();
    refused!(
        s.runtime
            .update_container(&id, UpdateOptions { host })
            .await,
        InvalidState,
        "AutoRemove"
    );
}
