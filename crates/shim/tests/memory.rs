//! How much memory a shim takes, with a container that runs. The promise is for the build that
//! is installed (`--profile shim`), whose path is given in `CORACLE_TEST_SHIM`.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod common;

use common::*;

/// KiB.
const LIMIT: u64 = 4096;

fn field(pid: i32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn resident_memory() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("seq 1 1000; sleep 1000");
    let client = container.launch().await;
    let mut attached = client.attach(None, ALL).await.unwrap();
    soon(client.start()).await.unwrap();
    read_until(&mut attached.output, "1000\n").await;
    drop(attached);
    client.exec(exec("e", &["true"])).await.unwrap();
    soon(client.start_exec("e")).await.unwrap();
    soon(client.wait(Some("e"))).await.unwrap();
    client.stats().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let pid = container.shim_pid();
    let (all, anonymous) = (field(pid, "VmRSS"), field(pid, "RssAnon"));
    eprintln!("shim: {all} KiB resident, {anonymous} KiB of them anonymous");
    if std::env::var_os("CORACLE_TEST_SHIM").is_some() {
        assert!(all < LIMIT, "{all} KiB");
    }
    client.kill(None, 9, false).await.unwrap();
    soon(client.wait(None)).await.unwrap();
    drop(client);
    container.gone().await;
}
