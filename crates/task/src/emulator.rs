//! Programs of other architectures, and what runs them in a machine.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

/// A user-mode emulator that a machine gets: programs of one architecture are run by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// What it emulates, in the image specification's words (`arm64`).
    pub architecture: String,
    /// The program, of this host and static.
    pub program: PathBuf,
}

/// How programs of an architecture begin (System V ABI, "ELF header"), and QEMU's name for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// As in `qemu-aarch64`.
    pub qemu: &'static str,
    bits: u8,
    big_endian: bool,
    machine: u16,
}

/// The image specification's architectures that QEMU emulates programs of.
const FORMATS: [(&str, &str, u8, bool, u16); 11] = [
    ("386", "i386", 32, false, 3),
    ("amd64", "x86_64", 64, false, 62),
    ("arm", "arm", 32, false, 40),
    ("arm64", "aarch64", 64, false, 183),
    ("loong64", "loongarch64", 64, false, 258),
    ("mips64le", "mips64el", 64, false, 8),
    ("mipsle", "mipsel", 32, false, 8),
    ("ppc64", "ppc64", 64, true, 21),
    ("ppc64le", "ppc64le", 64, false, 21),
    ("riscv64", "riscv64", 64, false, 243),
    ("s390x", "s390x", 64, true, 22),
];

impl Format {
    /// Of an architecture in the image specification's words.
    pub fn of(architecture: &str) -> Option<Self> {
        let found = FORMATS.iter().find(|(name, ..)| *name == architecture);
        found.map(|&(_, qemu, bits, big_endian, machine)| Self {
            qemu,
            bits,
            big_endian,
            machine,
        })
    }

    /// A program's first bytes: identification, type, machine.
    pub fn magic(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        let class = if self.bits == 64 { 2 } else { 1 };
        let order = if self.big_endian { 2 } else { 1 };
        bytes[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
        bytes[16..18].copy_from_slice(&self.half(2));
        bytes[18..].copy_from_slice(&self.half(self.machine));
        bytes
    }

    /// The bits of [`magic`](Self::magic) that count: not the system's name, and the type is a
    /// program's (2) or a position-independent one's (3).
    pub fn mask(&self) -> [u8; 20] {
        let mut bytes = [0xff; 20];
        bytes[7] = 0;
        bytes[16..18].copy_from_slice(&self.half(0xfffe));
        bytes
    }

    fn half(&self, value: u16) -> [u8; 2] {
        match self.big_endian {
            true => value.to_be_bytes(),
            false => value.to_le_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(format: Format, header: &[u8; 20]) -> bool {
        let bits = header.iter().zip(format.mask()).zip(format.magic());
        bits.into_iter()
            .all(|((byte, mask), magic)| byte & mask == magic & mask)
    }

    #[test]
    fn programs_are_told_apart() {
        let arm64 = *b"\x7fELF\x02\x01\x01\x03\0\0\0\0\0\0\0\0\x03\0\xb7\0";
        let s390x = *b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16";
        for (name, ..) in FORMATS {
            let format = Format::of(name).unwrap();
            assert_eq!(is(format, &arm64), name == "arm64", "{name}");
            assert_eq!(is(format, &s390x), name == "s390x", "{name}");
            assert!(is(format, &format.magic()));
        }
        // A relocatable file is no program.
        let mut object = arm64;
        object[16] = 1;
        assert!(!is(Format::of("arm64").unwrap(), &object));
        assert_eq!(Format::of("sparc64"), None);
    }
}
