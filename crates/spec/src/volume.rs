//! The options of volumes' driver `local`: what a volume is made of (moby's `volume/local`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use coracle_runtime::volume::VolumeSpec;
use coracle_runtime::{Result as RuntimeResult, RuntimeError};

use crate::{SpecError, check_name};

/// The options that there are.
const KNOWN: [&str; 4] = ["device", "o", "size", "type"];
/// What each of them needs beside it.
const NEEDS: [(&str, &[&str]); 3] = [
    ("device", &["type"]),
    ("o", &["device", "type"]),
    ("type", &["device"]),
];

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// The least and the most bytes that a volume can be limited to. Below that a file system has more of its own
/// than there is for files, and files can't be larger than that.
const SIZES: std::ops::RangeInclusive<u64> = 1 << 20..=8 << 40;

/// Docker's words where volumes can't have a size.
pub const NO_QUOTA: &str = "quota size requested but no quota support";

/// What a volume is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeBacking {
    /// A directory of its own.
    Directory,
    /// A file system of its own, in a file.
    Sized {
        /// What there is room for, in bytes.
        bytes: u64,
    },
    /// A directory of the host's.
    Bind {
        /// Its path, absolute.
        device: String,
        /// Read-only in every container.
        read_only: bool,
        /// With what is mounted below it.
        recursive: bool,
        /// Propagation word; empty means `rprivate`.
        propagation: String,
    },
    /// A file system that is mounted for the containers that use it.
    FileSystem {
        /// Its type, as mount(8) has it.
        kind: String,
        /// Its source.
        device: String,
        /// Its options, and those of the mount.
        options: Vec<String>,
    },
    /// A disk of a network block device server, in the machines of the containers that use it.
    Disk {
        /// Where it is.
        uri: coracle_nbd::Uri,
        /// Its file system, or [`RAW`](crate::RAW).
        kind: String,
        /// The file system's options, and those of the mount, without `ro` and `rw`.
        options: Vec<String>,
        /// Nobody writes to it.
        read_only: bool,
    },
}

/// Checks what a volume is asked to be. One without a name gets one that is right.
///
/// # Errors
/// `NotFound` for another driver than `local`, `InvalidArgument` for its options and its name; Docker's
/// texts.
pub fn check_volume(spec: &VolumeSpec) -> RuntimeResult<()> {
    let name = &spec.name;
    if !matches!(spec.driver.as_str(), "" | "local") {
        return Err(RuntimeError::NotFound(format!(
            "error looking up volume plugin {}: plugin \"{0}\" not found",
            spec.driver
        )));
    }
    VolumeBacking::parse(&spec.driver_opts)
        .map_err(|error| RuntimeError::InvalidArgument(format!("create {name}: {error}")))?;
    if !name.is_empty() && check_name("volume", name).is_err() {
        return Err(RuntimeError::InvalidArgument(format!(
            "create {name}: \"{name}\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
             absolute path"
        )));
    }
    Ok(())
}

impl VolumeBacking {
    /// Reads the options of a volume.
    ///
    /// # Errors
    /// With Docker's texts where it has one.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, SpecError> {
        if let Some(unknown) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(SpecError::invalid(format!("invalid option: {unknown:?}")));
        }
        for (option, needed) in NEEDS {
            let missing = needed.iter().find(|needed| !options.contains_key(**needed));
            if let (true, Some(missing)) = (options.contains_key(option), missing) {
                let text = format!("missing required option: {missing:?}");
                return Err(SpecError::invalid(text));
            }
        }
        let size = options.get("size").map(|text| sized(text)).transpose()?;
        let (Some(kind), Some(device)) = (options.get("type"), options.get("device")) else {
            return Ok(size.unwrap_or(Self::Directory));
        };
        if size.is_some() {
            return Err(SpecError::invalid(
                "invalid option: \"size\" is not supported with \"device\": it has a size of its own \
                 (that of type=tmpfs is o=size=BYTES)",
            ));
        }
        let given = options.get("o").map_or("", String::as_str);
        let words: Vec<String> = given
            .split(',')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect();
        if let Some(own) = words.iter().find(|word| word.starts_with("X-")) {
            return Err(SpecError::invalid(format!("invalid option: {own:?}")));
        }
        let binds = |word: &String| matches!(word.as_str(), "bind" | "rbind");
        if words.iter().any(binds) {
            return bind(device, &words);
        }
        if coracle_nbd::Uri::is_meant(device) {
            return crate::disks::disk(kind, device, words);
        }
        match kind.as_str() {
            "" | "none" | "bind" => {
                return Err(SpecError::invalid(format!(
                    "invalid option: type={kind:?} needs o=bind"
                )));
            }
            "tmpfs" => drop(crate::tmpfs_options(given)?),
            "nfs" | "nfs4" => nfs(device, &words)?,
            _ => {}
        }
        Ok(Self::FileSystem {
            kind: kind.clone(),
            device: device.clone(),
            options: words,
        })
    }
}

/// No limit is a directory, as with Docker.
fn sized(text: &str) -> Result<VolumeBacking, SpecError> {
    match crate::size::bytes(text)? {
        0 => Ok(VolumeBacking::Directory),
        bytes if SIZES.contains(&bytes) => Ok(VolumeBacking::Sized { bytes }),
        _ => Err(SpecError::invalid(format!(
            "invalid size: '{text}': a volume's is between 1m and 8t"
        ))),
    }
}

