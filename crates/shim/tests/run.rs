//! Containers from start to end: exit codes, logs, failures, limits, the shim's own life.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use coracle_log::Driver;
use coracle_task::*;

#[tokio::test]
async fn exit_codes() {
    if !can_run() {
        return;
    }
    for (script, code) in [
        ("true", 0),
        ("exit 42", 42),
        ("sh -c 'kill -KILL $$'; exit $?", 137),
    ] {
        let mut container = Container::shell(script);
        let client = container.launch().await;
        let started = soon(client.start()).await.unwrap();
        assert!(started.pid > 0);
        let exit = soon(client.wait(None)).await.unwrap();
        assert_eq!((exit.code, exit.signal), (code, None), "{script}");
        assert_eq!(exit.started_at, Some(started.started_at));
        assert_eq!(container.exit_record(), Some(exit.clone()));
        assert_eq!(
            soon(client.wait(None)).await.unwrap(),
            exit,
            "as often as one likes"
        );
        assert_eq!(client.state().await.unwrap().status, Status::Stopped);
        soon(client.shutdown()).await.unwrap();
        container.gone().await;
    }
}

#[tokio::test]
async fn commands_that_cant_be_started() {
    if !can_run() {
        return;
    }
    for (command, kind, code) in [
        ("nosuch", ErrorKind::CommandNotFound, 127),
        ("/nosuch", ErrorKind::CommandNotFound, 127),
        ("/bin/notexec", ErrorKind::CommandNotExecutable, 126),
        ("/etc", ErrorKind::CommandNotExecutable, 126),
    ] {
        let mut container = Container::command(&[command]);
        let client = container.launch().await;
        let mut attached = client.attach(None, ALL).await.unwrap();
        let error = soon(client.start()).await.unwrap_err();
        assert_eq!(error.kind(), Some(kind), "{command}: {error}");
        let exit = soon(client.wait(None)).await.unwrap();
        assert_eq!((exit.code, exit.error_kind), (code, Some(kind)));
        assert_eq!(
            (exit.started_at, &exit.error),
            (None, &Some(error.to_string()))
        );
        assert_eq!(container.exit_record(), Some(exit));
        assert_eq!(soon(attached.output.next()).await.unwrap(), None);
        let again = client.start().await.unwrap_err();
        assert_eq!(again.kind(), Some(ErrorKind::InvalidState));
        drop((client, attached));
        container.gone().await;
    }
}

#[tokio::test]
async fn what_cant_be_set_up_is_told_and_leaves_nothing() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("true").with(|config| {
        let mut resources = oci_spec::runtime::LinuxResources::default();
        let mut pids = oci_spec::runtime::LinuxPids::default();
        pids.set_limit(5);
        resources.set_pids(Some(pids));
        config
            .spec
            .linux_mut()
            .as_mut()
            .unwrap()
            .set_resources(Some(resources));
        config.rootfs = Rootfs::Bind("/nonexistent".into());
    });
    let client = container.launch().await;
    let error = soon(client.start()).await.unwrap_err();
    assert!(error.kind().is_some(), "{error:?}");
    assert_eq!(container.exit_record().unwrap().code, 128);
    soon(client.shutdown()).await.unwrap();
    container.gone().await;
}

#[tokio::test]
async fn logs_are_whole() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("seq 1 1500000; echo err >&2; printf end");
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    let exit = soon(client.wait(None)).await.unwrap();
    assert_eq!(exit.code, 0);
    let logged = container.logged("stdout");
    let mut lines = logged.lines();
    for n in 1..=1_500_000 {
        assert_eq!(lines.next(), Some(n.to_string().as_str()));
    }
    assert_eq!((lines.next(), lines.next()), (Some("end"), None));
    assert!(logged.len() > 10 << 20);
    assert_eq!(container.logged("stderr"), "err\n");
    soon(client.shutdown()).await.unwrap();
    container.gone().await;
}

