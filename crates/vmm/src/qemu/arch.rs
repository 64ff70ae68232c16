//! What differs between architectures in QEMU.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::spec::{Accelerator, Arch};

/// One architecture's machine.
#[derive(Debug)]
pub(crate) struct Board {
    /// QEMU's program for it.
    pub(crate) program: &'static str,
    /// The machine and its options: no controller that nobody asked for, as each costs time to find.
    pub(crate) machine: &'static str,
    /// Where the guest has its serial console.
    pub(crate) console: &'static str,
    /// Whether there is a device that tells a guest that it was copied.
    pub(crate) generation: bool,
    /// What a kernel has, and where (Documentation/arm64/booting.rst), if QEMU takes a file without
    /// it for a program to start all the same.
    kernel: Option<(u64, [u8; 4])>,
    tcg_cpu: &'static str,
}

const Q35: Board = Board {
    program: "qemu-system-x86_64",
    machine: "q35,vmport=off,sata=off,smbus=off,i8042=off,usb=off,graphics=off,smm=off",
    console: "ttyS0",
    generation: true,
    tcg_cpu: "max",
    kernel: None,
};

/// Without firmware, so without ACPI: its guests find devices by the device tree, and learn of plugged
/// ones from the ports themselves, which wait five seconds before a device is let go.
const VIRT: Board = Board {
    program: "qemu-system-aarch64",
    machine: "virt,gic-version=max,usb=off,graphics=off",
    console: "ttyAMA0",
    // `vmgenid` came to this machine long after QEMU 7.2, and needs ACPI.
    generation: false,
    // QEMU's own pointer authentication: the architecture's is four times slower to boot.
    tcg_cpu: "max,pauth-impdef=on",
    kernel: Some((56, *b"ARM\x64")),
};

impl Board {
    pub(crate) const fn of(arch: Arch) -> &'static Board {
        match arch {
            Arch::X86_64 => &Q35,
            Arch::Aarch64 => &VIRT,
        }
    }

    /// Refuses what is no kernel where QEMU wouldn't.
    pub(crate) fn check(&self, kernel: &Path) -> Result<()> {
        let Some((at, magic)) = self.kernel else {
            return Ok(());
        };
        let failed = || Error::io(format!("reading kernel {}", kernel.display()));
        let file = File::open(kernel).map_err(failed())?;
        let mut found = [0; 4];
        match file.read_exact_at(&mut found, at) {
            Ok(()) if found == magic => Ok(()),
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(failed()(error)),
            _ => Err(Error::Invalid(format!(
                "{} is no kernel that can be started directly: give the Image",
                kernel.display()
            ))),
        }
    }

    pub(crate) fn cpu(&self, accelerator: Accelerator) -> &'static str {
        match accelerator {
            Accelerator::Kvm => "host",
            Accelerator::Tcg => self.tcg_cpu,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_for_arm_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join("kernel");
        let board = Board::of(Arch::Aarch64);
        let mut image = vec![0; 64];
        image[56..60].copy_from_slice(b"ARM\x64");
        std::fs::write(&kernel, &image).unwrap();
        board.check(&kernel).unwrap();
        for bad in [&image[..58], b"\x1f\x8b packed", b""] {
            std::fs::write(&kernel, bad).unwrap();
            let error = board.check(&kernel).unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{error}");
        }
        assert!(board.check(&dir.path().join("absent")).is_err());
        // QEMU looks at it.
        Board::of(Arch::X86_64).check(&kernel).unwrap();
    }
}
