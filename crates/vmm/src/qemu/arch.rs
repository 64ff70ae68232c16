//! What differs between architectures. Arm's is written by QEMU's documentation and has not run yet.

use crate::spec::Accelerator;

/// One architecture's machine.
#[derive(Debug)]
pub(crate) struct Arch {
    /// QEMU's program for it.
    pub(crate) program: &'static str,
    /// The machine and its options: no controller that nobody asked for, as each costs time to find.
    pub(crate) machine: &'static str,
    /// Whether there is a device that tells a guest that it was copied.
    pub(crate) generation: bool,
    tcg_cpu: &'static str,
}

#[cfg(target_arch = "x86_64")]
pub(crate) const HOST: Arch = Arch {
    program: "qemu-system-x86_64",
    machine: "q35,vmport=off,sata=off,smbus=off,i8042=off,usb=off,graphics=off,smm=off",
    generation: true,
    tcg_cpu: "max",
};

#[cfg(target_arch = "aarch64")]
pub(crate) const HOST: Arch = Arch {
    program: "qemu-system-aarch64",
    machine: "virt,gic-version=max,usb=off,graphics=off",
    generation: false,
    // QEMU's own pointer authentication: the architecture's is four times slower to boot.
    tcg_cpu: "max,pauth-impdef=on",
};

impl Arch {
    pub(crate) fn cpu(&self, accelerator: Accelerator) -> &'static str {
        match accelerator {
            Accelerator::Kvm => "host",
            Accelerator::Tcg => self.tcg_cpu,
        }
    }
}