#[tokio::test]
async fn logs_with_other_drivers() {
    if !can_run() {
        return;
    }
    for driver in [Driver::None, Driver::Local] {
        let mut container = Container::shell("seq 1 1000").with(|config| {
            config.log.driver = driver;
            config.durable = false;
        });
        let client = container.launch().await;
        soon(client.start()).await.unwrap();
        soon(client.wait(None)).await.unwrap();
        let size = std::fs::metadata(&container.config.log.path)
            .map(|meta| meta.len())
            .ok();
        assert_eq!(
            size.is_some_and(|size| size > 1000),
            driver == Driver::Local
        );
        drop(client);
        container.gone().await;
    }
}

#[tokio::test]
async fn an_overlay_root_and_a_user_of_the_image() {
    if !can_run() {
        return;
    }
    let mut container =
        Container::shell("id -u; id -G; echo $HOME; echo hi > /tmp/file").with(|config| {
            let Rootfs::Bind(root) = config.rootfs.clone() else {
                unreachable!()
            };
            let dir = root.parent().unwrap().to_owned();
            let passwd = "root:x:0:0::/:/bin/sh\nme:x:12:34::/home/me:/bin/sh\n";
            std::fs::write(root.join("etc/passwd"), passwd).unwrap();
            std::fs::write(root.join("etc/group"), "extra:x:56:\n").unwrap();
            use std::os::unix::fs::PermissionsExt;
            let all = std::fs::Permissions::from_mode(0o1777);
            std::fs::set_permissions(root.join("tmp"), all).unwrap();
            config.rootfs = Rootfs::Overlay {
                lower: vec![root],
                upper: dir.join("upper"),
                work: dir.join("work"),
            };
            config.user = Some("me".into());
            config.groups = vec!["extra".into()];
        });
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    assert_eq!(
        soon(client.wait(None)).await.unwrap().code,
        0,
        "{}",
        container.logged("stderr")
    );
    assert_eq!(container.logged("stdout"), "12\n34 56\n/home/me\n");
    let written = std::fs::read_to_string(container.dir.path().join("upper/tmp/file"));
    assert_eq!(written.unwrap(), "hi\n");
    drop(client);
    container.gone().await;
}

#[tokio::test]
async fn a_container_can_be_started_again() {
    if !can_run() {
        return;
    }
    for durable in [true, false] {
        let mut container = Container::shell("echo x >> /file; cat /file").with(|config| {
            let Rootfs::Bind(root) = config.rootfs.clone() else {
                unreachable!()
            };
            let dir = root.parent().unwrap().to_owned();
            let (upper, work) = (dir.join("upper"), dir.join("work"));
            config.rootfs = Rootfs::Overlay {
                lower: vec![root],
                upper,
                work,
            };
            config.durable = durable;
        });
        for expected in ["x\n", "x\nx\nx\n"] {
            let client = container.launch().await;
            soon(client.start()).await.unwrap();
            assert_eq!(soon(client.wait(None)).await.unwrap().code, 0);
            assert_eq!(container.logged("stdout"), expected, "the log goes on");
            soon(client.shutdown()).await.unwrap();
            let mut shim = container.shim.take().unwrap();
            assert!(shim.wait().unwrap().success());
            std::fs::remove_file(container.socket()).unwrap();
            std::fs::remove_file(&container.config.exit_file).unwrap();
        }
        container.nothing_left();
        assert!(!container.dir.path().join("work/work/incompat").exists());
    }
}

