//! Exit codes.

use super::super::Subject;
use super::super::support::refused;
use crate::Status;

pub(super) async fn codes(s: Subject) {
    for (argv, expected) in [
        (&["true"][..], 0),
        (&["false"], 1),
        (&["sh", "-c", "exit 42"], 42),
        (&["sh", "-c", "exit 255"], 255),
        (&["sh", "-c", "nosuch-command"], 127),
        (&["sh", "-c", "/etc/passwd"], 126),
    ] {
        let (id, code) = s.run(s.spec(argv)).await;
        assert_eq!(code, expected, "{argv:?}");
        let state = s.inspect(&id).await.state;
        assert_eq!(
            (state.exit_code, state.status),
            (expected, Status::Exited),
            "{argv:?}"
        );
    }
}

pub(super) async fn a_command_that_is_not_there(s: Subject) {
    for (command, words) in [
        ("nosuch-command", "executable file not found in $PATH"),
        ("/nosuch", "no such file or directory"),
        ("/bin/nosuch", "no such file or directory"),
    ] {
        let id = s.create(s.spec(&[command])).await;
        refused!(s.runtime.start_container(&id).await, InvalidArgument, words);
        let state = s.inspect(&id).await.state;
        assert_eq!(
            (state.exit_code, state.status),
            (127, Status::Created),
            "{command}"
        );
        assert!(state.error.contains(words), "{}", state.error);
        assert_eq!(state.pid, 0);
    }
}

pub(super) async fn a_command_that_cannot_run(s: Subject) {
    for (command, words) in [("/etc/passwd", "permission denied"), ("/etc", "")] {
        let id = s.create(s.spec(&[command])).await;
        refused!(s.runtime.start_container(&id).await, InvalidArgument, words);
        let state = s.inspect(&id).await.state;
        assert_eq!(
            (state.exit_code, state.status),
            (126, Status::Created),
            "{command}"
        );
    }
}

pub(super) async fn a_failed_start_can_be_tried_again(s: Subject) {
    let id = s.create(s.spec(&["/nosuch"])).await;
    for _ in 0..3 {
        refused!(s.runtime.start_container(&id).await, InvalidArgument);
    }
    assert_eq!(s.status(&id).await, Status::Created);
    s.remove(&id).await;
}

pub(super) async fn killed_is_137(s: Subject) {
    let id = s.sleeper().await;
    s.kill(&id, "KILL").await;
    assert_eq!(s.ended(&id).await, 137);
    let state = s.inspect(&id).await.state;
    assert_eq!(state.exit_code, 137);
    assert!(!state.oom_killed);
}

pub(super) async fn a_child_that_is_terminated_is_143(s: Subject) {
    let (_, code) = s.run(s.sh("sleep 1000 & kill $!; wait $!; exit $?")).await;
    assert_eq!(code, 143);
}

pub(super) async fn a_handler_chooses_the_code(s: Subject) {
    let id = s.polite().await;
    s.kill(&id, "TERM").await;
    assert_eq!(s.ended(&id).await, 7);
}

/// The first process of a pid namespace only gets the signals that it handles.
pub(super) async fn the_first_process_does_not_die_of_signals_it_ignores(s: Subject) {
    let id = s.sleeper().await;
    for signal in ["TERM", "HUP", "USR1"] {
        s.kill(&id, signal).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(s.status(&id).await, Status::Running);
}

pub(super) async fn under_an_init_process_term_is_143(s: Subject) {
    let mut spec = s.spec(&["sleep", "1000"]);
    spec.host.init = Some(true);
    let id = s.launch(spec).await;
    // The init process has to have begun to pass signals on, which nothing tells.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    s.kill(&id, "TERM").await;
    assert_eq!(s.ended(&id).await, 143);
}

pub(super) async fn an_init_process_passes_the_exit_code_on(s: Subject) {
    let mut spec = s.sh("exit 42");
    spec.host.init = Some(true);
    assert_eq!(s.run(spec).await.1, 42);
}
