//! Secrets and configs as files in a container: where, whose, and with which permissions.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use coracle_runtime::secret::FileReference;
use coracle_runtime::spec::HostConfig;

use crate::SpecError;

/// Names secrets for clients that have no option for them:
/// `NAME[:TARGET[:MODE[:UID[:GID]]]]`, separated by commas.
pub const SECRETS_ANNOTATION: &str = "coracle.secrets";
/// The same for configs.
pub const CONFIGS_ANNOTATION: &str = "coracle.configs";

/// The most of them in one container.
const MAX_FILES: usize = 256;
/// The permissions of those that name none.
const MODE: u32 = 0o444;

/// Where a file's content comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A secret.
    Secret,
    /// A config.
    Config,
}

impl FileKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }

    const fn directory(self) -> &'static str {
        match self {
            Self::Secret => "/run/secrets",
            Self::Config => "/",
        }
    }
}

/// A file that a container is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    /// What it is made of.
    pub kind: FileKind,
    /// The secret's or config's name or id.
    pub source: String,
    /// Where: absolute, without `.` and `..`.
    pub destination: PathBuf,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permissions, at most 0o777.
    pub mode: u32,
}

/// All secrets and configs that a configuration asks for, by its options and its annotations.
///
/// # Errors
/// Whatever makes no sense, by its name.
pub fn secret_files(host: &HostConfig) -> Result<Vec<SecretFile>, SpecError> {
    let mut files = Vec::new();
    for (kind, listed, annotation) in [
        (FileKind::Secret, &host.secrets, SECRETS_ANNOTATION),
        (FileKind::Config, &host.configs, CONFIGS_ANNOTATION),
    ] {
        for reference in listed {
            files.push(read(kind, reference)?);
        }
        let text = host.annotations.get(annotation).map_or("", String::as_str);
        for text in text
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            let reference = parse(text).map_err(|problem| {
                SpecError::invalid(format!("annotation {annotation}: {problem}"))
            })?;
            files.push(read(kind, &reference)?);
        }
    }
    if files.len() > MAX_FILES {
        return Err(SpecError::invalid(format!(
            "too many secrets and configs: at most {MAX_FILES} in one container"
        )));
    }
    let mut seen = BTreeSet::new();
    for file in &files {
        if !seen.insert(&file.destination) {
            return Err(SpecError::invalid(format!(
                "Duplicate mount point: {}",
                file.destination.display()
            )));
        }
    }
    Ok(files)
}

fn parse(text: &str) -> Result<FileReference, String> {
    let mut parts = text.split(':');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (source, target, mode, uid, gid) = (next(), next(), next(), next(), next());
    if parts.next().is_some() {
        return Err(format!("{text:?} is not NAME[:TARGET[:MODE[:UID[:GID]]]]"));
    }
    let mode = match mode.as_str() {
        "" => None,
        mode => Some(u32::from_str_radix(mode, 8).map_err(|_| format!("invalid mode {mode:?}"))?),
    };
    Ok(FileReference {
        source,
        target,
        uid,
        gid,
        mode,
    })
}

fn read(kind: FileKind, reference: &FileReference) -> Result<SecretFile, SpecError> {
    let FileReference {
        source,
        target,
        uid,
        gid,
        mode,
    } = reference;
    let word = kind.name();
    if source.is_empty() {
        return Err(SpecError::invalid(format!(
            "invalid {word}: its name is missing"
        )));
    }
    let invalid =
        |problem: String| SpecError::invalid(format!("invalid {word} {source}: {problem}"));
    let id = |what: &str, text: &str| match text {
        "" => Ok(0),
        text => text
            .parse::<u32>()
            .ok()
            // chown(2) takes it for "leave it as it is".
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| {
                invalid(format!(
                    "{what} {text:?} is not a number of a user or group"
                ))
            }),
    };
    let mode = mode.unwrap_or(MODE);
    if mode > 0o777 {
        return Err(invalid(format!("mode {mode:o} is not below 1000")));
    }
    Ok(SecretFile {
        kind,
        source: source.clone(),
        destination: destination(kind, if target.is_empty() { source } else { target })
            .ok_or_else(|| invalid(format!("target {target:?} is not the path of a file")))?,
        uid: id("uid", uid)?,
        gid: id("gid", gid)?,
        mode,
    })
}

fn destination(kind: FileKind, target: &str) -> Option<PathBuf> {
    if target.contains('\0') || target.ends_with('/') {
        return None;
    }
    let mut path = PathBuf::from(kind.directory());
    for part in Path::new(target).components() {
        match part {
            Component::RootDir => path = PathBuf::from("/"),
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let directories = [Path::new("/"), Path::new("/run/secrets")];
    (!directories.contains(&path.as_path())).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(annotation: &str) -> HostConfig {
        HostConfig {
            annotations: [(SECRETS_ANNOTATION.to_owned(), annotation.to_owned())].into(),
            ..HostConfig::default()
        }
    }

    fn file(destination: &str, mode: u32, uid: u32, gid: u32) -> SecretFile {
        SecretFile {
            kind: FileKind::Secret,
            source: "db".into(),
            destination: destination.into(),
            uid,
            gid,
            mode,
        }
    }

    #[test]
    fn annotations() {
        let one = |text: &str| secret_files(&host(text)).unwrap().remove(0);
        assert_eq!(one("db"), file("/run/secrets/db", 0o444, 0, 0));
        assert_eq!(one("db:x"), file("/run/secrets/x", 0o444, 0, 0));
        assert_eq!(one("db:/etc//./x"), file("/etc/x", 0o444, 0, 0));
        assert_eq!(one("db::0400:7:8"), file("/run/secrets/db", 0o400, 7, 8));
        assert_eq!(secret_files(&host("a, b ,c:/c")).unwrap().len(), 3);
        for bad in [
            ":x",
            "a:..",
            "a:../x",
            "a:/",
            "a:x/",
            "a::8",
            "a::1000",
            "a:::-1",
            "a:::4294967295",
            "a::::x",
            "a:b:1:2:3:4",
            "a,a",
            "a:x,b:x",
            "a:/run/secrets",
        ] {
            assert!(secret_files(&host(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn configs_are_at_the_root() {
        let config = FileReference {
            source: "c".into(),
            ..FileReference::default()
        };
        let host = HostConfig {
            configs: vec![config],
            ..HostConfig::default()
        };
        let files = secret_files(&host).unwrap();
        assert_eq!(files[0].destination, Path::new("/c"));
        assert_eq!(files[0].kind, FileKind::Config);
    }

    proptest::proptest! {
        #[test]
        fn targets_stay_inside(text in "[a-z./:,0-9]{0,24}") {
            for file in secret_files(&host(&text)).unwrap_or_default() {
                proptest::prop_assert!(file.destination.is_absolute());
                let plain = file.destination.components()
                    .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
                proptest::prop_assert!(plain && file.mode <= 0o777);
            }
        }
    }
}