#[tokio::test]
async fn kill_pause_and_resume() {
    if !can_run() {
        return;
    }
    let script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    let mut container = Container::shell(script);
    let client = container.launch().await;
    let mut events = client.events().await.unwrap();
    assert_eq!(events.initial.status, Status::Created);
    let mut attached = client.attach(None, ALL).await.unwrap();
    let refused = client.pause().await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::InvalidState));
    let started = soon(client.start()).await.unwrap();
    read_until(&mut attached.output, "ready").await;

    soon(client.pause()).await.unwrap();
    assert_eq!(client.state().await.unwrap().status, Status::Paused);
    assert_eq!(
        client.pause().await.unwrap_err().kind(),
        Some(ErrorKind::InvalidState)
    );
    let refused = client.exec(exec("x", &["true"])).await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::InvalidState));
    client.kill(None, 15, false).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), client.wait(None)).await;
    assert!(early.is_err(), "it is frozen");
    soon(client.resume()).await.unwrap();
    assert_eq!(
        client.resume().await.unwrap_err().kind(),
        Some(ErrorKind::InvalidState)
    );
    let exit = soon(client.wait(None)).await.unwrap();
    assert_eq!((exit.code, exit.signal), (5, None));
    for signal in [0, 65, -1] {
        let error = client.kill(None, signal, false).await.unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::InvalidArgument));
    }
    let error = client.kill(None, 9, false).await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::NotFound));

    assert_eq!(soon(events.next()).await.unwrap(), Event::Started(started));
    assert_eq!(soon(events.next()).await.unwrap(), Event::Paused);
    assert_eq!(soon(events.next()).await.unwrap(), Event::Resumed);
    assert_eq!(soon(events.next()).await.unwrap(), Event::Exited(exit));
    soon(client.shutdown()).await.unwrap();
    assert!(matches!(soon(events.next()).await, Err(TaskError::Gone)));
    container.gone().await;
}

/// What comes while the container is removed finds one that doesn't run, not half of one.
#[tokio::test]
async fn an_end_forestalls_what_needs_it_running() {
    if !can_run() {
        return;
    }
    let rounds = (0..20).map(|_| tokio::spawn(ended_while_it_is_busy()));
    for round in rounds.collect::<Vec<_>>() {
        round.await.unwrap();
    }
}

async fn ended_while_it_is_busy() {
    let mut container = Container::shell("sleep 100");
    let client = Arc::new(container.launch().await);
    soon(client.start()).await.unwrap();
    let busy = (0..8).map(|n| {
        let client = client.clone();
        tokio::spawn(async move {
            for round in 0.. {
                let refused = match n % 4 {
                    0 => client.pause().await.and(client.resume().await).err(),
                    1 => client.pids().await.err(),
                    2 => client.stats().await.err(),
                    _ => run(&client, &format!("{n}-{round}")).await.err(),
                };
                let Some(refused) = refused else { continue };
                assert_eq!(refused.kind(), Some(ErrorKind::InvalidState), "{refused}");
                if client.state().await.unwrap().status == Status::Stopped {
                    return;
                }
            }
        })
    });
    let busy: Vec<_> = busy.collect();
    while client.kill(None, 9, false).await.is_ok() {}
    for one in busy {
        soon(one).await.unwrap();
    }
    drop(client);
    container.gone().await;
}

async fn run(client: &Client, id: &str) -> Result<(), TaskError> {
    client.exec(exec(id, &["true"])).await?;
    client.start_exec(id).await.map(drop)
}

#[tokio::test]
async fn killed_by_a_signal() {
    if !can_run() {
        return;
    }
    for all in [false, true] {
        let mut container = Container::shell("sleep 100 & sleep 100");
        let client = container.launch().await;
        soon(client.start()).await.unwrap();
        client.kill(None, 9, all).await.unwrap();
        let exit = soon(client.wait(None)).await.unwrap();
        assert_eq!((exit.code, exit.signal), (137, Some(9)));
        assert!(!exit.oom_killed);
        drop(client);
        container.gone().await;
    }
}

#[tokio::test]
async fn out_of_memory_is_told() {
    if !can_run() {
        return;
    }
    let mut container =
        Container::shell("x=$(cat /dev/zero | tail -c 100000000); echo $?").with(|config| {
            let text = r#"{"memory":{"limit":16777216,"swap":16777216},"pids":{"limit":50}}"#;
            let resources = serde_json::from_str(text).unwrap();
            config
                .spec
                .linux_mut()
                .as_mut()
                .unwrap()
                .set_resources(Some(resources));
            let devices = serde_json::from_str(
                r#"[{"path":"/dev/zero","type":"c","major":1,"minor":5,"fileMode":438}]"#,
            );
            config
                .spec
                .linux_mut()
                .as_mut()
                .unwrap()
                .set_devices(Some(devices.unwrap()));
        });
    let client = container.launch().await;
    let mut events = client.events().await.unwrap();
    soon(client.start()).await.unwrap();
    let stats = client.stats().await.unwrap();
    assert_eq!(
        (stats.memory.limit, stats.pids.limit),
        (Some(16 << 20), Some(50))
    );
    let exit = soon(client.wait(None)).await.unwrap();
    assert!(exit.oom_killed, "{exit:?} {}", container.logged("stderr"));
    assert!(matches!(
        soon(events.next()).await.unwrap(),
        Event::Started(_)
    ));
    assert_eq!(soon(events.next()).await.unwrap(), Event::Oom);
    drop((client, events));
    container.gone().await;
}

