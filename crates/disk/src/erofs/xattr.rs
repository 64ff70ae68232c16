//! Extended attributes: which of them a file may have, and how they are stored.

use std::collections::HashMap;
use std::rc::Rc;

use coracle_archive::{Entry, Kind};

use super::acl::{self, List};
use crate::error::{Error, Result, shown};

/// Bytes in front of an inode's attributes.
const HEADER: usize = 12;

/// The longest value: its length has 16 bits.
const MAX_VALUE: usize = u16::MAX as usize;

/// The longest name, prefix included (`XATTR_NAME_MAX`).
const MAX_NAME: usize = 255;

/// How many shared attributes an inode can have.
const MAX_SHARED: usize = 255;

/// The most bytes of an inode's attributes: their number of words has 16 bits.
const MAX_TOTAL: u64 = 4 * (u16::MAX as u64 - 1);

/// Prefixes of names, and their numbers.
const PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];

const USER: u8 = 1;
const ACCESS: u8 = 2;
const DEFAULT: u8 = 3;
const SECURITY: u8 = 6;

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Attribute {
    prefix: u8,
    name: Box<[u8]>,
    value: Box<[u8]>,
}

impl Attribute {
    /// Bytes that it takes in the image, a multiple of 4.
    pub(super) fn size(&self) -> u64 {
        (4 + self.name.len() + self.value.len()).next_multiple_of(4) as u64
    }

    pub(super) fn is_capability(&self) -> bool {
        self.prefix == SECURITY && &self.name[..] == b"capability"
    }

    fn store(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(self.name.len() as u8);
        out.push(self.prefix);
        out.extend_from_slice(&(self.value.len() as u16).to_le_bytes());
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.value);
        out.resize(start + self.size() as usize, 0);
    }
}

/// An entry's attributes, sorted, as far as Linux would let a file of its kind have them. A list of
/// access rules changes the permissions, as setting it does.
pub(super) fn accept(entry: &Entry, mode: &mut u16) -> Result<Vec<Attribute>> {
    let mut found = Vec::with_capacity(entry.xattrs.len());
    for (name, value) in &entry.xattrs {
        let refused = |reason| Error::Attribute {
            path: shown(&entry.path),
            name: shown(name),
            reason,
        };
        // A redirect in a layer would graft directories of its choice.
        if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let prefixes = PREFIXES.into_iter();
        let mut fitting = prefixes
            .filter_map(|(number, prefix)| Some((number, prefix, name.strip_prefix(prefix)?)));
        let Some((prefix, text, rest)) = fitting.next() else {
            continue;
        };
        if text.ends_with(b".") == rest.is_empty() {
            continue;
        }
        let skipped = match prefix {
            USER => !matches!(entry.kind, Kind::File | Kind::Directory),
            ACCESS => entry.kind == Kind::Symlink,
            DEFAULT => entry.kind != Kind::Directory,
            _ => false,
        };
        if skipped {
            continue;
        }
        if name.len() > MAX_NAME {
            return Err(refused("its name is too long"));
        }
        if value.len() > MAX_VALUE {
            return Err(refused("its value is too long"));
        }
        let list = match prefix {
            ACCESS => acl::access(value, mode),
            DEFAULT => acl::default(value),
            SECURITY if rest == b"capability" && !acl::is_capability(value) => List::Invalid,
            _ => List::Kept,
        };
        match list {
            List::Invalid => return Err(refused("its value is malformed")),
            List::Mode => {}
            List::Kept => found.push(Attribute {
                prefix,
                name: rest.into(),
                value: value.as_slice().into(),
            }),
        }
    }
    found.sort();
    let total: u64 = found.iter().map(Attribute::size).sum();
    if total + HEADER as u64 > MAX_TOTAL {
        return Err(Error::Attribute {
            path: shown(&entry.path),
            name: shown(b"*"),
            reason: "all of them together are too long",
        });
    }
    Ok(found)
}

/// Attributes with others added, or put in their place.
pub(super) fn joined(before: &[Attribute], new: Vec<Attribute>) -> Rc<[Attribute]> {
    if before.is_empty() {
        return new.into();
    }
    let replaced = |old: &Attribute| {
        new.iter()
            .any(|new| (new.prefix, &new.name) == (old.prefix, &old.name))
    };
    let mut all: Vec<Attribute> = before
        .iter()
        .filter(|old| !replaced(old))
        .cloned()
        .collect();
    all.extend(new);
    all.sort();
    all.into()
}

/// The attributes that inodes share, in one area of the image.
#[derive(Default)]
pub(super) struct Shared {
    /// Where each is, in words of 4 bytes.
    places: HashMap<Attribute, u32>,
    pub(super) area: Vec<u8>,
}

impl Shared {
    /// Picks what is worth it, from the attributes of every inode in the image's order.
    pub(super) fn of<'a>(all: impl Iterator<Item = &'a [Attribute]>) -> Shared {
        let mut counts: HashMap<&Attribute, u64> = HashMap::new();
        let mut order = Vec::new();
        for attribute in all.flatten() {
            let count = counts.entry(attribute).or_default();
            if *count == 0 {
                order.push(attribute);
            }
            *count += 1;
        }
        let mut shared = Shared::default();
        for attribute in order {
            let count = counts.get(attribute).copied().unwrap_or_default();
            let pays = count > 1 && attribute.size() * (count - 1) > 4 * count;
            if let Some(place) = u32::try_from(shared.area.len() / 4).ok().filter(|_| pays) {
                shared.places.insert(attribute.clone(), place);
                attribute.store(&mut shared.area);
            }
        }
        shared
    }

    /// Bytes of an inode's attributes.
    pub(super) fn size(&self, attributes: &[Attribute]) -> u64 {
        if attributes.is_empty() {
            return 0;
        }
        let mut taken = 0;
        let each = attributes.iter().map(|attribute| {
            if taken < MAX_SHARED && self.places.contains_key(attribute) {
                taken += 1;
                4
            } else {
                attribute.size()
            }
        });
        HEADER as u64 + each.sum::<u64>()
    }

    /// An inode's attributes as they are stored.
    pub(super) fn store(&self, attributes: &[Attribute]) -> Vec<u8> {
        if attributes.is_empty() {
            return Vec::new();
        }
        let mut places = Vec::new();
        let mut own = Vec::new();
        for attribute in attributes {
            match self.places.get(attribute) {
                Some(place) if places.len() < MAX_SHARED => places.push(*place),
                _ => attribute.store(&mut own),
            }
        }
        let mut out = vec![0; HEADER];
        if let Some(count) = out.get_mut(4) {
            *count = places.len() as u8;
        }
        for place in places {
            out.extend_from_slice(&place.to_le_bytes());
        }
        out.extend_from_slice(&own);
        out
    }
}
