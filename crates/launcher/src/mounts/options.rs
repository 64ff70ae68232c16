//! What a mount's options ask for.

use std::path::PathBuf;

use oci_spec::runtime::Mount;

use crate::error::Error;

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
const NODIRATIME: u64 = libc::MOUNT_ATTR_NODIRATIME;
const NOSYMFOLLOW: u64 = libc::MOUNT_ATTR_NOSYMFOLLOW;
/// Names what to bind inside the source, by a path that no link leads out of (mount(8)'s word for a
/// part of a file system).
const SUBDIR: &str = "X-mount.subdir=";
/// Names what to bind of the file system that was handed over with the request.
const HANDED: &str = "X-coracle.handed=";
/// Mounts a file system before the namespaces are entered.
const HOST: &str = "X-coracle.host";
/// The three access time modes are one field of the attributes, not bits.
const ATIME: u64 = libc::MOUNT_ATTR__ATIME;
const RELATIME: u64 = libc::MOUNT_ATTR_RELATIME;
const NOATIME: u64 = libc::MOUNT_ATTR_NOATIME;
const STRICTATIME: u64 = libc::MOUNT_ATTR_STRICTATIME;

/// Attributes to set and to clear, as `mount_setattr(2)` takes them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

impl Attributes {
    fn set(&mut self, bit: u64) {
        self.set |= bit;
        self.clear &= !bit;
    }

    fn clear(&mut self, bit: u64) {
        self.clear |= bit;
        self.set &= !bit;
    }

    fn atime(&mut self, mode: u64) {
        self.set = (self.set & !ATIME) | mode;
        self.clear |= ATIME;
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Attributes::default()
    }

    pub(crate) fn read_only(self) -> bool {
        self.set & RDONLY != 0
    }
}

/// The options of one mount.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// A bind mount, of one mount or with all below it.
    pub(crate) bind: Option<Depth>,
    /// Bind only this, a path inside the source that may not lead out of it.
    pub(crate) subdir: Option<PathBuf>,
    /// Bind this file of the file system that was handed over, instead of the source.
    pub(crate) handed: Option<String>,
    /// Mount it before the container's namespaces are entered, by the host's network.
    pub(crate) by_host: bool,
    /// Attributes of the mount itself.
    pub(crate) attributes: Attributes,
    /// Attributes of the mount and all below it.
    pub(crate) recursive: Attributes,
    /// `MS_SHARED` and so on, and whether it holds for all below.
    pub(crate) propagation: Option<(u64, Depth)>,
    /// Copy what the image has at the place of a tmpfs into it.
    pub(crate) copy_up: bool,
    /// Options of the file system, and flags of its superblock.
    pub(crate) data: Vec<String>,
}

/// Whether something is meant for one mount or for a tree of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    One,
    Tree,
}

impl Options {
    /// Sorts a mount's options.
    pub(crate) fn of(mount: &Mount) -> Result<Options, Error> {
        let mut options = Options::default();
        for option in mount.options().iter().flatten() {
            if !options.attribute(option) && !options.special(option) {
                options.data.push(option.clone());
            }
        }
        options.check(mount)?;
        Ok(options)
    }

    fn special(&mut self, option: &str) -> bool {
        let (depth, plain) = match option.strip_prefix('r') {
            Some(plain) if is_propagation(plain) => (Depth::Tree, plain),
            _ => (Depth::One, option),
        };
        let propagation = match plain {
            "shared" => libc::MS_SHARED,
            "slave" => libc::MS_SLAVE,
            "private" => libc::MS_PRIVATE,
            "unbindable" => libc::MS_UNBINDABLE,
            _ => {
                match option {
                    "bind" => self.bind = self.bind.or(Some(Depth::One)),
                    "rbind" => self.bind = Some(Depth::Tree),
                    "tmpcopyup" => self.copy_up = true,
                    HOST => self.by_host = true,
                    _ if option.starts_with(SUBDIR) => {
                        self.subdir = option.strip_prefix(SUBDIR).map(PathBuf::from);
                    }
                    _ if option.starts_with(HANDED) => {
                        self.handed = option.strip_prefix(HANDED).map(str::to_owned);
                    }
                    // The kernel's defaults.
                    "defaults" | "async" | "loud" | "nomand" | "noiversion" | "nolazytime" => {}
                    _ => return false,
                }
                return true;
            }
        };
        self.propagation = Some((propagation, depth));
        true
    }

    fn attribute(&mut self, option: &str) -> bool {
        if set_attribute(&mut self.attributes, option) {
            return true;
        }
        // "relatime" and "ro" begin with an r of their own, and were found above.
        option
            .strip_prefix('r')
            .is_some_and(|plain| set_attribute(&mut self.recursive, plain))
    }

