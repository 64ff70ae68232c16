//! Kernel images, told apart and made ready to boot.

use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::bzimage::BzImage;
use crate::decompress::{self, Compression};
use crate::elf::{self, Elf};
use crate::error::{Error, Result};

/// The most bytes of an image, packed or not.
pub(crate) const MAX_IMAGE: usize = 256 << 20;

/// What every kernel says of itself.
const BANNER: &[u8] = b"Linux version ";

/// The most bytes of a release.
const MAX_RELEASE: usize = 64;

/// How an image is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// x86: an ELF file with a PVH note, entered directly.
    Pvh,
    /// x86: compressed, entered through the firmware. Slower by what its decompression takes.
    BzImage,
    /// arm64: the flat image.
    Image,
}

impl Format {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Pvh => "pvh",
            Format::BzImage => "bzimage",
            Format::Image => "image",
        }
    }
}

/// A machine's architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    #[serde(rename = "aarch64")]
    Aarch64,
}

impl Arch {
    /// As `uname -m` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }
}

/// A kernel image that can be booted.
pub struct Image {
    /// What is to be loaded.
    pub bytes: Vec<u8>,
    /// How.
    pub format: Format,
    /// For which machine.
    pub arch: Arch,
    /// As `uname -r` has it.
    pub release: String,
}

impl Image {
    /// Tells what it is. The kernel is taken out of a bzImage where it can be booted directly, and an
    /// arm64 Image out of what it is packed in (`Image.gz`, or a program for EFI: `vmlinuz.efi`).
    ///
    /// # Errors
    /// [`Error::Image`] where nothing here boots it, [`Error::TooLarge`].
    pub fn parse(bytes: Vec<u8>) -> Result<Image> {
        if bytes.len() > MAX_IMAGE {
            return Err(too_large());
        }
        if let Some(arch) = bootable_elf(&bytes)? {
            let release = checked_release(banner(&bytes))?;
            return Ok(Image {
                bytes,
                format: Format::Pvh,
                arch,
                release,
            });
        }
        if let Some(packed) = BzImage::parse(&bytes) {
            let release = checked_release(packed.release())?;
            let kernel = packed.kernel(MAX_IMAGE)?;
            let (bytes, format) = match kernel {
                Some(kernel) if matches!(bootable_elf(&kernel), Ok(Some(_))) => {
                    (kernel, Format::Pvh)
                }
                _ => (bytes, Format::BzImage),
            };
            return Ok(Image {
                bytes,
                format,
                arch: Arch::X86_64,
                release,
            });
        }
        let bytes = packed_flat(&bytes)?.unwrap_or(bytes);
        // Documentation/arm64/booting.rst: `ARM\x64` at 56.
        if bytes.get(56..60) == Some(b"ARM\x64") {
            let release = checked_release(banner(&bytes))?;
            return Ok(Image {
                bytes,
                format: Format::Image,
                arch: Arch::Aarch64,
                release,
            });
        }
        Err(Error::Image(
            "it is no vmlinux, no bzImage and no arm64 Image".to_owned(),
        ))
    }
}

/// What is in a compressed Image: of gzip as it is, or in a program for EFI with the header of
/// drivers/firmware/efi/libstub/zboot-header.S (`zimg` at 4, the data's place and length at 8, how they
/// are compressed at 24).
fn packed_flat(bytes: &[u8]) -> Result<Option<Vec<u8>>> {
    let word = |at: usize| {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(word)).ok()
    };
    let damaged = || Error::Image("the kernel in it is damaged or cut short".to_owned());
    let data = if bytes.get(4..8) == Some(b"zimg") {
        let place = word(8).zip(word(12));
        let data = place.and_then(|(at, length)| bytes.get(at..at.checked_add(length)?));
        data.ok_or_else(damaged)?
    } else if Compression::of(bytes) == Some(Compression::Gzip) {
        bytes
    } else {
        return Ok(None);
    };
    let compression = Compression::of(data).ok_or_else(|| {
        Error::Image("the kernel in it is compressed in a way that is not known here".to_owned())
    })?;
    match decompress::to_memory(data, compression, MAX_IMAGE) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => Err(too_large()),
        Err(_) => Err(damaged()),
    }
}

pub(crate) fn too_large() -> Error {
    Error::TooLarge {
        what: "the kernel image (with debugging symbols? \"strip --strip-debug\" takes them out)"
            .to_owned(),
        limit: MAX_IMAGE as u64 >> 20,
    }
}

/// Which machine an ELF file boots; None where it is no ELF file.
fn bootable_elf(bytes: &[u8]) -> Result<Option<Arch>> {
    let Some(elf) = Elf::parse(bytes) else {
        return Ok(None);
    };
    if elf.machine != elf::X86_64 || !matches!(elf.kind, elf::EXEC | elf::DYN) {
        return Err(Error::Image(
            "the ELF file is no kernel for x86_64; for arm64, give the Image".to_owned(),
        ));
    }
    if !elf.has_pvh_note() {
        return Err(Error::Image(
            "the ELF file cannot be booted directly: build it with CONFIG_PVH, or give the bzImage"
                .to_owned(),
        ));
    }
    Ok(Some(Arch::X86_64))
}

