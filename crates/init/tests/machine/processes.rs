//! Processes: exits, streams, execs, signals, terminals.

use std::time::Duration;

use coracle_task::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{ALL, Guest, OUTPUT, config, exec, finish, shell};

crate::tests![
    exits,
    output,
    input,
    not_found,
    execs,
    signals,
    terminal,
    pauses,
    numbers,
    create_then_start,
    much_output,
    environment,
    limits,
];

async fn exits(guest: &Guest) {
    for (args, code) in [
        (&["true"][..], 0),
        (&["false"], 1),
        (&["sh", "-c", "exit 42"], 42),
    ] {
        assert_eq!(guest.run(&config(args)).await.exited.code, code);
    }
    let ran = guest.run(&shell("kill -9 $$")).await;
    // Process 1 of its namespace, which its own signals don't kill.
    assert_eq!(ran.exited.code, 0);
}

async fn output(guest: &Guest) {
    let ran = guest
        .run(&shell("echo out; echo err >&2; hostname; id -u"))
        .await;
    assert_eq!((&*ran.stdout, &*ran.stderr), ("out\nwarm\n0\n", "err\n"));
}

async fn input(guest: &Guest) {
    let mut started = guest.agent.run("c", &config(&["cat"]), ALL).await.unwrap();
    let mut stdin = started.stdin.take().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    drop(stdin);
    let ran = finish(started).await;
    assert_eq!((&*ran.stdout, ran.exited.code), ("hello", 0));
}

async fn not_found(guest: &Guest) {
    let error = guest
        .agent
        .run("c", &config(&["nothing"]), OUTPUT)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandNotFound, "{error}");
    guest.agent.delete("c").await.unwrap();
    let error = guest
        .agent
        .run("c", &config(&["/etc/passwd"]), OUTPUT)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandNotExecutable, "{error}");
    guest.agent.delete("c").await.unwrap();
    let error = guest
        .agent
        .exec("c", &exec("x", &["true"]), OUTPUT)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

async fn execs(guest: &Guest) {
    let agent = &guest.agent;
    let started = agent
        .run("c", &config(&["sleep", "1000"]), OUTPUT)
        .await
        .unwrap();
    for n in 0..3 {
        let id = format!("exec{n}");
        let process = agent
            .exec("c", &exec(&id, &["sh", "-c", "echo $$; exit 7"]), OUTPUT)
            .await;
        let ran = finish(process.unwrap()).await;
        assert_eq!(ran.exited.code, 7);
        assert!(ran.stdout.trim().parse::<i32>().unwrap() > 1);
    }
    let error = agent
        .exec("c", &exec("none", &["nothing"]), OUTPUT)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CommandNotFound);
    let sleeping = agent
        .exec("c", &exec("s", &["sleep", "1000"]), OUTPUT)
        .await
        .unwrap();
    assert_eq!(agent.pids("c").await.unwrap().len(), 2);
    started.process.kill(9).await.unwrap();
    let ended = finish(started).await.exited;
    assert_eq!((ended.code, ended.signal), (137, Some(9)));
    assert_eq!(finish(sleeping).await.exited.code, 137);
}