    fn check(&mut self, mount: &Mount) -> Result<(), Error> {
        let place = mount.destination().display();
        let unsupported = |what: &str| Err(Error::Unsupported(format!("mounts[{place}]: {what}")));
        for (set, what) in [
            (mount.uid_mappings().is_some(), "uidMappings"),
            (mount.gid_mappings().is_some(), "gidMappings"),
        ] {
            if set {
                return unsupported(what);
            }
        }
        for option in &self.data {
            let refused = ["idmap", "ridmap", "remount", "move"];
            let label = ["context=", "fscontext=", "defcontext=", "rootcontext="];
            if refused.contains(&option.as_str())
                || label.iter().any(|label| option.starts_with(label))
            {
                return unsupported(&format!("option {option}"));
            }
        }
        if self.bind.is_some() {
            // "rw" is a bind's default and takes no read-only flag of the source away.
            self.attributes.clear &= !RDONLY;
            if let Some(option) = self.data.first() {
                return unsupported(&format!("option {option} of a bind mount"));
            }
        }
        if let Some(subdir) = &self.subdir {
            if self.bind.is_none() {
                return unsupported("option X-mount.subdir of anything but a bind mount");
            }
            if subdir.is_absolute() || subdir.as_os_str().is_empty() {
                return Err(Error::Invalid(format!(
                    "mounts[{place}]: X-mount.subdir must be a relative path"
                )));
            }
        }
        if self.by_host && self.bind.is_some() {
            return unsupported("option X-coracle.host of a bind mount");
        }
        if let Some(handed) = &self.handed {
            if self.bind.is_none() || self.subdir.is_some() {
                return unsupported("option X-coracle.handed of anything but a whole bind mount");
            }
            if handed.is_empty() || handed.contains('/') || handed.starts_with('.') {
                return Err(Error::Invalid(format!(
                    "mounts[{place}]: X-coracle.handed must be the name of a file"
                )));
            }
        }
        if self.copy_up && (self.bind.is_some() || mount.typ().as_deref() != Some("tmpfs")) {
            return unsupported("option tmpcopyup of anything but tmpfs");
        }
        Ok(())
    }
}

fn is_propagation(option: &str) -> bool {
    matches!(option, "shared" | "slave" | "private" | "unbindable")
}

fn set_attribute(attributes: &mut Attributes, option: &str) -> bool {
    match option {
        "ro" => attributes.set(RDONLY),
        "rw" => attributes.clear(RDONLY),
        "nosuid" => attributes.set(NOSUID),
        "suid" => attributes.clear(NOSUID),
        "nodev" => attributes.set(NODEV),
        "dev" => attributes.clear(NODEV),
        "noexec" => attributes.set(NOEXEC),
        "exec" => attributes.clear(NOEXEC),
        "nodiratime" => attributes.set(NODIRATIME),
        "diratime" => attributes.clear(NODIRATIME),
        "nosymfollow" => attributes.set(NOSYMFOLLOW),
        "symfollow" => attributes.clear(NOSYMFOLLOW),
        "noatime" => attributes.atime(NOATIME),
        "strictatime" => attributes.atime(STRICTATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => attributes.atime(RELATIME),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::MountBuilder;

    fn parse(kind: &str, options: &[&str]) -> Result<Options, Error> {
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        let mount = MountBuilder::default()
            .destination("/x")
            .typ(kind)
            .options(options)
            .build()
            .unwrap();
        Options::of(&mount)
    }

    #[test]
    fn binds() {
        let options = parse("bind", &["rbind", "ro", "nosuid", "rslave", "rw", "ro"]).unwrap();
        assert_eq!(options.bind, Some(Depth::Tree));
        assert_eq!(options.attributes.set, RDONLY | NOSUID);
        assert_eq!(options.attributes.clear, 0);
        assert_eq!(options.propagation, Some((libc::MS_SLAVE, Depth::Tree)));
        assert!(options.recursive.is_empty());
        let options = parse("none", &["bind", "rro", "rnoatime", "private"]).unwrap();
        assert_eq!(options.bind, Some(Depth::One));
        assert!(options.recursive.read_only());
        assert_eq!(options.recursive.set, RDONLY | NOATIME);
        assert_eq!(options.recursive.clear, ATIME);
        assert!(options.attributes.is_empty());
        assert_eq!(options.propagation, Some((libc::MS_PRIVATE, Depth::One)));
    }

    #[test]
    fn file_systems() {
        let options = parse("tmpfs", &["nosuid", "strictatime", "mode=755", "size=64k"]).unwrap();
        assert_eq!(options.data, ["mode=755", "size=64k"]);
        assert_eq!(options.attributes.set, NOSUID | STRICTATIME);
        assert!(parse("tmpfs", &["tmpcopyup"]).unwrap().copy_up);
    }

    #[test]
    fn refusals_name_the_option() {
        let refused = |kind: &str, option: &str| {
            let error = parse(kind, &["rbind", option][usize::from(kind == "tmpfs")..]);
            error.unwrap_err().to_string()
        };
        assert_eq!(
            refused("bind", "size=3"),
            "mounts[/x]: option size=3 of a bind mount is not supported"
        );
        assert_eq!(
            refused("bind", "idmap"),
            "mounts[/x]: option idmap is not supported"
        );
        assert!(refused("tmpfs", "context=x").contains("context=x"));
        assert!(refused("tmpfs", "X-mount.subdir=x").contains("X-mount.subdir"));
        assert!(refused("bind", "X-mount.subdir=/x").contains("relative"));
        let options = parse("bind", &["rbind", "X-mount.subdir=a/b"]).unwrap();
        assert_eq!(options.subdir, Some("a/b".into()));
    }

    proptest::proptest! {
        #[test]
        fn any_option_is_data_or_refused(option in "[a-z=0-9]{0,12}") {
            let _ = parse("tmpfs", &[&option]);
        }
    }
}
