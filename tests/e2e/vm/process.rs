//! The container's process: exit codes, users, environment, terminals, execs, its life.

use coracle_tests::{Daemon, Terminal, wait_until};

use super::{Guest, cases, run};

#[test]
fn processes() {
    run(cases![
        process_true, process_false, process_echo_hi, process_no_executable, process_exit_codes,
        process_user, process_home_envvar, process_custom_home_envvar, process_tty_ensure_term,
        container_hostname, container_hostname_defaults_to_container_id, container_hosts,
        process_delete_idempotency, multiple_execs_without_delete, exec_custom_path_resolution,
        container_working_dir_created, container_working_dir_exec_created,
        container_use_init_basic, container_use_init_exit_code_propagation,
        container_use_init_signal_forwarding, container_use_init_zombie_reaping,
        container_stop_idempotency, container_reuse, container_dev_console,
        multiple_concurrent_processes, container_kill_and_signals, container_pause,
        container_restart_policy, container_top,
    ]);
}

const RUN: [&str; 4] = ["run", "--rm", "--network", "none"];

#[track_caller]
fn ends(d: &Daemon, code: i32, rest: &[&str]) -> coracle_tests::Output {
    d.fails(code, &[&RUN, rest].concat())
}

fn process_true(d: &Daemon) {
    ends(d, 0, &["busybox", "true"]);
}

fn process_false(d: &Daemon) {
    ends(d, 1, &["busybox", "false"]);
}

fn process_echo_hi(d: &Daemon) {
    let said = ends(d, 0, &["busybox", "echo", "hi"]);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("hi\n", ""));
}

fn process_no_executable(d: &Daemon) {
    ends(d, 127, &["busybox", "no-such-command"]).says("executable file not found in $PATH");
    ends(d, 126, &["busybox", "/etc/passwd"]).says("permission denied");
}

fn process_exit_codes(d: &Daemon) {
    ends(d, 42, &["busybox", "sh", "-c", "exit 42"]);
    ends(d, 255, &["busybox", "sh", "-c", "exit 255"]);
    ends(d, 137, &["--init", "busybox", "sh", "-c", "kill -9 $$"]);
}

fn process_user(d: &Daemon) {
    assert_eq!(d.sh(&["-u", "www-data"], "id -u; id -g; pwd"), "33\n33\n/");
    let more = ["-u", "1000:37", "--group-add", "users", "--group-add", "7"];
    assert_eq!(d.sh(&more, "id -u; id -G"), "1000\n37 7 100");
    ends(d, 125, &["-u", "nosuch", "busybox"]).says("unable to find user nosuch");
}

fn process_home_envvar(d: &Daemon) {
    assert_eq!(d.sh(&[], "echo $HOME"), "/root");
    assert_eq!(d.sh(&["-u", "www-data"], "echo $HOME"), "/var/www");
}

fn process_custom_home_envvar(d: &Daemon) {
    let flags = ["-e", "HOME=/elsewhere", "-e", "A=b c", "-e", "EMPTY="];
    assert_eq!(
        d.sh(&flags, "echo $HOME; env | grep -E '^(A|EMPTY)='"),
        "/elsewhere\nA=b c\nEMPTY="
    );
}

fn process_tty_ensure_term(d: &Daemon) {
    let line = [&RUN[..], &["-it", "busybox"]].concat();
    let mut terminal = Terminal::start(&d.docker_command(&line));
    terminal.expect("# ");
    terminal.send("tty; echo term-$TERM; stty size\n");
    terminal.expect("/dev/pts/0");
    terminal.expect("term-xterm");
    terminal.expect("24 80");
    wait_until("the size is known", || {
        terminal.resize(100, 30);
        terminal.send("stty size\n");
        std::thread::sleep(std::time::Duration::from_millis(200));
        terminal.screen().contains("30 100")
    });
    terminal.send("exit 3\n");
    assert_eq!(terminal.wait(), 3);
}

fn container_hostname(d: &Daemon) {
    assert_eq!(
        d.sh(
            &["--hostname", "crab"],
            "hostname; cat /etc/hostname; uname -n"
        ),
        "crab\ncrab\ncrab"
    );
}

fn container_hostname_defaults_to_container_id(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    assert_eq!(guest.exec("hostname"), guest[..12]);
}

fn container_hosts(d: &Daemon) {
    let flags = ["--add-host", "shore:10.1.2.3", "--network", "bridge"];
    let text = d.sh(&flags, "cat /etc/hosts");
    assert!(text.contains("10.1.2.3\tshore"), "{text}");
    assert!(text.contains("127.0.0.1\tlocalhost"), "{text}");
}

fn process_delete_idempotency(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    d.ok(&["rm", "-f", &guest]);
    d.docker(&["rm", "-f", &guest]).mentions("No such");
}

fn multiple_execs_without_delete(d: &Daemon) {
    let guest = Guest::new(d, &["-e", "FROM=run"]);
    for number in 0..10 {
        assert_eq!(guest.exec(&format!("echo {number}")), number.to_string());
    }
    let flags = [
        "exec", "-e", "MORE=exec", "-u", "33", "-w", "/tmp", &guest, "sh", "-c",
        "echo $FROM $MORE; id -u; pwd",
    ];
    assert_eq!(d.ok(&flags), "run exec\n33\n/tmp");
    d.fails(7, &["exec", &guest, "sh", "-c", "exit 7"]);
    d.ok(&["exec", "-d", &guest, "touch", "/detached"]);
    wait_until("it was done", || {
        d.docker(&["exec", &guest, "test", "-e", "/detached"]).code == 0
    });
}

