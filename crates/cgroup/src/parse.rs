//! The formats of control files (Linux: Documentation/admin-guide/cgroup-v2.rst, "Interface
//! files"). Lines that don't fit a format are passed over.

use std::collections::BTreeMap;

/// A number, `None` for `max`.
pub(crate) fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A number; 0 if it isn't one.
pub(crate) fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// Lines of `key value`.
pub(crate) fn flat(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (key, value) = line.split_once([' ', '\t'])?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// The value of one key in lines of `key value`.
pub(crate) fn value_of(text: &str, key: &str) -> Option<u64> {
    let value = |line: &str| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value)
}

/// Numbers in a row.
pub(crate) fn numbers(text: &str) -> Vec<u64> {
    let words = text.split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// One process id per line. 0 stands for processes of other namespaces, and is never a target for
/// a signal, so it is left out.
pub(crate) fn pids(text: &str) -> impl Iterator<Item = i32> {
    text.lines()
        .filter_map(|line| line.trim().parse().ok())
        .filter(|&pid| pid > 0)
}

/// `major:minor`.
pub(crate) fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// v1's lines of `major:minor operation value`.
pub(crate) fn v1_io(text: &str) -> Vec<((u64, u64), &str, u64)> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some(device) = words.next().and_then(device)
            && let Some(operation) = words.next()
            && let Some(value) = words.next().and_then(|word| word.parse().ok())
        {
            entries.push((device, operation, value));
        }
    }
    entries
}

/// A device's number and its values.
pub(crate) type DeviceValues<'a> = ((u64, u64), BTreeMap<&'a str, u64>);

/// v2's lines of `major:minor key=value …`.
pub(crate) fn v2_io(text: &str) -> Vec<DeviceValues<'_>> {
    let mut entries = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(device) = words.next().and_then(device) else {
            continue;
        };
        let pair = |word| -> Option<(&str, u64)> {
            let (key, value) = str::split_once(word, '=')?;
            Some((key, value.parse().ok()?))
        };
        entries.push((device, words.filter_map(pair).collect()));
    }
    entries
}

/// A list of numbers and ranges, as cpusets have: `0-3,7`. Whether it is one; what it may hold is
/// the kernel's business.
pub(crate) fn is_list(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let item = |item: &str| match item.split_once('-') {
        Some((first, last)) => number(first) && number(last),
        None => number(item),
    };
    text.split(',').all(item)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formats() {
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("12\n"), Some(12));
        let text = "low 0\noom 3\noom_kill 2\nbad x\n\n";
        assert_eq!(flat(text).len(), 3);
        assert_eq!(value_of(text, "oom"), Some(3));
        assert_eq!(value_of(text, "oom_kill"), Some(2));
        assert_eq!(value_of(text, "kill"), None);
        assert_eq!(pids("12\n0\n-4\nx\n7\n").collect::<Vec<_>>(), [12, 7]);
        assert_eq!(
            v1_io("8:0 Read 5\n8:0 Total 6\nTotal 7\n"),
            [((8, 0), "Read", 5), ((8, 0), "Total", 6)]
        );
        let io = v2_io("8:16 rbytes=1 wbytes=2 cost.usage=x\n8:0\nx\n");
        assert_eq!(io.len(), 2);
        assert_eq!(io[0].1["wbytes"], 2);
        assert!(is_list("0-3,7"));
        for bad in ["", "a", "0-", "1,,2", "0-1-2", "0\n1"] {
            assert!(!is_list(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "([0-9:=a-z \t,.-]|\n){0,200}") {
            flat(&text);
            numbers(&text);
            pids(&text).for_each(|pid| assert!(pid > 0));
            v1_io(&text);
            v2_io(&text);
            is_list(&text);
            value_of(&text, "a");
        }

        #[test]
        fn flat_files_are_read_back(map in prop::collection::btree_map("[a-z_.]{1,9}", any::<u64>(), 0..20)) {
            let text: String = map.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
            for (key, value) in &map {
                prop_assert_eq!(value_of(&text, key), Some(*value));
            }
            prop_assert_eq!(flat(&text), map);
        }
    }
}
