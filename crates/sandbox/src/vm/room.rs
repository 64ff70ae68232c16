//! What a machine has, and how much of its memory those who are in it are to have together.

use std::collections::BTreeMap;

use coracle_task::MachineConfig;
use coracle_vmm::ROOM;

/// The least memory that a machine is shrunk to, bytes.
const LEAST: u64 = 256 << 20;

/// What a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Bytes.
    pub(crate) memory: u64,
    /// Processors that are used.
    pub(crate) cpus: u32,
}

impl Size {
    /// The larger of each.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            cpus: self.cpus.max(other.cpus),
        }
    }
}

/// What one container may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Its limit in bytes; 0 without one.
    limit: u64,
    /// The machine is to have no less than this, bytes.
    floor: u64,
}

impl Claim {
    /// Of one with this limit; one without is due what the machine has.
    fn new(limit: Option<u64>, memory: u64) -> Self {
        match limit {
            Some(limit) => Self { limit, floor: 0 },
            None => Self {
                limit: 0,
                floor: memory,
            },
        }
    }

    /// With this limit; the same where it had that before.
    fn with(self, limit: Option<u64>, memory: u64) -> Self {
        match self.limit == limit.unwrap_or_default() {
            true => self,
            false => Self::new(limit, memory),
        }
    }

    /// What serves one as well as the other.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            limit: self.limit.max(other.limit),
            floor: self.floor.max(other.floor),
        }
    }
}

/// A machine's size, and who is in it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) size: Size,
    /// Bytes that its kernel and agent need.
    overhead: u64,
    /// The most bytes that it can have.
    most: u64,
    own: Claim,
    /// By the numbers under which they joined, with their containers' ids.
    members: BTreeMap<u32, (String, Claim)>,
}

impl Room {
    /// Of a machine as it starts, and the limit of its own container.
    pub(crate) fn new(config: &MachineConfig, limit: Option<u64>) -> Self {
        let size = Size {
            memory: config.memory,
            cpus: config.cpus,
        };
        Self {
            size,
            overhead: config.overhead,
            most: config.memory.saturating_add(ROOM),
            own: Claim {
                limit: limit.unwrap_or_default(),
                // It may be more than the limit needs.
                floor: size.memory,
            },
            members: BTreeMap::new(),
        }
    }

    /// It is of this size, and was to have so much memory. What it didn't get it isn't asked for again, but
    /// for one that needs it alone: a guest's kernel that can't is waited for.
    pub(crate) fn has(&mut self, size: Size, wanted: u64) {
        if size.memory < wanted {
            self.most = size.memory;
        }
        self.size = size;
    }

    /// Its own container has this limit; tells whether that is a change.
    pub(crate) fn set_own(&mut self, limit: Option<u64>) -> bool {
        let claim = self.own.with(limit, self.size.memory);
        std::mem::replace(&mut self.own, claim) != claim
    }

    /// Its own container has ended: the machine gets no smaller than that one's alone.
    pub(crate) fn own_ended(&mut self) {
        let alone = self.alone(self.own.limit);
        if self.own.floor == 0 {
            self.own.floor = alone;
        }
        self.own.limit = 0;
    }

    /// One more is in.
    pub(crate) fn join(&mut self, number: u32, container: &str, limit: Option<u64>) {
        let claim = Claim::new(limit, self.size.memory);
        self.members.insert(number, (container.to_owned(), claim));
    }

    pub(crate) fn leave(&mut self, number: u32) {
        self.members.remove(&number);
    }

    /// The member that a container is, with what it claims and what it would with this limit.
    pub(crate) fn member(
        &self,
        container: &str,
        limit: Option<u64>,
    ) -> Option<(u32, Claim, Claim)> {
        let mut last = self.members.iter().rev();
        let (number, (_, claim)) = last.find(|(_, (id, _))| id == container)?;
        Some((*number, *claim, claim.with(limit, self.size.memory)))
    }

    /// Changes what a member claims, if it is in.
    pub(crate) fn set_member(&mut self, number: u32, claim: Claim) {
        if let Some((_, claimed)) = self.members.get_mut(&number) {
            *claimed = claim;
        }
    }

    /// How much memory the machine is to have, bytes: all limits together, and what its kernel needs, as far
    /// as it can have that. `least`: in any case.
    pub(crate) fn needed(&self, least: u64) -> u64 {
        let members = self.members.values().map(|(_, claim)| claim);
        let all = || members.clone().chain([&self.own]);
        let limits = all().fold(0, |sum: u64, claim| sum.saturating_add(claim.limit));
        let floor = all().map(|claim| claim.floor).max().unwrap_or_default();
        let wanted = match limits {
            0 => floor,
            limits => self.alone(limits).max(floor),
        };
        wanted.min(self.most).max(least)
    }

