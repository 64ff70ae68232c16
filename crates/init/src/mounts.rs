//! File systems that the host asks for.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use coracle_guest::{Mount, Source};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::disks;
use crate::error::{During, Result, invalid};
use crate::machine::{absolute, make_parents};

/// Options of mount(8), as flags: which it sets, or with `false` clears.
const OPTIONS: [(&str, MountFlags, bool); 21] = [
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("suid", MountFlags::NOSUID, false),
    ("nodev", MountFlags::NODEV, true),
    ("dev", MountFlags::NODEV, false),
    ("noexec", MountFlags::NOEXEC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("async", MountFlags::SYNCHRONOUS, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("noatime", MountFlags::NOATIME, true),
    ("atime", MountFlags::NOATIME, false),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("diratime", MountFlags::NODIRATIME, false),
    ("relatime", MountFlags::RELATIME, true),
    ("norelatime", MountFlags::RELATIME, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("lazytime", MountFlags::LAZYTIME, true),
    ("silent", MountFlags::SILENT, true),
    ("defaults", MountFlags::empty(), true),
];

/// What a mount's options come to.
#[derive(Debug, Default, PartialEq)]
struct Options {
    flags: Flags,
    /// What the file system is told.
    data: Vec<String>,
    bind: Option<Depth>,
    propagation: Option<MountPropagationFlags>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Depth {
    One,
    Tree,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Flags(MountFlags);

impl Default for Flags {
    fn default() -> Self {
        Self(MountFlags::empty())
    }
}

fn parse(options: &[String]) -> Options {
    let mut parsed = Options::default();
    for option in options {
        let known = OPTIONS.iter().find(|(name, _, _)| name == option);
        if let Some((_, flag, set)) = known {
            parsed.flags.0.set(*flag, *set);
            continue;
        }
        use MountPropagationFlags as Propagation;
        let propagation = match option.as_str() {
            "bind" => {
                parsed.bind = Some(Depth::One);
                continue;
            }
            "rbind" => {
                parsed.bind = Some(Depth::Tree);
                continue;
            }
            "shared" => Propagation::SHARED,
            "rshared" => Propagation::SHARED | Propagation::REC,
            "slave" => Propagation::DOWNSTREAM,
            "rslave" => Propagation::DOWNSTREAM | Propagation::REC,
            "private" => Propagation::PRIVATE,
            "rprivate" => Propagation::PRIVATE | Propagation::REC,
            other => {
                parsed.data.push(other.to_owned());
                continue;
            }
        };
        parsed.propagation = Some(propagation);
    }
    parsed
}

/// Mounts it; what it is to be mounted at is made.
pub(crate) fn mount(mount: &Mount) -> Result<()> {
    let target = absolute(&mount.target)?;
    let options = parse(&mount.options);
    let source = match &mount.source {
        Source::Disk(serial) => disks::find(serial)?,
        Source::Path(path) => path.into(),
    };
    let is_file = options.bind.is_some() && source.exists() && !source.is_dir();
    make_target(target, is_file)?;
    let what = || format!("mount {} at {}", source.display(), target.display());
    match options.bind {
        None => {
            let data = CString::new(options.data.join(","))
                .map_err(|_| invalid("a mount option holds a NUL"))?;
            let flags = options.flags.0;
            let kind = mount.kind.as_str();
            rustix::mount::mount(&*source, target, kind, flags, data.as_c_str()).during(what)?;
        }
        Some(depth) => {
            if let Some(option) = options.data.first() {
                return Err(invalid(format!("a bind mount has no option {option:?}")));
            }
            match depth {
                Depth::One => rustix::mount::mount_bind(&*source, target),
                Depth::Tree => rustix::mount::mount_bind_recursive(&*source, target),
            }
            .during(what)?;
            if !options.flags.0.is_empty() {
                let flags = options.flags.0 | MountFlags::BIND;
                let changed = rustix::mount::mount_remount(target, flags, "").during(what);
                if changed.is_err() {
                    let _the_first_failure_counts = unmount(&mount.target);
                }
                changed?;
            }
        }
    }
    match options.propagation {
        Some(propagation) => rustix::mount::mount_change(target, propagation).during(what),
        None => Ok(()),
    }
}

/// Makes what is to be mounted over.
pub(crate) fn make_target(target: &Path, is_file: bool) -> Result<()> {
    if target.exists() {
        return Ok(());
    }
    let what = || format!("make {}", target.display());
    if !is_file {
        return fs::create_dir_all(target).during(what);
    }
    make_parents(target)?;
    fs::File::create(target).map(drop).during(what)
}

/// Unmounts what is on top there.
pub(crate) fn unmount(target: &str) -> Result<()> {
    let target = absolute(target)?;
    rustix::mount::unmount(target, UnmountFlags::NOFOLLOW)
        .during(|| format!("unmount {}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_the_file_systems() {
        let options = ["ro", "nosuid", "rw", "size=5", "rprivate", "x"].map(String::from);
        let parsed = parse(&options);
        assert_eq!(parsed.flags.0, MountFlags::NOSUID);
        assert_eq!(parsed.data, ["size=5", "x"]);
        assert_eq!(parsed.bind, None);
        assert!(parsed.propagation.is_some());
        assert_eq!(parse(&["rbind".into()]).bind, Some(Depth::Tree));
    }
}
