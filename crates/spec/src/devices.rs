//! Host devices inside (`--device`, `--device-cgroup-rule`, `--privileged`).

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use coracle_runtime::spec::{DeviceMapping, HostConfig};
use oci_spec::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceType};

use crate::{SpecError, empty};

/// Most device nodes taken from one directory.
const MAX_NODES: usize = 4096;

/// Device nodes inside, and the access rules for them.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    pub(crate) nodes: Vec<LinuxDevice>,
    pub(crate) rules: Vec<LinuxDeviceCgroup>,
}

/// What a container of this configuration gets, beyond the nodes every container has.
pub(crate) fn devices(config: &HostConfig) -> Result<Devices, SpecError> {
    let mut devices = Devices::default();
    if config.privileged {
        devices.rules.push(rule(true, None, None, None, "rwm")?);
        collect(
            Path::new("/dev"),
            Path::new("/dev"),
            "rwm",
            &mut devices,
            false,
        )?;
        return Ok(devices);
    }
    devices.rules.push(rule(false, None, None, None, "rwm")?);
    for (kind, major, minor, access) in DEFAULT_RULES {
        devices
            .rules
            .push(rule(true, Some(kind), major, minor, access)?);
    }
    for mapping in &config.devices {
        add_mapping(mapping, &mut devices)?;
    }
    for text in &config.device_cgroup_rules {
        devices.rules.push(parse_rule(text)?);
    }
    Ok(devices)
}

/// Docker's: making nodes of any kind, and using the harmless ones.
const DEFAULT_RULES: [(LinuxDeviceType, Option<i64>, Option<i64>, &str); 10] = [
    (LinuxDeviceType::C, None, None, "m"),
    (LinuxDeviceType::B, None, None, "m"),
    (LinuxDeviceType::C, Some(1), Some(3), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(5), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(7), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(8), "rwm"),
    (LinuxDeviceType::C, Some(1), Some(9), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(0), "rwm"),
    (LinuxDeviceType::C, Some(5), Some(2), "rwm"),
    (LinuxDeviceType::C, Some(136), None, "rwm"),
];

fn rule(
    allow: bool,
    kind: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> Result<LinuxDeviceCgroup, SpecError> {
    let mut rule: LinuxDeviceCgroup = empty()?;
    rule.set_allow(allow)
        .set_typ(Some(kind.unwrap_or(LinuxDeviceType::A)))
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.to_owned()));
    Ok(rule)
}

/// Which of read, write and mknod are allowed; all, if that isn't said.
pub(crate) fn device_access(mapping: &DeviceMapping) -> Result<&str, SpecError> {
    match mapping.cgroup_permissions.as_str() {
        "" => Ok("rwm"),
        given if given.chars().all(|c| "rwm".contains(c)) => Ok(given),
        given => Err(SpecError::invalid(format!("invalid device mode: {given}"))),
    }
}

fn add_mapping(mapping: &DeviceMapping, devices: &mut Devices) -> Result<(), SpecError> {
    let access = device_access(mapping)?;
    let inside = match mapping.path_in_container.as_str() {
        "" => mapping.path_on_host.as_str(),
        given => given,
    };
    let host = fs::canonicalize(&mapping.path_on_host).map_err(|error| SpecError::Device {
        path: mapping.path_on_host.clone(),
        error,
    })?;
    let before = devices.nodes.len();
    collect(&host, Path::new(inside), access, devices, true)?;
    if devices.nodes.len() == before {
        return Err(SpecError::Device {
            path: mapping.path_on_host.clone(),
            error: std::io::Error::other("not a device node"),
        });
    }
    Ok(())
}

