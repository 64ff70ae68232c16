//! On a terminal: raw while it is typed on, the size passed on, the keys that detach.

use rustix::process::{Signal, kill_process};
use rustix::termios::LocalModes;

use crate::harness::Daemon;
use crate::pty::Terminal;

fn open(daemon: &Daemon, line: &str) -> Terminal {
    let command = daemon.command(line.split_whitespace());
    Terminal::run(command.into_std())
}

fn is_cooked(terminal: &Terminal) -> bool {
    let modes = terminal.attributes().local_modes;
    modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
}

/// A program that says what is typed, and ends with `end`.
const ECHO: [&str; 3] = [
    "sh",
    "-c",
    "echo ready; while read line; do echo got $line; [ $line = end ] && exit 6; done",
];

fn open_echo(daemon: &Daemon, line: &str) -> Terminal {
    let words = line.split_whitespace().chain(ECHO);
    let mut terminal = Terminal::run(daemon.command(words).into_std());
    terminal.expect("ready");
    terminal
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_while_typed_on_and_restored_after() {
    let daemon = Daemon::start();
    let mut terminal = open_echo(&daemon, "run --rm -it busybox");
    assert!(!is_cooked(&terminal));
    terminal.types("hello\n");
    terminal.expect("got hello");
    terminal.types("end\n");
    assert_eq!(terminal.end(), 6);
    assert!(is_cooked(&terminal));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_detach_and_it_runs_on() {
    let daemon = Daemon::start();
    let mut terminal = open_echo(&daemon, "run -it --name box busybox");
    terminal.types("\x10\x11");
    assert_eq!(terminal.end(), 0);
    assert!(is_cooked(&terminal));
    assert_eq!(daemon.run("ps -q").await.ok().lines().count(), 1);
    // Others, where others are chosen.
    let mut terminal = open(&daemon, "attach --detach-keys ctrl-a,x box");
    terminal.types("\x10\x11\n");
    terminal.expect("got");
    terminal.types("\x01x");
    assert_eq!(terminal.end(), 0);
    let mut terminal = open(&daemon, "attach box");
    terminal.types("end\n");
    assert_eq!(terminal.end(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_restores_it() {
    let daemon = Daemon::start();
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut terminal = open_echo(&daemon, "run --rm -it busybox");
        assert!(!is_cooked(&terminal));
        kill_process(terminal.pid(), signal).unwrap();
        assert_eq!(terminal.end(), code);
        assert!(is_cooked(&terminal));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_has_one_too() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    let mut terminal = open_echo(&daemon, "exec -it web");
    assert!(!is_cooked(&terminal));
    terminal.types("end\n");
    assert_eq!(terminal.end(), 6);
    assert!(is_cooked(&terminal));
    let mut terminal = open_echo(&daemon, "exec -it web");
    terminal.types("\x10\x11");
    assert_eq!(terminal.end(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_size_is_passed_on() {
    let recorder = crate::recorder::Recorder::start(None);
    let mut command = recorder.command(&["create", "-t", "busybox"]).into_std();
    command.env("TERM", "xterm");
    let mut terminal = Terminal::run(command);
    assert_eq!(terminal.end(), 0, "{}", terminal.seen);
    let body = recorder.requests().pop().unwrap().body;
    assert_eq!(
        body["HostConfig"]["ConsoleSize"],
        serde_json::json!([24, 80])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_are_drawn_in_place() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    let mut terminal = open(&daemon, "stats");
    terminal.expect("\x1b[H");
    terminal.expect("web");
    // One that starts is added.
    daemon.sleeper("second").await;
    terminal.expect("second");
    daemon.run("rm -f web second").await.ok();
    kill_process(terminal.pid(), Signal::INT).unwrap();
    terminal.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_not_written_on_terminals() {
    let daemon = Daemon::start();
    for line in ["save busybox", "export box", "cp box:/a -"] {
        let mut terminal = open(&daemon, line);
        assert_eq!(terminal.end(), 1, "{line}");
        assert!(
            terminal.seen.contains("refusing"),
            "{line}: {}",
            terminal.seen
        );
    }
    let mut terminal = open(&daemon, "load");
    assert_eq!(terminal.end(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_on_a_terminal_unless_refused() {
    let daemon = Daemon::start();
    let mut terminal = open(&daemon, "rm nosuch");
    terminal.end();
    assert!(
        terminal.seen.contains("\x1b[31mcoracle:"),
        "{:?}",
        terminal.seen
    );
    let mut command = daemon.command(["rm", "nosuch"]).into_std();
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::run(command);
    terminal.end();
    assert!(!terminal.seen.contains('\x1b'), "{:?}", terminal.seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulling_draws_bars() {
    let daemon = Daemon::start();
    let mut command = daemon.command(["pull", "alpine"]).into_std();
    command.env("TERM", "xterm");
    let mut terminal = Terminal::run(command);
    assert_eq!(terminal.end(), 0);
    assert!(
        terminal.seen.contains("Pull complete"),
        "{:?}",
        terminal.seen
    );
}
