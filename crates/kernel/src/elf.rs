//! As much of ELF as is needed: which machine, what can boot it, a section's bytes.
//!
//! Source: System V ABI, "Object Files"; 64 bits and little-endian only.

/// x86-64.
pub(crate) const X86_64: u16 = 62;

/// Relocatable (a kernel module), executable, and position-independent files.
pub(crate) const REL: u16 = 1;
pub(crate) const EXEC: u16 = 2;
pub(crate) const DYN: u16 = 3;

const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;

/// Headers of either kind that are looked at, at most.
const MAX_HEADERS: usize = 4096;

/// `XEN_ELFNOTE_PHYS32_ENTRY` of the name `Xen`: where PVH boot enters the kernel.
const PVH: (u32, &[u8]) = (18, b"Xen\0");

/// A file whose first bytes were checked.
pub(crate) struct Elf<'a> {
    data: &'a [u8],
    pub(crate) kind: u16,
    pub(crate) machine: u16,
}

fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    bytes(data, at).map(u16::from_le_bytes)
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    bytes(data, at).map(u32::from_le_bytes)
}

fn u64_at(data: &[u8], at: usize) -> Option<usize> {
    bytes(data, at)
        .map(u64::from_le_bytes)
        .and_then(|value| usize::try_from(value).ok())
}

impl<'a> Elf<'a> {
    /// None where it isn't an ELF file of 64 bits, little-endian.
    pub(crate) fn parse(data: &'a [u8]) -> Option<Elf<'a>> {
        if !data.starts_with(b"\x7fELF\x02\x01\x01") {
            return None;
        }
        Some(Elf {
            data,
            kind: u16_at(data, 16)?,
            machine: u16_at(data, 18)?,
        })
    }

    /// Program headers: type and contents in the file.
    fn segments(&self) -> impl Iterator<Item = (u32, &'a [u8])> {
        let data = self.data;
        let table = u64_at(data, 32).unwrap_or(usize::MAX);
        let size = usize::from(u16_at(data, 54).unwrap_or(0)).max(56);
        let count = usize::from(u16_at(data, 56).unwrap_or(0)).min(MAX_HEADERS);
        (0..count).map_while(move |index| {
            let at = table.checked_add(index * size)?;
            let kind = u32_at(data, at)?;
            let offset = u64_at(data, at.checked_add(8)?)?;
            let length = u64_at(data, at.checked_add(32)?)?;
            let contents = data
                .get(offset..offset.saturating_add(length))
                .unwrap_or_default();
            Some((kind, contents))
        })
    }

    /// Whether it names a dynamic loader.
    pub(crate) fn is_dynamic(&self) -> bool {
        self.segments().any(|(kind, _)| kind == PT_INTERP)
    }

    /// Whether it can be booted directly, by PVH.
    pub(crate) fn has_pvh_note(&self) -> bool {
        self.segments()
            .filter(|(kind, _)| *kind == PT_NOTE)
            .any(|(_, notes)| has_note(notes, PVH))
    }

    /// The contents of the section of that name.
    pub(crate) fn section(&self, name: &[u8]) -> Option<&'a [u8]> {
        let data = self.data;
        let table = u64_at(data, 40)?;
        let size = usize::from(u16_at(data, 58)?).max(64);
        let count = usize::from(u16_at(data, 60)?).min(MAX_HEADERS);
        let header = |index: usize| table.checked_add(index.checked_mul(size)?);
        let contents = |index: usize| {
            let at = header(index)?;
            let offset = u64_at(data, at.checked_add(24)?)?;
            let length = u64_at(data, at.checked_add(32)?)?;
            data.get(offset..offset.checked_add(length)?)
        };
        let names = contents(usize::from(u16_at(data, 62)?))?;
        (0..count).find_map(|index| {
            let start = usize::try_from(u32_at(data, header(index)?)?).ok()?;
            let found = names.get(start..)?.split(|byte| *byte == 0).next()?;
            (found == name).then(|| contents(index)).flatten()
        })
    }
}

/// Notes are a 12-byte header (lengths of name and description, type), then both, each padded to 4.
fn has_note(mut notes: &[u8], (kind, owner): (u32, &[u8])) -> bool {
    let padded = |length: u32| (length as usize).checked_next_multiple_of(4);
    loop {
        let (Some(name), Some(description), Some(found)) =
            (u32_at(notes, 0), u32_at(notes, 4), u32_at(notes, 8))
        else {
            return false;
        };
        let end = (name as usize).saturating_add(12);
        if found == kind && notes.get(12..end) == Some(owner) {
            return true;
        }
        let next = padded(name)
            .zip(padded(description))
            .and_then(|(name, description)| 12_usize.checked_add(name)?.checked_add(description));
        let Some(rest) = next.and_then(|next| notes.get(next..)) else {
            return false;
        };
        notes = rest;
    }
}
