//! `/proc/<pid>/mountinfo` (proc(5)), as far as cgroups need it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A mounted cgroup file system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mount {
    pub(crate) path: PathBuf,
    /// `cgroup2`, not `cgroup`.
    pub(crate) v2: bool,
    /// Options of the file system: of v1, the controllers and its name.
    pub(crate) options: Vec<String>,
}

/// The cgroup mounts in a mountinfo file; lines that aren't understood are passed over.
pub(crate) fn cgroup_mounts(text: &str) -> Vec<Mount> {
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (fixed, tail) = line.split_once(" - ")?;
    let mut tail = tail.split(' ');
    let v2 = match tail.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let options = tail.nth(1).unwrap_or_default();
    let path = unescape(fixed.split(' ').nth(4)?);
    Some(Mount {
        path: PathBuf::from(OsString::from_vec(path)),
        v2,
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// Undoes the kernel's `\ooo`.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let octal = match (byte, tail) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                rest = after;
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        out.push(octal.unwrap_or(byte));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_versions_and_escapes() {
        let text = "23 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    41 31 0:38 / /mnt/a\\040b\\134 rw - cgroup2 cgroup2 rw,nsdelegate\n\
                    nonsense\n";
        let mounts = cgroup_mounts(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].path, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(mounts[0].options, ["rw", "cpu", "cpuacct"]);
        assert_eq!(mounts[1].path, PathBuf::from("/mnt/a b\\"));
        assert!(mounts[1].v2);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ -~\n]{0,200}|( - cgroup|\\\\[0-9]{0,3}| |/){0,40}") {
            cgroup_mounts(&text);
        }
    }
}
