//! systemd-resolved: a file of ours among its settings (resolved.conf(5)). Blocking.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Place;
use crate::config::read_bounded;
use crate::error::{Error, Result};

const FILE: &str = "/etc/systemd/resolved.conf.d/coracle.conf";
const HEADING: &str = "# Made by \"coracle system dns create\", removed by \"coracle system dns \
                       delete\".\n";
const UNIT: &str = "systemd-resolved.service";
/// Most bytes of the file.
const MAX_FILE: u64 = 64 << 10;

/// The host's resolver.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    file: PathBuf,
    systemctl: OsString,
}

impl Default for Resolved {
    fn default() -> Self {
        Self {
            file: FILE.into(),
            systemctl: "systemctl".into(),
        }
    }
}

/// What is written.
pub(super) fn text(place: &Place) -> String {
    let Place { address, domain } = place;
    format!("{HEADING}[Resolve]\nDNS={address}\nDomains=~{domain}\n")
}

impl Resolved {
    /// Whether it runs.
    pub(super) fn is_active(&self) -> bool {
        let mut asked = Command::new(&self.systemctl);
        asked.args(["is-active", "--quiet", UNIT]);
        asked.stdin(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    }

    /// What it has been told, if anything.
    pub(super) fn told(&self) -> Result<Option<String>> {
        match read_bounded(&self.file, MAX_FILE) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The same; an error if somebody else wrote it.
    fn own(&self) -> Result<Option<String>> {
        let told = self.told()?;
        if told.as_ref().is_some_and(|told| !told.starts_with(HEADING)) {
            return Err(Error::advice(
                format!("{} is not of this command's making", self.file.display()),
                "move it away",
            ));
        }
        Ok(told)
    }

    /// Has it send the domain's questions to the daemon. If it can't be told, all is as before.
    pub(super) fn tell(&self, place: &Place) -> Result<()> {
        let before = self.own()?;
        self.write(&text(place))?;
        let told = self.reload();
        if told.is_err() {
            match before {
                Some(before) => self.write(&before)?,
                None => self.remove()?,
            }
        }
        told
    }

    /// Takes that back; whether there was anything.
    pub(super) fn forget(&self) -> Result<bool> {
        if self.own()?.is_none() {
            return Ok(false);
        }
        self.remove()?;
        if self.is_active() {
            self.reload()?;
        }
        Ok(true)
    }

    fn reload(&self) -> Result<()> {
        let mut asked = Command::new(&self.systemctl);
        asked.args(["reload-or-restart", UNIT]).stdin(Stdio::null());
        let output = asked
            .output()
            .map_err(|error| Error::io(self.systemctl.display(), error))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::advice(
            format!("systemd-resolved was not reloaded: {}", said.trim()),
            format!("see: systemctl status {UNIT}"),
        ))
    }

    fn write(&self, text: &str) -> Result<()> {
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        let write = || {
            fs::create_dir_all(directory)?;
            let mut staged = tempfile::NamedTempFile::new_in(directory)?;
            staged.write_all(text.as_bytes())?;
            // resolved runs as a user of its own.
            let readable = fs::Permissions::from_mode(0o644);
            staged.as_file().set_permissions(readable)?;
            staged.as_file().sync_all()?;
            staged.persist(&self.file).map_err(|error| error.error)?;
            fs::File::open(directory)?.sync_all()
        };
        write().map_err(|error| self.failed(error))
    }

    fn remove(&self) -> Result<()> {
        fs::remove_file(&self.file).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> Error {
        let file = self.file.display();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Error::advice(
                format!("{file}: {error}"),
                "settings of the host's resolver are root's: use sudo",
            ),
            _ => Error::io(file, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place {
            address: "127.0.0.1:2053".parse().unwrap(),
            domain: "coracle".into(),
        }
    }

    /// One with a `systemctl` that writes down what it is told, and ends with this.
    fn resolved(directory: &Path, code: u8) -> Resolved {
        let systemctl = directory.join("systemctl");
        let log = directory.join("log");
        let script = format!(
            "#!/bin/sh\necho \"$@\" >>{}\necho why >&2\nexit {code}\n",
            log.display()
        );
        fs::write(&systemctl, script).unwrap();
        fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
        Resolved {
            file: directory.join("resolved.conf.d/coracle.conf"),
            systemctl: systemctl.into(),
        }
    }

    #[test]
    fn told_and_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let resolved = resolved(directory.path(), 0);
        assert!(!resolved.forget().unwrap());
        resolved.tell(&place()).unwrap();
        resolved.tell(&place()).unwrap();
        let told = resolved.told().unwrap().unwrap();
        assert!(
            told.ends_with("[Resolve]\nDNS=127.0.0.1:2053\nDomains=~coracle\n"),
            "{told}"
        );
        let mode = fs::metadata(&resolved.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        assert!(resolved.forget().unwrap());
        assert_eq!(resolved.told().unwrap(), None);
        let left = fs::read_dir(resolved.file.parent().unwrap()).unwrap();
        assert_eq!(left.count(), 0);
        let log = fs::read_to_string(directory.path().join("log")).unwrap();
        let reloads = log.matches("reload-or-restart systemd-resolved.service");
        assert_eq!(reloads.count(), 3, "{log}");
    }

    #[test]
    fn what_fails_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let failing = resolved(directory.path(), 1);
        let error = failing.tell(&place()).unwrap_err().to_string();
        assert!(error.contains("why"), "{error}");
        assert_eq!(failing.told().unwrap(), None);
        let before = format!("{HEADING}[Resolve]\n");
        fs::write(&failing.file, &before).unwrap();
        failing.tell(&place()).unwrap_err();
        assert_eq!(failing.told().unwrap(), Some(before));
    }

    #[test]
    fn a_file_of_somebody_elses_stays() {
        let directory = tempfile::tempdir().unwrap();
        let resolved = resolved(directory.path(), 0);
        fs::create_dir(resolved.file.parent().unwrap()).unwrap();
        fs::write(&resolved.file, "[Resolve]\n").unwrap();
        assert!(resolved.tell(&place()).is_err() && resolved.forget().is_err());
        assert_eq!(fs::read(&resolved.file).unwrap(), b"[Resolve]\n");
    }
}
