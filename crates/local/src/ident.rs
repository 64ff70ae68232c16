//! Ids and names: made, checked, and found again.

pub(crate) use coracle_spec::check_name;
use ring::rand::{SecureRandom, SystemRandom};

const ADJECTIVES: [&str; 40] = [
    "able", "amber", "brave", "bright", "brisk", "calm", "clear", "clever", "cool", "cosy", "deep",
    "eager", "easy", "fair", "fast", "fine", "firm", "fresh", "gentle", "glad", "golden", "good",
    "happy", "keen", "kind", "light", "lively", "lucky", "merry", "mild", "neat", "nimble",
    "proud", "quick", "quiet", "rapid", "sharp", "steady", "swift", "warm",
];

const NOUNS: [&str; 40] = [
    "anchor", "bay", "beacon", "boat", "bow", "breeze", "bridge", "buoy", "canoe", "cape", "cliff",
    "cove", "current", "deck", "delta", "dinghy", "ferry", "fjord", "gull", "harbour", "heron",
    "island", "jetty", "kayak", "keel", "lagoon", "lake", "mast", "oar", "otter", "paddle", "pier",
    "raft", "reef", "river", "rudder", "sail", "shore", "tide", "wave",
];

/// Random bytes; the operating system's source does not fail on Linux.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        // getrandom(2) with a kernel that has no such call: time is the best there is.
        let now = jiff::Timestamp::now().as_nanosecond().to_le_bytes();
        for (byte, source) in bytes.iter_mut().zip(now.iter().cycle()) {
            *byte = *source;
        }
    }
    bytes
}

/// A new id: 64 hexadecimal digits. Not all of the first twelve are decimal, so that it is never
/// taken for a number.
pub(crate) fn new_id() -> String {
    loop {
        let id: String = random::<32>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if id.bytes().take(12).any(|byte| byte.is_ascii_alphabetic()) {
            return id;
        }
    }
}

/// A name for a container whose creator gave none.
pub(crate) fn random_name(attempt: u32) -> String {
    let [a, b, c, ..] = random::<4>();
    let adjective = ADJECTIVES[usize::from(a) % ADJECTIVES.len()];
    let noun = NOUNS[usize::from(b) % NOUNS.len()];
    if attempt == 0 {
        format!("{adjective}_{noun}")
    } else {
        format!("{adjective}_{noun}{}", u32::from(c) + attempt)
    }
}

/// Finds the one id that a prefix stands for.
pub(crate) fn by_prefix<'a>(
    prefix: &str,
    mut ids: impl Iterator<Item = &'a String>,
) -> Option<std::result::Result<&'a String, ()>> {
    if prefix.is_empty() {
        return None;
    }
    let mut found = None;
    for id in ids.by_ref().filter(|id| id.starts_with(prefix)) {
        if found.is_some() {
            return Some(Err(()));
        }
        found = Some(id);
    }
    found.map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_hexadecimal_and_no_numbers() {
        for _ in 0..100 {
            let id = new_id();
            assert_eq!(id.len(), 64);
            assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert!(id[..12].parse::<u64>().is_err());
        }
    }

    #[test]
    fn names_follow_dockers_rule() {
        for good in ["ab", "a.b-c_d", "0x"] {
            check_name("container", good).unwrap();
        }
        for bad in ["", "a", "-a", "a b", "a/b", "ä1"] {
            assert!(check_name("container", bad).is_err(), "{bad}");
        }
        check_name("container", &random_name(0)).unwrap();
    }

    #[test]
    fn a_prefix_must_fit_one() {
        let ids = ["abc".to_owned(), "abd".to_owned(), "x".to_owned()];
        assert_eq!(by_prefix("x", ids.iter()), Some(Ok(&ids[2])));
        assert_eq!(by_prefix("ab", ids.iter()), Some(Err(())));
        assert_eq!(by_prefix("q", ids.iter()), None);
        assert_eq!(by_prefix("", ids.iter()), None);
    }
}
