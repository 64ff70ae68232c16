//! `--mount`.

use coracle_runtime::spec::{BindOptions, Mount, MountDriver, TmpfsOptions, VolumeOptions};

use super::{pairs, units};
use crate::error::{Error, Result};

const OPTION: &str = "--mount";

/// Reads `type=…,source=…,target=…,…`.
pub(super) fn parse(text: &str) -> Result<Mount> {
    let refuse = |why: &str| Error::option(OPTION, text, why);
    let mut mount = Mount {
        kind: "volume".to_owned(),
        ..Mount::default()
    };
    let mut bind = BindOptions::default();
    let mut volume = VolumeOptions::default();
    let mut tmpfs = TmpfsOptions::default();
    // Which of the three were named, to refuse those that don't fit.
    let mut used: Vec<(&str, String)> = Vec::new();
    for field in pairs::fields(OPTION, text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), value),
            None => {
                let key = field.to_ascii_lowercase();
                let alone = ["readonly", "ro", "volume-nocopy", "bind-nonrecursive"];
                if !alone.contains(&key.as_str()) {
                    let why = format!("invalid field {field:?}: must be a key=value pair");
                    return Err(refuse(&why));
                }
                (key, "true")
            }
        };
        let boolean = || {
            pairs::boolean(value)
                .ok_or_else(|| refuse(&format!("invalid value for {key}: {value}")))
        };
        if let Some(kind) = ["bind", "volume", "tmpfs"].into_iter().find(|kind| {
            key.strip_prefix(*kind)
                .is_some_and(|rest| rest.starts_with('-'))
        }) {
            used.push((kind, key.clone()));
        }
        match key.as_str() {
            "type" => mount.kind = value.to_ascii_lowercase(),
            "source" | "src" => value.clone_into(&mut mount.source),
            "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
            "readonly" | "ro" => mount.read_only = boolean()?,
            "consistency" => mount.consistency = value.to_ascii_lowercase(),
            "bind-propagation" => bind.propagation = value.to_ascii_lowercase(),
            "bind-nonrecursive" => bind.non_recursive = boolean()?,
            "bind-create-src" => bind.create_mountpoint = boolean()?,
            "bind-recursive" => recursive(value, &mut bind).map_err(refuse)?,
            "volume-nocopy" => volume.no_copy = boolean()?,
            "volume-subpath" => value.clone_into(&mut volume.subpath),
            "volume-label" => {
                let (key, value) = pairs::split(value);
                volume.labels.insert(key.to_owned(), value.to_owned());
            }
            "volume-driver" => {
                let driver = volume.driver_config.get_or_insert_default();
                value.clone_into(&mut driver.name);
            }
            "volume-opt" => {
                let driver: &mut MountDriver = volume.driver_config.get_or_insert_default();
                let (key, value) = pairs::split(value);
                driver.options.insert(key.to_owned(), value.to_owned());
            }
            "tmpfs-size" => {
                tmpfs.size_bytes = units::bytes(value).map_err(|why| refuse(&why))?;
            }
            "tmpfs-mode" => {
                tmpfs.mode = u32::from_str_radix(value, 8)
                    .map_err(|_| refuse("tmpfs-mode is no octal number"))?;
            }
            _ => return Err(refuse(&format!("unknown option {key:?}"))),
        }
    }
    if mount.target.is_empty() {
        return Err(refuse("target is required"));
    }
    if let Some((_, key)) = used.iter().find(|(kind, _)| *kind != mount.kind) {
        let why = format!("cannot mix '{key}' with mount type '{}'", mount.kind);
        return Err(refuse(&why));
    }
    if mount.kind == "bind" && mount.source.starts_with('.') {
        mount.source = super::storage::absolute(&mount.source)?;
    }
    let named = |kind: &str| used.iter().any(|(own, _)| *own == kind);
    mount.bind_options = named("bind").then_some(bind);
    mount.volume_options = named("volume").then_some(volume);
    mount.tmpfs_options = named("tmpfs").then_some(tmpfs);
    if mount.kind == "bind" && mount.read_only {
        check_read_only(mount.bind_options.as_ref()).map_err(refuse)?;
    } else if mount
        .bind_options
        .as_ref()
        .is_some_and(|bind| bind.read_only_force_recursive)
    {
        return Err(refuse(
            "option 'bind-recursive=readonly' requires 'readonly'",
        ));
    }
    Ok(mount)
}

fn recursive(value: &str, bind: &mut BindOptions) -> Result<(), &'static str> {
    match value {
        "enabled" => {}
        "disabled" => bind.non_recursive = true,
        "writable" => bind.read_only_non_recursive = true,
        "readonly" => bind.read_only_force_recursive = true,
        _ => return Err("bind-recursive must be enabled, disabled, writable or readonly"),
    }
    Ok(())
}

fn check_read_only(bind: Option<&BindOptions>) -> Result<(), &'static str> {
    match bind {
        Some(bind) if bind.read_only_force_recursive && bind.propagation != "rprivate" => {
            Err("option 'bind-recursive=readonly' requires 'bind-propagation=rprivate'")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let mount = parse("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave").unwrap();
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("bind", "/a"));
        assert!(mount.read_only);
        assert_eq!(mount.bind_options.unwrap().propagation, "rslave");
        let mount = parse("source=v,target=/d,\"volume-opt=o=a,b\",volume-nocopy").unwrap();
        let volume = mount.volume_options.unwrap();
        assert!(volume.no_copy);
        assert_eq!(volume.driver_config.unwrap().options["o"], "a,b");
        let mount = parse("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770").unwrap();
        let tmpfs = mount.tmpfs_options.unwrap();
        assert_eq!((tmpfs.size_bytes, tmpfs.mode), (1 << 20, 0o1770));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "type=bind",
            "type=bind,source=/a,target=/b,volume-nocopy",
            "type=tmpfs,target=/t,tmpfs-size=x",
            "type=tmpfs,target=/t,tmpfs-mode=9",
            "target=/t,x=y",
            "target=/t,ro=maybe",
            "target=/t,x",
            "type=bind,src=/a,dst=/b,bind-recursive=x",
            "type=bind,src=/a,dst=/b,bind-recursive=readonly",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
