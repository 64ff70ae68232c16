//! x86's compressed kernel image.
//!
//! Source: Documentation/x86/boot.rst of Linux, "The Real-Mode Kernel Header".

use std::io;

use crate::decompress::{self, Compression};
use crate::error::{Error, Result};

/// The first protocol that says where the payload is.
const PROTOCOL: u16 = 0x0208;

/// An image whose header was checked.
pub(crate) struct BzImage<'a> {
    data: &'a [u8],
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    let end = at.checked_add(2)?;
    Some(u16::from_le_bytes(data.get(at..end)?.try_into().ok()?))
}

fn usize_at(data: &[u8], at: usize) -> Option<usize> {
    let end = at.checked_add(4)?;
    usize::try_from(u32::from_le_bytes(data.get(at..end)?.try_into().ok()?)).ok()
}

impl<'a> BzImage<'a> {
    /// None where it isn't one, or one of before 2.6.24.
    pub(crate) fn parse(data: &'a [u8]) -> Option<BzImage<'a>> {
        let valid = u16_at(data, 0x1fe)? == 0xaa55
            && data.get(0x202..0x206)? == b"HdrS"
            && u16_at(data, 0x206)? >= PROTOCOL;
        valid.then_some(BzImage { data })
    }

    /// The release, as `uname -r` has it.
    pub(crate) fn release(&self) -> Option<&'a str> {
        let at = usize::from(u16_at(self.data, 0x20e)?) + 0x200;
        let text = self.data.get(at..)?;
        let text = text.get(..256).unwrap_or(text);
        let end = text.iter().position(|byte| matches!(byte, 0 | b' '))?;
        std::str::from_utf8(text.get(..end)?).ok()
    }

    fn payload(&self) -> Option<&'a [u8]> {
        let sectors = match *self.data.get(0x1f1)? {
            0 => 4,
            sectors => usize::from(sectors),
        };
        let start = usize_at(self.data, 0x248)?.checked_add((sectors + 1) * 512)?;
        let end = start.checked_add(usize_at(self.data, 0x24c)?)?;
        self.data.get(start..end)
    }

    /// The kernel inside: an ELF file, with tables for its relocation behind it. None where it is
    /// compressed in a way that isn't known here.
    pub(crate) fn kernel(&self, limit: usize) -> Result<Option<Vec<u8>>> {
        let bad = |reason: &str| Error::Image(format!("the bzImage {reason}"));
        let payload = self.payload().ok_or_else(|| bad("is cut short"))?;
        let Some(compression) = Compression::of(payload) else {
            return Ok(None);
        };
        // The build appends the length of what was compressed; gzip has it of its own.
        let (data, length) = payload
            .split_last_chunk::<4>()
            .ok_or_else(|| bad("is cut short"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let data = match compression {
            Compression::Gzip => payload,
            _ => data,
        };
        let kernel = decompress::to_memory(data, compression, limit).map_err(|error| {
            if error.kind() == io::ErrorKind::FileTooLarge {
                Error::TooLarge {
                    what: "the kernel inside the bzImage".to_owned(),
                    limit: limit as u64 >> 20,
                }
            } else {
                bad(&format!("is damaged: {error}"))
            }
        })?;
        if kernel.len() != length {
            return Err(bad("is damaged: its length is not what it says"));
        }
        Ok(Some(kernel))
    }
}
