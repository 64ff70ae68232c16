//! The conformance suite with machines of the architecture that this host hasn't: emulated, and so
//! slower by what their kernels' boots take.

use coracle_vmm::conformance::{Guest, run_but};
use coracle_vmm::{Arch, Qemu};

use crate::{bench, block_on, skip};

/// What is the host's part alone, and takes long by the five seconds that each device is let go in.
const LEFT_OUT: [&str; 3] = [
    "disks_of_servers_come_and_go",
    "a_server_that_comes_back_is_found_again",
    "disks_of_servers_that_are_not_there_are_refused",
];

pub(crate) fn on_a_foreign_architecture(filter: &str) -> bool {
    let foreign = Arch::ALL.into_iter().find(|arch| *arch != Arch::HOST);
    let arch = foreign.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (qemu, guest) = match (Qemu::discover(arch), Guest::make(dir.path(), arch)) {
        (Ok(qemu), Ok(guest)) => (qemu, guest),
        (Err(error), _) => return skip(&error.to_string()),
        (_, Err(error)) => return skip(&error),
    };
    println!("machines of {arch}");
    let bench = bench(&qemu, &guest, dir.path());
    block_on(run_but(&bench, filter, &LEFT_OUT))
}
