//! SIGKILL to a shim ends its container at once, without anybody's help.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod common;

use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

use common::*;
use coracle_task::*;
use oci_spec::runtime::LinuxNamespaceType;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::process::Pid;
use rustix::process::PidfdFlags;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;

fn watch(pid: i32) -> OwnedFd {
    rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
}

/// Kills the shim, and nothing else; whether all of these end within a second. They become this
/// process's children, who takes their exit statuses: a first process' end waits for that.
fn die_with(container: &mut Container, processes: &[OwnedFd]) -> bool {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let mut shim = container.shim.take().unwrap();
    shim.kill().unwrap();
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let ended = processes.iter().all(|process| {
        let mut fds = [PollFd::new(process, PollFlags::IN)];
        let ended = rustix::event::poll(&mut fds, Some(&second)).unwrap() == 1;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = rustix::process::waitid(WaitId::PidFd(process.as_fd()), options);
        ended
    });
    shim.wait().unwrap();
    container.clean_up();
    container.nothing_left();
    ended
}

/// As `--pid host`.
fn share_pids(config: &mut TaskConfig) {
    let linux = config.spec.linux_mut().as_mut().unwrap();
    let mut namespaces = linux.namespaces().clone().unwrap();
    namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Pid);
    linux.set_namespaces(Some(namespaces));
}

/// The one child of a process.
fn child(of: i32) -> i32 {
    let path = format!("/proc/{of}/task/{of}/children");
    std::fs::read_to_string(path)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn the_container_dies_with_its_shim() {
    if !can_run() {
        return;
    }
    for user in [None, Some("1000")] {
        for init in [false, true] {
            for shared in [false, true] {
                let mut container = Container::command(&["sleep", "1000"]).with(|config| {
                    config.user = user.map(str::to_owned);
                    config.init = init;
                    if shared {
                        share_pids(config);
                    }
                });
                let client = container.launch().await;
                let pid = soon(client.start()).await.unwrap().pid;
                // The threads that made it are gone.
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                let mut all = vec![watch(pid)];
                if init {
                    all.push(watch(child(pid)));
                }
                assert!(
                    die_with(&mut container, &all),
                    "user {user:?}, init {init}, shared pids {shared}"
                );
            }
        }
    }
}

#[tokio::test]
async fn execs_die_with_the_shim() {
    if !can_run() {
        return;
    }
    for shared in [false, true] {
        let mut container = Container::command(&["sleep", "1000"]).with(|config| {
            if shared {
                share_pids(config);
            }
        });
        let client = container.launch().await;
        let pid = soon(client.start()).await.unwrap().pid;
        let mut config = exec("e", &["sleep", "1000"]);
        config.user = Some("1000".into());
        client.exec(config).await.unwrap();
        let started = soon(client.start_exec("e")).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let all = [watch(started.pid), watch(pid)];
        assert!(die_with(&mut container, &all), "shared pids {shared}");
    }
}
