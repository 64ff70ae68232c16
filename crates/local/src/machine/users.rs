//! Users that machines run as: one for each container, so that a QEMU that a guest has got hold of
//! can't reach another's.

use std::fs;
use std::ops::Range;

/// On a whole host: ids that nobody else has.
const OWN: Range<u32> = 0x6000_0000..0x7000_0000;

/// The ids to choose from. A rootless daemon has those of the user's subordinate ids that images have
/// no use for; one without any has none, and its machines run as the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Users(Range<u32>);

impl Users {
    /// Those that this process may give away.
    pub(crate) fn here() -> Self {
        let map = |name| fs::read_to_string(name).unwrap_or_default();
        Self::of(&map("/proc/self/uid_map"), &map("/proc/self/gid_map"))
    }

    /// By the maps of a user namespace (user_namespaces(7)).
    fn of(uids: &str, gids: &str) -> Self {
        let gids = ranges(gids);
        let both = ranges(uids).into_iter().flat_map(|uids| {
            let common = |gids: &Range<u32>| uids.start.max(gids.start)..uids.end.min(gids.end);
            gids.iter().map(common).collect::<Vec<_>>()
        });
        let most = both.max_by_key(ExactSizeIterator::len).unwrap_or(0..0);
        if most.start <= OWN.start && most.end >= OWN.end {
            return Self(OWN);
        }
        // The upper half, short of nobody.
        let start = most.start + (most.end.saturating_sub(most.start)) / 2;
        let end = match (start..most.end).contains(&NOBODY) {
            true => NOBODY,
            false => most.end,
        };
        Self(start.max(1)..end)
    }

    /// The user and the group of a container's machine, by the container's id.
    pub(crate) fn of_container(&self, id: &str) -> Option<(u32, u32)> {
        let count = u32::try_from(self.0.len())
            .ok()
            .filter(|count| *count > 0)?;
        let low = id
            .get(..7)
            .and_then(|start| u32::from_str_radix(start, 16).ok())
            .unwrap_or_default();
        let id = self.0.start + low % count;
        Some((id, id))
    }
}

/// Who everyone is that has no id here.
const NOBODY: u32 = 65_534;

/// The ids inside that a map has.
fn ranges(map: &str) -> Vec<Range<u32>> {
    map.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(str::parse::<u32>);
            let (start, count) = (words.next()?.ok()?, words.nth(1)?.ok()?);
            Some(start..start.saturating_add(count))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_users_that_are_mapped() {
        let whole = "         0          0 4294967295\n";
        let users = Users::of(whole, whole);
        assert_eq!(users, Users(OWN));
        assert_eq!(
            users.of_container("abcdef0123"),
            Some((0x6abc_def0, 0x6abc_def0))
        );
        let some = "0 1000 1\n1 100000 65536\n";
        let users = Users::of(some, some);
        assert_eq!(users, Users(32_769..65_534));
        for id in ["0000000", "fffffff", "", "not one"] {
            let (user, group) = users.of_container(id).unwrap();
            assert!(users.0.contains(&user) && user == group);
        }
        let fewer = "0 1000 1\n1 100000 1000\n";
        assert_eq!(Users::of(some, fewer), Users(501..1001));
        // The user alone.
        let one = "0 1000 1";
        for (uids, gids) in [
            (one, one),
            (some, one),
            ("", ""),
            ("x", "0 1"),
            ("0 0 1", "5 0 1"),
        ] {
            assert_eq!(
                Users::of(uids, gids).of_container("abcdef0"),
                None,
                "{uids} {gids}"
            );
        }
    }
}