#[tokio::test]
async fn stats_pids_and_update() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("sleep 100 & while :; do :; done");
    let client = container.launch().await;
    let started = soon(client.start()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stats = client.stats().await.unwrap();
    assert!(stats.cpu.usage_ns > 10_000_000, "{stats:?}");
    assert!(
        stats.memory.usage > 0 && stats.pids.current >= 2,
        "{stats:?}"
    );
    let pids = client.pids().await.unwrap();
    assert!(pids.len() == 2 && pids.contains(&started.pid), "{pids:?}");
    let limit = serde_json::from_str(r#"{"pids":{"limit":77}}"#).unwrap();
    client.update(limit).await.unwrap();
    assert_eq!(client.stats().await.unwrap().pids.limit, Some(77));
    client.kill(None, 9, false).await.unwrap();
    soon(client.wait(None)).await.unwrap();
    assert_eq!(
        client.stats().await.unwrap_err().kind(),
        Some(ErrorKind::InvalidState)
    );
    drop(client);
    container.gone().await;
}

#[tokio::test]
async fn without_a_pid_namespace_nothing_outlives_the_init() {
    if !can_run() {
        return;
    }
    let script = "(sleep 0.1 & exit) ; (sleep 1000 &) ; sleep 0.5; echo done; exit 3";
    let mut container = Container::shell(script).with(|config| {
        let linux = config.spec.linux_mut().as_mut().unwrap();
        let namespaces = linux.namespaces_mut().as_mut().unwrap();
        namespaces.retain(|n| n.typ() != oci_spec::runtime::LinuxNamespaceType::Pid);
        let mounts = config.spec.mounts_mut().as_mut().unwrap();
        mounts.retain(|mount| mount.destination() != "/proc");
    });
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let shim = container.shim_pid();
    let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap();
    for child in children.split_whitespace() {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(!stat.contains(") Z "), "an orphan was not reaped: {stat}");
    }
    let begin = std::time::Instant::now();
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 3);
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "it waited for the stream's holder"
    );
    assert_eq!(container.logged("stdout"), "done\n");
    drop(client);
    container.gone().await;
}

#[tokio::test]
async fn init_reaps_and_forwards() {
    if !can_run() {
        return;
    }
    let script = "trap 'exit 9' TERM; echo $$; while :; do sleep 0.01; done";
    let mut container = Container::shell(script).with(|config| config.init = true);
    let client = container.launch().await;
    let mut attached = client.attach(None, ALL).await.unwrap();
    soon(client.start()).await.unwrap();
    assert_ne!(read_until(&mut attached.output, "\n").await, "1\n");
    client.kill(None, 15, false).await.unwrap();
    assert_eq!(soon(client.wait(None)).await.unwrap().code, 9);
    drop((client, attached));
    container.gone().await;
}

#[tokio::test]
async fn a_shim_nobody_uses_leaves() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("true");
    drop(container.launch().await);
    container.gone().await;
}