async fn signals(guest: &Guest) {
    let script = "trap 'echo got; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let mut started = guest.agent.run("c", &shell(script), OUTPUT).await.unwrap();
    let mut line = [0; 6];
    started
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut line)
        .await
        .unwrap();
    started.process.kill(15).await.unwrap();
    let process = started.process.clone();
    let ran = finish(started).await;
    assert_eq!((&*ran.stdout, ran.exited.code), ("got\n", 3));
    assert_eq!(
        process.kill(15).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

async fn terminal(guest: &Guest) {
    let mut config = shell("read x; stty size; echo $x; read y; stty size");
    config.terminal = true;
    config.console_size = Some((30, 100));
    let mut started = guest.agent.run("c", &config, ALL).await.unwrap();
    let mut stdin = started.stdin.take().unwrap();
    stdin.write_all(b"hey\n").await.unwrap();
    let stdout = started.stdout.as_mut().unwrap();
    let mut seen = String::new();
    while !seen.contains("30 100\r\nhey\r\n") {
        let mut buffer = [0; 100];
        let length = stdout.read(&mut buffer).await.unwrap();
        assert!(length > 0, "{seen:?}");
        seen += std::str::from_utf8(&buffer[..length]).unwrap();
    }
    started.process.resize(40, 50).await.unwrap();
    stdin.write_all(b"\n").await.unwrap();
    let ran = finish(started).await;
    assert!(ran.stdout.contains("40 50"), "{:?}", ran.stdout);
    assert_eq!(ran.exited.code, 0);
}

async fn pauses(guest: &Guest) {
    let agent = &guest.agent;
    let script = "while :; do echo x; sleep 0.01; done";
    let mut started = agent.run("c", &shell(script), OUTPUT).await.unwrap();
    let stdout = started.stdout.as_mut().unwrap();
    stdout.read_u8().await.unwrap();
    agent.pause("c").await.unwrap();
    let mut buffer = [0; 4096];
    let quiet = Duration::from_millis(500);
    while tokio::time::timeout(quiet, stdout.read(&mut buffer))
        .await
        .is_ok()
    {}
    agent.resume("c").await.unwrap();
    stdout.read_u8().await.unwrap();
    agent.kill_all("c", 9).await.unwrap();
    assert_eq!(finish(started).await.exited.code, 137);
}

async fn numbers(guest: &Guest) {
    let agent = &guest.agent;
    let started = agent
        .run("c", &config(&["sleep", "1000"]), OUTPUT)
        .await
        .unwrap();
    let (stats, _) = agent.stats("c").await.unwrap();
    assert!(stats.memory.usage > 0 && stats.memory.unified, "{stats:?}");
    assert_eq!(stats.pids.current, 1);
    let machine = agent.machine_stats().await.unwrap();
    let serials: Vec<_> = machine.disks.iter().map(|disk| &*disk.serial).collect();
    assert!(
        serials.contains(&"root") && serials.contains(&"layer"),
        "{serials:?}"
    );
    let total = machine
        .memory
        .iter()
        .find(|(name, _)| name == "MemTotal")
        .unwrap();
    assert!(total.1 > 200 << 20);
    agent.delete("c").await.unwrap();
    assert_eq!(finish(started).await.exited.code, 137);
}

async fn create_then_start(guest: &Guest) {
    let created = guest
        .agent
        .create("c", &config(&["echo", "x"]), OUTPUT)
        .await
        .unwrap();
    assert!(created.pid > 1);
    let again = guest
        .agent
        .create("c", &config(&["echo", "x"]), OUTPUT)
        .await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let ran = finish(created.start().await.unwrap()).await;
    assert_eq!((&*ran.stdout, ran.exited.code), ("x\n", 0));
    guest.agent.delete("c").await.unwrap();
    // One that is never started leaves nothing.
    drop(
        guest
            .agent
            .create("c", &config(&["echo", "x"]), OUTPUT)
            .await
            .unwrap(),
    );
}

async fn much_output(guest: &Guest) {
    let start = std::time::Instant::now();
    let ran = guest
        .run(&shell(
            "dd if=/dev/zero bs=64k count=320 2>/dev/null; echo end",
        ))
        .await;
    assert_eq!(ran.stdout.len(), (20 << 20) + 4);
    println!("20 MiB of output: {:?}", start.elapsed());
}

async fn environment(guest: &Guest) {
    let agent = &guest.agent;
    agent.set_env("ADDED", Some("yes")).await.unwrap();
    agent.set_env("PATH", Some("no")).await.unwrap();
    assert_eq!(agent.env("ADDED").await.unwrap().as_deref(), Some("yes"));
    let ran = guest.run(&shell("echo $ADDED $PATH $HOME")).await;
    assert_eq!(ran.stdout, "yes /bin /root\n");
    for name in ["ADDED", "PATH"] {
        agent.set_env(name, None).await.unwrap();
    }
    assert_eq!(agent.env("ADDED").await.unwrap(), None);
}

async fn limits(guest: &Guest) {
    let agent = &guest.agent;
    let started = agent
        .run("c", &config(&["sleep", "1000"]), OUTPUT)
        .await
        .unwrap();
    let resources = serde_json::json!({
        "memory": {"limit": 50_000_000}, "pids": {"limit": 10}, "cpu": {"quota": 50_000, "period": 100_000}
    });
    agent
        .update("c", &serde_json::from_value(resources).unwrap())
        .await
        .unwrap();
    let (stats, _) = agent.stats("c").await.unwrap();
    assert_eq!(stats.pids.limit, Some(10));
    assert!(stats.memory.limit.unwrap().abs_diff(50_000_000) < 8192);
    agent.kill_all("c", 9).await.unwrap();
    finish(started).await;
}
