//! `docker run`: exit codes.

use coracle_tests::{Daemon, root};

#[test]
fn exit_codes_are_the_containers_own() {
    if !root() {
        return;
    }
    let daemon = Daemon::start();
    for code in [0, 1, 42, 255] {
        daemon.fails(
            code,
            &[
                "run",
                "--rm",
                "busybox",
                "sh",
                "-c",
                &format!("exit {code}"),
            ],
        );
    }
}