#[tokio::test]
async fn the_container_outlives_its_clients() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 7");
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    let waiting = client.clone();
    let wait = tokio::spawn(async move { waiting.wait(None).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    wait.abort();
    drop(client);
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
        let pid = rustix::process::Pid::from_raw(container.shim_pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let client = container.connect().await;
    let state = client.state().await.unwrap();
    assert_eq!(state.status, Status::Running);
    let refused = client.shutdown().await.unwrap_err();
    assert_eq!(refused.kind(), Some(ErrorKind::InvalidState));
    drop(client);
    std::fs::write(container.dir.path().join("root/tmp/go"), "").unwrap();
    while container.exit_record().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(container.exit_record().unwrap().code, 7);
    container.gone().await;
}

#[tokio::test]
async fn who_asks_during_a_start_is_told_its_outcome() {
    use std::io::Read;
    use std::io::Write;
    if !can_run() {
        return;
    }
    let hello = frame::json_frame(&Hello { version: VERSION }).unwrap();
    let start = frame::json_frame(&Request::Start).unwrap();
    for (command, outcome) in [("sleep", Status::Running), ("nosuch", Status::Stopped)] {
        // Many mounts, so that it takes a while.
        let mounts = (0..200).map(|n| {
            serde_json::from_value(serde_json::json!({
                "destination": format!("/tmp/{n}"), "type": "tmpfs", "source": "tmpfs",
            }))
            .unwrap()
        });
        let mut container = Container::command(&[command, "1000"]).with(|config| {
            let mut all = config.spec.mounts().clone().unwrap();
            all.extend(mounts);
            config.spec.set_mounts(Some(all));
        });
        drop(container.launch().await);
        // An engine that is killed as soon as it has asked.
        let mut asking = std::os::unix::net::UnixStream::connect(container.socket()).unwrap();
        asking.write_all(&[&hello[..], &start].concat()).unwrap();
        let answered = tokio::task::spawn_blocking({
            let mut answer = vec![0; hello.len()];
            move || asking.read_exact(&mut answer)
        });
        answered.await.unwrap().unwrap();
        let client = container.connect().await;
        let (state, events) = soon(async { tokio::join!(client.state(), client.events()) }).await;
        assert_eq!(state.unwrap().status, outcome);
        assert_eq!(events.unwrap().initial.status, outcome);
        if outcome == Status::Running {
            client.kill(None, 9, false).await.unwrap();
        }
        soon(client.wait(None)).await.unwrap();
        drop(client);
        container.gone().await;
    }
}

#[tokio::test]
async fn a_killed_shim_is_seen_at_once() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("sleep 1000");
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    let waiting = client.clone();
    let wait = tokio::spawn(async move { waiting.wait(None).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut shim = container.shim.take().unwrap();
    shim.kill().unwrap();
    shim.wait().unwrap();
    assert!(matches!(soon(wait).await.unwrap(), Err(TaskError::Gone)));
    assert!(matches!(client.state().await, Err(TaskError::Gone)));
    assert!(container.exit_record().is_none());
    container.clean_up();
    container.nothing_left();
}

#[tokio::test]
async fn many_at_once() {
    if !can_run() {
        return;
    }
    let mut all = tokio::task::JoinSet::new();
    for n in 0..30 {
        all.spawn(async move {
            let mut container = Container::shell(&format!("seq 1 2000; exit {n}"));
            let client = container.launch().await;
            let mut attached = client.attach(None, ALL).await.unwrap().output;
            soon(client.start()).await.unwrap();
            let (stdout, _) = read_all(&mut attached).await;
            assert_eq!(stdout.iter().filter(|byte| **byte == b'\n').count(), 2000);
            assert_eq!(soon(client.wait(None)).await.unwrap().code, n);
            soon(client.shutdown()).await.unwrap();
            container.gone().await;
        });
    }
    while let Some(result) = all.join_next().await {
        result.unwrap();
    }
}

/// A shim may be killed at any moment: whoever cleans up afterwards leaves nothing.
#[tokio::test]
async fn killed_at_random_moments() {
    if !can_run() {
        return;
    }
    for round in 0..20u64 {
        let mut container = Container::shell("sleep 0.01; seq 1 100");
        let client = container.launch().await;
        let running = tokio::spawn(async move {
            client.start().await?;
            client.wait(None).await
        });
        tokio::time::sleep(Duration::from_micros(round * round * 150)).await;
        let mut shim = container.shim.take().unwrap();
        shim.kill().unwrap();
        shim.wait().unwrap();
        match soon(running).await.unwrap() {
            Err(error) => assert!(matches!(error, TaskError::Gone), "{error:?}"),
            Ok(exit) => assert_eq!(container.exit_record(), Some(exit)),
        }
        container.clean_up();
        container.nothing_left();
    }
}