    /// How much memory a machine has for a limit, bytes.
    pub(crate) fn alone(&self, limit: u64) -> u64 {
        limit.saturating_add(self.overhead).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn room(memory: u64, limit: Option<u64>) -> Room {
        let size = Size { memory, cpus: 1 };
        Room {
            size,
            overhead: 128 * MIB,
            most: memory + ROOM,
            own: Claim {
                limit: limit.unwrap_or_default(),
                floor: memory,
            },
            members: BTreeMap::new(),
        }
    }

    #[test]
    fn all_limits_have_room_together() {
        let mut room = room(256 * MIB, Some(64 * MIB));
        assert_eq!(room.needed(0), 256 * MIB);
        room.join(1, "small", Some(64 * MIB));
        assert_eq!(room.needed(0), 256 * MIB);
        room.join(2, "large", Some(512 * MIB));
        assert_eq!(room.needed(0), (64 + 64 + 512 + 128) * MIB);
        room.leave(1);
        assert_eq!(room.needed(0), (64 + 512 + 128) * MIB);
        room.leave(2);
        assert_eq!(room.needed(0), 256 * MIB);
    }

    #[test]
    fn without_a_limit_one_has_what_the_machine_had() {
        let mut room = room(GIB, None);
        room.join(1, "limited", Some(2 * GIB));
        assert_eq!(room.needed(0), 2 * GIB + 128 * MIB);
        room.size.memory = room.needed(0);
        room.join(2, "unlimited", None);
        assert_eq!(room.needed(0), room.size.memory);
        room.leave(1);
        assert_eq!(room.needed(0), room.size.memory);
        room.leave(2);
        assert_eq!(room.needed(0), GIB);
    }

    #[test]
    fn the_own_container_takes_nothing_from_others() {
        let mut room = room(GIB, Some(600 * MIB));
        // More than it needs, until its limit is another.
        assert!(!room.set_own(Some(600 * MIB)));
        assert_eq!(room.needed(0), GIB);
        room.join(1, "member", Some(300 * MIB));
        assert_eq!(room.needed(0), (600 + 300 + 128) * MIB);
        assert!(room.set_own(Some(64 * MIB)));
        assert_eq!(room.needed(0), (64 + 300 + 128) * MIB);
        room.own_ended();
        assert_eq!(room.needed(0), (300 + 128) * MIB);
        room.leave(1);
        assert_eq!(room.needed(0), 256 * MIB);
    }

    #[test]
    fn a_machine_whose_container_has_ended_is_as_large_as_it_began() {
        let mut room = room(GIB, Some(600 * MIB));
        room.join(1, "member", Some(800 * MIB));
        room.own_ended();
        assert_eq!(room.needed(0), GIB);
    }

    #[test]
    fn a_member_is_given_room_before_it_gives_any_back() {
        let mut room = room(GIB, None);
        room.join(1, "member", Some(2 * GIB));
        room.join(2, "other", Some(GIB));
        assert_eq!(room.member("nobody", None), None);
        let (number, before, after) = room.member("member", Some(GIB)).unwrap();
        assert_eq!(number, 1);
        room.set_member(number, before.or(after));
        assert_eq!(room.needed(0), 3 * GIB + 128 * MIB);
        room.set_member(number, after);
        assert_eq!(room.needed(0), 2 * GIB + 128 * MIB);
        let (_, same, unchanged) = room.member("member", Some(GIB)).unwrap();
        assert_eq!(same, unchanged);
        // One who has left claims nothing.
        room.leave(1);
        room.set_member(1, after);
        assert_eq!(room.needed(0), GIB + 128 * MIB);
    }

    #[test]
    fn who_restarts_is_the_one_that_joined_last() {
        let mut room = room(GIB, None);
        room.join(1, "member", Some(GIB));
        room.join(2, "member", Some(2 * GIB));
        let (number, ..) = room.member("member", None).unwrap();
        assert_eq!(number, 2);
    }

    #[test]
    fn no_more_is_wanted_than_there_can_be_but_for_ones_own_limit() {
        let mut room = room(GIB, None);
        room.join(1, "one", Some(40 * GIB));
        room.join(2, "two", Some(40 * GIB));
        assert_eq!(room.needed(40 * GIB), GIB + ROOM);
        room.join(3, "three", Some(u64::MAX));
        assert_eq!(room.needed(0), GIB + ROOM);
        assert_eq!(room.needed(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_a_guest_does_not_take_it_is_not_offered_again() {
        let mut room = room(GIB, None);
        room.join(1, "one", Some(GIB));
        let wanted = room.needed(GIB);
        assert_eq!(wanted, GIB + 128 * MIB);
        room.has(room.size, wanted);
        room.join(2, "two", Some(GIB));
        assert_eq!(room.needed(GIB), GIB);
        room.join(3, "three", Some(2 * GIB));
        assert_eq!(room.needed(2 * GIB), 2 * GIB);
    }
}
