//! Ids and names: made, checked, and found again.

use std::hash::{BuildHasher, Hasher, RandomState};

pub(crate) use coracle_spec::check_name;

/// A new id: 64 hexadecimal digits, the first of them a letter.
pub(crate) fn new_id() -> String {
    // Every `RandomState` has keys of its own, from the system's random source.
    let word = || RandomState::new().build_hasher().finish();
    let mut id: String = (0..4).map(|_| format!("{:016x}", word())).collect();
    id.replace_range(..1, "c");
    id
}

/// A name for a container whose creator gave none.
pub(crate) fn random_name() -> String {
    let id = new_id();
    format!("mock_{}", id.get(1..9).unwrap_or_default())
}

/// What a prefix of an id stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Prefix<'a> {
    None,
    One(&'a str),
    Several,
}

/// Finds the one id that a prefix stands for.
pub(crate) fn by_prefix<'a>(prefix: &str, ids: impl Iterator<Item = &'a str>) -> Prefix<'a> {
    let mut found = ids.filter(|id| !prefix.is_empty() && id.starts_with(prefix));
    match (found.next(), found.next()) {
        (None, _) => Prefix::None,
        (Some(id), None) => Prefix::One(id),
        (Some(_), Some(_)) => Prefix::Several,
    }
}

/// Docker's short form of an id.
pub(crate) fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert_ne!(a, b);
        assert_eq!(a.len(), 64);
        assert!(a.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn names_and_prefixes() {
        check_name("container", "a.b-c").unwrap();
        for bad in ["", "a", "-ab", "a b", "a/b"] {
            assert!(check_name("container", bad).is_err(), "{bad}");
        }
        let ids = ["abc", "abd", "x"];
        assert_eq!(by_prefix("x", ids.into_iter()), Prefix::One("x"));
        assert_eq!(by_prefix("ab", ids.into_iter()), Prefix::Several);
        assert_eq!(by_prefix("", ids.into_iter()), Prefix::None);
    }
}