fn exec_custom_path_resolution(d: &Daemon) {
    let guest = Guest::new(d, &["-e", "PATH=/own:/bin"]);
    guest.exec("mkdir /own; printf '#!/bin/sh\\necho mine' >/own/tool; chmod +x /own/tool");
    assert_eq!(d.ok(&["exec", &guest, "tool"]), "mine");
    d.fails(127, &["exec", &guest, "none"])
        .mentions("not found");
}

fn container_working_dir_created(d: &Daemon) {
    assert_eq!(d.sh(&["-w", "/made/deep"], "pwd"), "/made/deep");
}

/// Docker makes a container's directory, and none for an exec.
fn container_working_dir_exec_created(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    d.fails(126, &["exec", "-w", "/none", &guest, "pwd"])
        .mentions("no such file");
    guest.exec("mkdir /none");
    assert_eq!(d.ok(&["exec", "-w", "/none", &guest, "pwd"]), "/none");
}

fn container_use_init_basic(d: &Daemon) {
    let first = d.sh(&["--init"], "tr '\\0' ' ' </proc/1/cmdline; echo; echo $$");
    let (line, own) = first.split_once('\n').unwrap();
    assert_ne!(own, "1", "{first}");
    assert!(!line.starts_with("sh "), "{first}");
}

fn container_use_init_exit_code_propagation(d: &Daemon) {
    ends(d, 5, &["--init", "busybox", "sh", "-c", "exit 5"]);
}

fn container_use_init_signal_forwarding(d: &Daemon) {
    let script = "trap 'exit 8' USR1; echo ready; while :; do sleep 0.1; done";
    let guest = Guest::sh(d, &["--init", "--network", "none"], script);
    wait_until("it runs", || d.ok(&["logs", &guest]) == "ready");
    d.ok(&["kill", "-s", "USR1", &guest]);
    assert_eq!(d.ok(&["wait", &guest]), "8");
}

fn container_use_init_zombie_reaping(d: &Daemon) {
    let guest = Guest::new(d, &["--init"]);
    guest.exec("(sleep 0.1 & ) ; true");
    wait_until("it is gone", || !guest.exec("ps").contains(" 0.1"));
    assert!(!guest.exec("ps -o stat").contains('Z'));
}

fn container_stop_idempotency(d: &Daemon) {
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let guest = Guest::sh(d, &["--network", "none"], script);
    wait_until("it runs", || d.ok(&["logs", &guest]) == "ready");
    d.ok(&["stop", &guest]);
    d.ok(&["stop", &guest]);
    assert_eq!(
        d.inspect(&guest, "{{.State.ExitCode}} {{.State.Status}}"),
        "9 exited"
    );
}

fn container_reuse(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    guest.exec("echo kept >/file");
    for _ in 0..2 {
        d.ok(&["restart", "-t", "0", &guest]);
        assert_eq!(guest.exec("cat /file"), "kept");
    }
    d.ok(&["stop", "-t", "0", &guest]);
    d.ok(&["start", &guest]);
    assert_eq!(guest.exec("cat /file"), "kept");
}

fn container_dev_console(d: &Daemon) {
    assert_eq!(d.sh(&["-t"], "test -c /dev/console && echo yes"), "yes");
}

fn multiple_concurrent_processes(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    std::thread::scope(|scope| {
        for number in 0..12 {
            let guest = &guest;
            scope.spawn(move || {
                let script = format!("seq {number}000 {number}999; exit {number}");
                let ended = d.docker(&["exec", guest, "sh", "-c", &script]);
                assert_eq!(ended.code, number, "{ended}");
                let least = if number == 0 { 0 } else { number * 1000 };
                assert_eq!(
                    ended.stdout.lines().count() as i32,
                    number * 1000 + 1000 - least,
                    "{number}"
                );
            });
        }
    });
}

fn container_kill_and_signals(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    d.ok(&["kill", &guest]);
    assert_eq!(
        d.inspect(&guest, "{{.State.ExitCode}} {{.State.OOMKilled}}"),
        "137 false"
    );
    let script = "trap 'echo got' HUP; echo ready; while :; do sleep 0.1; done";
    let guest = Guest::sh(d, &["--network", "none"], script);
    wait_until("it runs", || d.ok(&["logs", &guest]) == "ready");
    d.ok(&["kill", "-s", "HUP", &guest]);
    wait_until("it is told", || d.ok(&["logs", &guest]) == "ready\ngot");
}

fn container_pause(d: &Daemon) {
    let script = "i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.05; done";
    let guest = Guest::sh(d, &["--network", "none"], script);
    wait_until("it counts", || {
        d.docker(&["exec", &guest, "test", "-e", "/count"]).code == 0
    });
    d.ok(&["pause", &guest]);
    assert_eq!(d.inspect(&guest, "{{.State.Status}}"), "paused");
    d.fails(1, &["exec", &guest, "true"]).mentions("paused");
    let copy = || d.docker(&["cp", &format!("{}:/count", &*guest), "-"]).bytes;
    let before = copy();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(copy() == before, "it counts on");
    d.ok(&["unpause", &guest]);
    wait_until("it counts again", || copy() != before);
}

fn container_restart_policy(d: &Daemon) {
    let flags = ["--network", "none", "--restart", "on-failure:2"];
    let guest = Guest::sh(d, &flags, "echo once more; exit 3");
    d.until(&guest, "{{.RestartCount}} {{.State.Status}}", "2 exited");
    assert_eq!(d.ok(&["logs", &guest]).lines().count(), 3);
}

fn container_top(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    let text = d.ok(&["top", &guest]);
    assert!(text.contains("sleep 1000"), "{text}");
}
