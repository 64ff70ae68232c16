//! The conformance suite with machines of the architecture that this host hasn't: emulated, and so
//! slower by what their kernels' boots take.

use coracle_vmm::conformance::{Guest, run};
use coracle_vmm::{Arch, Qemu};

use crate::{bench, block_on, skip};

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
    block_on(run(&bench(&qemu, &guest, dir.path()), filter))
}