/// The release in the banner.
fn banner(bytes: &[u8]) -> Option<&str> {
    memchr::memmem::find_iter(bytes, BANNER).find_map(|at| {
        let text = bytes.get(at + BANNER.len()..)?;
        let text = text.get(..MAX_RELEASE + 1).unwrap_or(text);
        let end = text.iter().position(|byte| matches!(byte, 0 | b' '))?;
        let text = std::str::from_utf8(text.get(..end)?).ok()?;
        text.starts_with(|first: char| first.is_ascii_digit())
            .then_some(text)
    })
}

/// It is shown to users, and the kernel's name where none is given.
fn checked_release(release: Option<&str>) -> Result<String> {
    release
        .filter(|release| release.len() <= MAX_RELEASE)
        .filter(|release| release.starts_with(|first: char| first.is_ascii_digit()))
        .filter(|release| {
            release
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+_.-~".contains(&byte))
        })
        .map(str::to_owned)
        .ok_or_else(|| Error::Image("it does not say its release".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const RELEASE: &str = "6.1.0-check";

    fn is_whole(bytes: Vec<u8>, format: Format) {
        let image = Image::parse(bytes).unwrap();
        assert_eq!((image.release.as_str(), image.format), (RELEASE, format));
        if format == Format::Pvh {
            assert_eq!(image.bytes, sample::vmlinux(RELEASE));
        }
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let zstd = zstd::encode_all(bytes, 1).unwrap();
        sample::bzimage(RELEASE, &sample::with_length(&zstd, bytes.len()))
    }

    #[test]
    fn all_kinds() {
        let kernel = sample::vmlinux(RELEASE);
        is_whole(kernel.clone(), Format::Pvh);
        is_whole(
            sample::bzimage(RELEASE, &sample::gzip(&kernel)),
            Format::Pvh,
        );
        is_whole(packed(&kernel), Format::Pvh);
        let lz4 = sample::with_length(&sample::lz4(&kernel), kernel.len());
        is_whole(sample::bzimage(RELEASE, &lz4), Format::Pvh);
        // What is packed in an unknown way, or has no PVH note, is booted as it is.
        is_whole(sample::bzimage(RELEASE, b"BZh9 unknown"), Format::BzImage);
        is_whole(packed(&sample::init()), Format::BzImage);
        let mut arm = vec![0; 56];
        arm.extend(b"ARM\x64 Linux version 6.1.0-check \0");
        is_whole(arm.clone(), Format::Image);
        is_whole(sample::gzip(&arm), Format::Image);
        is_whole(zboot(&sample::gzip(&arm)), Format::Image);
        let zstd = zstd::encode_all(&arm[..], 1).unwrap();
        is_whole(zboot(&zstd), Format::Image);
    }

    /// A program for EFI with a kernel in it.
    fn zboot(data: &[u8]) -> Vec<u8> {
        let mut bytes = b"MZ\0\0zimg".to_vec();
        bytes.extend(100_u32.to_le_bytes());
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.resize(100, 0);
        bytes.extend(data);
        bytes.extend(b"what comes after");
        bytes
    }

    #[test]
    fn damaged_ones() {
        let kernel = sample::vmlinux(RELEASE);
        let mut another_length = packed(&kernel);
        *another_length.last_mut().unwrap() ^= 1;
        let mut cut = packed(&kernel);
        cut.truncate(cut.len() - 10);
        let lz4 = sample::with_length(&sample::lz4(&kernel)[..40], kernel.len());
        for (bytes, words) in [
            (Vec::new(), "no vmlinux"),
            (sample::init(), "CONFIG_PVH"),
            (sample::module(&[]), "no kernel for x86_64"),
            (sample::vmlinux("x y"), "release"),
            (sample::vmlinux("6.1;$(x)"), "release"),
            (another_length, "damaged"),
            (cut, "cut short"),
            (sample::bzimage(RELEASE, &lz4), "damaged"),
            (zboot(b"")[..90].to_vec(), "damaged"),
            (zboot(b"BZh9 unknown"), "not known"),
            (zboot(&sample::gzip(&kernel)[..60]), "damaged"),
            (sample::gzip(b"no kernel"), "no arm64 Image"),
        ] {
            let error = Image::parse(bytes).err().unwrap().to_string();
            assert!(error.contains(words), "{error}: {words}");
        }
    }

    proptest::proptest! {
        /// Whatever a single byte becomes, and wherever the end is.
        #[test]
        fn never_a_panic(at in 0_usize..1400, byte: u8, end in 0_usize..1400) {
            let lz4 = sample::lz4(&sample::vmlinux(RELEASE));
            let kernel = sample::vmlinux(RELEASE);
            for mut bytes in [
                sample::bzimage(RELEASE, &sample::with_length(&lz4, kernel.len())),
                packed(&kernel),
                zboot(&sample::gzip(&kernel)),
                kernel,
            ] {
                if let Some(changed) = bytes.get_mut(at) {
                    *changed = byte;
                }
                bytes.truncate(end.max(at));
                let _ = Image::parse(bytes);
            }
        }
    }
}