fn bind(device: &str, words: &[String]) -> Result<VolumeBacking, SpecError> {
    if !Path::new(device).is_absolute() || device.contains('\0') {
        return Err(SpecError::invalid(format!(
            "invalid option: device={device:?} of a bind must be an absolute path"
        )));
    }
    let (mut read_only, mut recursive, mut propagation) = (false, false, String::new());
    for word in words {
        match word.as_str() {
            "bind" | "rw" | "defaults" => {}
            "rbind" => recursive = true,
            "ro" => read_only = true,
            word if PROPAGATIONS.contains(&word) => word.clone_into(&mut propagation),
            other => {
                return Err(SpecError::invalid(format!(
                    "invalid option: o={other:?} is not supported with o=bind"
                )));
            }
        }
    }
    Ok(VolumeBacking::Bind {
        device: device.to_owned(),
        read_only,
        recursive,
        propagation,
    })
}

/// The kernel's client takes the server's address in numbers only, and says little of what it lacks.
fn nfs(device: &str, words: &[String]) -> Result<(), SpecError> {
    if !device.contains(':') {
        return Err(SpecError::invalid(format!(
            "invalid option: device={device:?} of nfs must be :/PATH"
        )));
    }
    let address = words.iter().find_map(|word| word.strip_prefix("addr="));
    match address.map(str::parse::<IpAddr>) {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) => Err(SpecError::invalid(format!(
            "invalid option: addr={:?} of nfs must be an IP address: names are not looked up",
            address.unwrap_or_default()
        ))),
        None => Err(SpecError::invalid(
            "missing required option: \"addr\" of nfs",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<VolumeBacking, String> {
        let options = pairs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()));
        VolumeBacking::parse(&options.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_dockers() {
        assert_eq!(parse(&[]), Ok(VolumeBacking::Directory));
        for (pairs, text) in [
            (&[("x", "y")][..], "invalid option: \"x\""),
            (&[("type", "tmpfs")], "missing required option: \"device\""),
            (&[("device", "/x")], "missing required option: \"type\""),
            (&[("o", "bind")], "missing required option: \"device\""),
            (&[("size", "")], "invalid size: ''"),
            (&[("size", "10x")], "invalid suffix: 'x'"),
            (
                &[("size", "1023k")],
                "invalid size: '1023k': a volume's is between 1m and 8t",
            ),
            (
                &[("size", "9t")],
                "invalid size: '9t': a volume's is between 1m and 8t",
            ),
            (
                &[("size", "1m"), ("type", "tmpfs")],
                "missing required option: \"device\"",
            ),
        ] {
            assert_eq!(parse(pairs), Err(text.to_owned()), "{pairs:?}");
        }
    }

    #[test]
    fn sizes() {
        let size = |size| parse(&[("size", size)]);
        assert_eq!(size("0"), Ok(VolumeBacking::Directory));
        assert_eq!(size("10m"), Ok(VolumeBacking::Sized { bytes: 10 << 20 }));
        assert_eq!(size("8TiB"), Ok(VolumeBacking::Sized { bytes: 8 << 40 }));
        let both = [("size", "1g"), ("type", "tmpfs"), ("device", "tmpfs")];
        let error = parse(&both).unwrap_err();
        assert!(error.contains("o=size="), "{error}");
    }

    #[test]
    fn binds() {
        let bind = |o| parse(&[("type", "none"), ("device", "/srv"), ("o", o)]);
        let is = |read_only, recursive, propagation: &str| {
            Ok(VolumeBacking::Bind {
                device: "/srv".into(),
                read_only,
                recursive,
                propagation: propagation.into(),
            })
        };
        assert_eq!(bind("bind"), is(false, false, ""));
        assert_eq!(bind("rbind,ro,rslave"), is(true, true, "rslave"));
        assert!(bind("ro").is_err() && bind("bind,size=3").is_err());
        assert!(parse(&[("type", "none"), ("device", "srv"), ("o", "bind")]).is_err());
    }

    #[test]
    fn file_systems() {
        let of = |kind, device, o| parse(&[("type", kind), ("device", device), ("o", o)]);
        let VolumeBacking::FileSystem { options, .. } =
            of("tmpfs", "tmpfs", "size=100m,uid=1000").unwrap()
        else {
            panic!("not a file system");
        };
        assert_eq!(options, ["size=100m", "uid=1000"]);
        assert!(of("tmpfs", "tmpfs", "size=100m,nonsense=1").is_err());
        assert!(of("nfs", ":/export", "addr=10.0.0.1,vers=4,soft").is_ok());
        assert!(of("nfs", ":/export", "addr=fd00::1,nolock").is_ok());
        for (device, o) in [
            (":/x", "vers=4"),
            (":/x", "addr=server"),
            ("/x", "addr=10.0.0.1"),
        ] {
            assert!(of("nfs", device, o).is_err(), "{device} {o}");
        }
        assert!(of("ext4", "/dev/sdz", "noatime").is_ok());
        assert!(of("ext4", "/dev/sdz", "X-coracle.host").is_err());
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(o in "[a-z=,0-9:/]{0,32}", kind in "[a-z]{0,5}") {
            let _ = parse(&[("type", &kind), ("device", ":/x"), ("o", &o)]);
        }
    }
}
