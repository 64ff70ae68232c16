//! Access control lists and capabilities, by the rules by which the kernel takes them.
//!
//! A list is stored as `setxattr` has it: a version, then entries of tag, permissions and id
//! (`include/uapi/linux/posix_acl_xattr.h`).

const VERSION: u32 = 2;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What becomes of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum List {
    /// The kernel would refuse it.
    Invalid,
    /// It says no more than the mode, which has its bits now.
    Mode,
    Kept,
}

/// Looks at a file's own list, and gives the permissions its bits, as setting it does.
pub(super) fn access(value: &[u8], mode: &mut u16) -> List {
    let Some(entries) = entries(value) else {
        return List::Invalid;
    };
    let of = |wanted: u16| {
        let mut all = entries.iter();
        all.find_map(|(tag, bits)| (*tag == wanted).then_some(*bits))
    };
    let (Some(user), Some(group), Some(other)) = (of(USER_OBJ), of(GROUP_OBJ), of(OTHER)) else {
        // Without any entry there is none.
        return List::Mode;
    };
    let group = of(MASK).unwrap_or(group);
    *mode = *mode & !0o777 | user << 6 | group << 3 | other;
    if entries.len() > 3 {
        List::Kept
    } else {
        List::Mode
    }
}

/// Looks at the list that a directory hands down.
pub(super) fn default(value: &[u8]) -> List {
    match entries(value) {
        None => List::Invalid,
        Some(entries) if entries.is_empty() => List::Mode,
        Some(_) => List::Kept,
    }
}

/// Tags and permissions; None where the list isn't valid (`posix_acl_valid`).
fn entries(value: &[u8]) -> Option<Vec<(u16, u16)>> {
    if value.is_empty() {
        return Some(Vec::new());
    }
    let (version, rest) = value.split_first_chunk::<4>()?;
    let (entries, odd) = rest.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !odd.is_empty() {
        return None;
    }
    let entries: Vec<(u16, u16)> = entries
        .iter()
        .map(|[t0, t1, p0, p1, ..]| {
            (
                u16::from_le_bytes([*t0, *t1]),
                u16::from_le_bytes([*p0, *p1]),
            )
        })
        .collect();
    if entries.is_empty() {
        return Some(entries);
    }
    let known = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
    let count = |tag: u16| entries.iter().filter(|entry| entry.0 == tag).count();
    let named = count(USER) + count(GROUP);
    let good = entries.is_sorted_by_key(|entry| entry.0)
        && entries
            .iter()
            .all(|(tag, bits)| known.contains(tag) && *bits <= 7)
        && [USER_OBJ, GROUP_OBJ, OTHER]
            .into_iter()
            .all(|tag| count(tag) == 1)
        && (count(MASK) == 1 || named == 0 && count(MASK) == 0);
    good.then_some(entries)
}

/// Whether the kernel takes this as a file's capabilities (`struct vfs_cap_data`).
pub(super) fn is_capability(value: &[u8]) -> bool {
    let Some((magic, _)) = value.split_first_chunk::<4>() else {
        return false;
    };
    match u32::from_le_bytes(*magic) & 0xff00_0000 {
        0x0200_0000 => value.len() == 20,
        0x0300_0000 => value.len() == 24,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, bits) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(bits.to_le_bytes());
            value.extend(u32::MAX.to_le_bytes());
        }
        value
    }

    #[test]
    fn lists_are_checked() {
        let mut mode = 0o4640;
        let short = list(&[(1, 7), (4, 5), (32, 1)]);
        assert_eq!(access(&short, &mut mode), List::Mode);
        assert_eq!(mode, 0o4751);
        let long = list(&[(1, 6), (2, 7), (4, 7), (16, 4), (32, 0)]);
        assert_eq!(access(&long, &mut mode), List::Kept);
        assert_eq!(mode, 0o4640);
        assert_eq!(default(&long), List::Kept);
        assert_eq!(access(b"", &mut mode), List::Mode);
        for bad in [
            list(&[(1, 6)]),
            list(&[(1, 6), (2, 7), (4, 7), (32, 0)]),
            list(&[(4, 6), (1, 7), (32, 0)]),
            list(&[(1, 8), (4, 7), (32, 0)]),
            list(&[(1, 6), (4, 7), (16, 7), (16, 7), (32, 0)]),
            b"\x02\0\0".to_vec(),
            b"\x02\0\0\0\x01".to_vec(),
        ] {
            assert_eq!(access(&bad, &mut mode), List::Invalid);
            assert_eq!(default(&bad), List::Invalid);
        }
    }
}
