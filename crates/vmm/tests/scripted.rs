//! The conformance suite with a VMM that is none: what it asks for is nobody's in particular.

use coracle_vmm::conformance::{Bench, Scripted, run_but};

/// It connects to no server.
const NOT_ITS: [&str; 3] = [
    "disks_of_servers_come_and_go",
    "a_server_that_comes_back_is_found_again",
    "disks_of_servers_that_are_not_there_are_refused",
];

#[tokio::test]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench {
        vmm: &Scripted,
        guest: Scripted::guest(dir.path()).unwrap(),
        dir: dir.path().into(),
        user: None,
    };
    assert!(run_but(&bench, "", &NOT_ITS).await);
}
