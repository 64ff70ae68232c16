//! Verbs that are other programs.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Daemon, finish};

#[tokio::test]
async fn unknown_verbs_are_programs_in_path() {
    let daemon = Daemon::start();
    let program = daemon.path("coracle-hello");
    std::fs::write(&program, "#!/bin/sh\necho \"$0\" \"$@\"\nexit 9\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = daemon.command(["hello", "a", "--flag", "-x", "b c"]);
    let path = format!("{}:/usr/bin:/bin", daemon.home().display());
    command.env("PATH", path);
    let done = finish(command, b"").await;
    assert_eq!(done.code, 9);
    assert_eq!(done.out, format!("{} a --flag -x b c\n", program.display()));
}

#[tokio::test]
async fn what_is_no_program_either_gets_a_hint() {
    let daemon = Daemon::start();
    let error = daemon.run("rnu busybox").await.fails(1);
    assert!(error.contains("unknown command \"rnu\""), "{error}");
    assert!(error.contains("did you mean `coracle run`?"), "{error}");
    let error = daemon.run("somethingelse").await.fails(1);
    assert!(error.contains("coracle-somethingelse in PATH"), "{error}");
    daemon.run("../escape").await.fails(1);
}