/// Adds a node, or every node below a directory. Without `rules`, access is granted elsewhere.
fn collect(
    host: &Path,
    inside: &Path,
    access: &str,
    devices: &mut Devices,
    rules: bool,
) -> Result<(), SpecError> {
    let mut queue: Vec<(PathBuf, PathBuf)> = vec![(host.to_owned(), inside.to_owned())];
    while let Some((host, inside)) = queue.pop() {
        // Nodes come and go in /dev: one that is gone by now is none.
        let Ok(meta) = fs::symlink_metadata(&host) else {
            continue;
        };
        let kind = meta.file_type();
        if kind.is_dir() {
            // What is mounted below /dev has its own mounts inside.
            let name = host
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if matches!(
                name,
                "pts" | "shm" | "fd" | "mqueue" | ".lxc" | ".lxd-mounts" | ".udev"
            ) {
                continue;
            }
            let entries = fs::read_dir(&host).into_iter().flatten().flatten();
            for entry in entries.take(MAX_NODES) {
                queue.push((entry.path(), inside.join(entry.file_name())));
            }
            continue;
        }
        let typ = if kind.is_char_device() {
            LinuxDeviceType::C
        } else if kind.is_block_device() {
            LinuxDeviceType::B
        } else {
            continue;
        };
        if inside == Path::new("/dev/console") || devices.nodes.len() >= MAX_NODES {
            continue;
        }
        let major = i64::from(rustix::fs::major(meta.rdev()));
        let minor = i64::from(rustix::fs::minor(meta.rdev()));
        let node = LinuxDeviceBuilder::default()
            .path(inside)
            .typ(typ)
            .major(major)
            .minor(minor)
            .file_mode(meta.mode() & 0o7777)
            .uid(meta.uid())
            .gid(meta.gid())
            .build()
            .map_err(|error| SpecError::invalid(error.to_string()))?;
        devices.nodes.push(node);
        if rules {
            devices
                .rules
                .push(rule(true, Some(typ), Some(major), Some(minor), access)?);
        }
    }
    Ok(())
}

/// Reads `c 1:3 rwm`, where numbers may be `*`.
fn parse_rule(text: &str) -> Result<LinuxDeviceCgroup, SpecError> {
    let invalid = || SpecError::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut words = text.split_whitespace();
    let (Some(kind), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid());
    };
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(invalid()),
    };
    let number = |word: &str| match word {
        "*" => Ok(None),
        digits => digits
            .parse::<u32>()
            .map(|n| Some(i64::from(n)))
            .map_err(|_| invalid()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    if access.is_empty() || access.len() > 3 || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(invalid());
    }
    rule(true, Some(kind), number(major)?, number(minor)?, access)
}

/// The numbers of a block device given by path, for I/O limits.
pub(crate) fn device_numbers(path: &str) -> Result<(i64, i64), SpecError> {
    let meta = fs::metadata(path).map_err(|error| SpecError::Device {
        path: path.to_owned(),
        error,
    })?;
    if !meta.file_type().is_block_device() && !meta.file_type().is_char_device() {
        return Err(SpecError::Device {
            path: path.to_owned(),
            error: std::io::Error::other("not a device node"),
        });
    }
    Ok((
        i64::from(rustix::fs::major(meta.rdev())),
        i64::from(rustix::fs::minor(meta.rdev())),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_bad_ones_refused() {
        let rule = parse_rule("c 42:* rmw").unwrap();
        assert_eq!((rule.major(), rule.minor()), (Some(42), None));
        for bad in [
            "",
            "c 1:3",
            "x 1:3 r",
            "c 1 r",
            "c 1:3 q",
            "c 1:3 r r",
            "c a:3 r",
        ] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mapped_device_gets_a_node_and_a_rule() {
        let config = HostConfig {
            devices: vec![DeviceMapping {
                path_on_host: "/dev/null".into(),
                path_in_container: "/dev/void".into(),
                cgroup_permissions: "r".into(),
            }],
            ..Default::default()
        };
        let devices = devices(&config).unwrap();
        assert_eq!(devices.nodes.len(), 1);
        assert_eq!(devices.nodes[0].path(), Path::new("/dev/void"));
        assert_eq!(devices.rules.last().unwrap().access().as_deref(), Some("r"));
    }

    #[test]
    fn what_is_no_device_is_refused_by_path() {
        let config = HostConfig {
            devices: vec![DeviceMapping {
                path_on_host: "/etc/passwd".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        assert!(
            devices(&config)
                .unwrap_err()
                .to_string()
                .contains("/etc/passwd")
        );
    }
}
