//! Volumes, mounts and the root file system.

use clap::Args;
use coracle_docker::container::CreateBody;
use coracle_runtime::spec::Empty;

use super::{mount, pairs, units};
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(next_help_heading = "Storage")]
pub(super) struct StorageOptions {
    /// Bind a host path or volume: SOURCE:TARGET[:OPTIONS], or TARGET for an anonymous volume
    #[arg(short = 'v', long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// Mount: type=bind|volume|tmpfs,source=…,target=…,…
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
    /// Tmpfs: PATH[:OPTIONS]
    #[arg(long, value_name = "PATH")]
    tmpfs: Vec<String>,
    /// Take the mounts of a container: NAME[:ro|rw]
    #[arg(long, value_name = "CONTAINER")]
    volumes_from: Vec<String>,
    /// Driver of volumes that are made on the way
    #[arg(long, value_name = "DRIVER")]
    volume_driver: Option<String>,
    /// Storage driver's option: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    storage_opt: Vec<String>,
    /// Root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
}

impl StorageOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        for text in &self.volume {
            match volume(text)? {
                Volume::Bind(bind) => body.host_config.binds.push(bind),
                Volume::Anonymous(path) => {
                    body.config.volumes.insert(path, Empty {});
                }
            }
        }
        let host = &mut body.host_config;
        host.mounts = self
            .mount
            .iter()
            .map(|text| mount::parse(text))
            .collect::<Result<_>>()?;
        for text in &self.tmpfs {
            let (path, options) = text.split_once(':').unwrap_or((text, ""));
            host.tmpfs.insert(path.to_owned(), options.to_owned());
        }
        host.volumes_from.clone_from(&self.volumes_from);
        host.volume_driver = self.volume_driver.clone().unwrap_or_default();
        host.storage_opt = pairs::strict("--storage-opt", &self.storage_opt)?;
        host.readonly_rootfs = self.read_only;
        if let Some(text) = &self.shm_size {
            host.shm_size =
                units::bytes(text).map_err(|why| Error::option("--shm-size", text, why))?;
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
enum Volume {
    Bind(String),
    Anonymous(String),
}

fn volume(text: &str) -> Result<Volume> {
    let refuse = |why: &str| Error::option("-v, --volume", text, why);
    let Some((source, rest)) = text.split_once(':') else {
        return if text.starts_with('/') {
            Ok(Volume::Anonymous(text.to_owned()))
        } else {
            Err(refuse("want SOURCE:TARGET[:OPTIONS], or an absolute path"))
        };
    };
    if source.is_empty() || rest.is_empty() || rest.starts_with(':') {
        return Err(refuse("empty section between colons"));
    }
    if rest.matches(':').count() > 1 {
        return Err(refuse("too many colons: want SOURCE:TARGET[:OPTIONS]"));
    }
    if source.starts_with('.') {
        return Ok(Volume::Bind(format!("{}:{rest}", absolute(source)?)));
    }
    Ok(Volume::Bind(text.to_owned()))
}

/// A path from here, without `.` and `..`, and without following links (Go's `filepath.Abs`).
pub(super) fn absolute(path: &str) -> Result<String> {
    let here = std::env::current_dir().map_err(|error| Error::io("this directory", error))?;
    let mut whole = std::path::PathBuf::new();
    for part in here.join(path).components() {
        match part {
            std::path::Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    whole
        .into_os_string()
        .into_string()
        .map_err(|_| Error::usage(format!("{path:?} leads to a path that is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read() {
        for text in ["/a:/b", "name:/b:ro", "/a:/b:ro,z"] {
            assert_eq!(volume(text).unwrap(), Volume::Bind(text.to_owned()));
        }
        assert_eq!(volume("/data").unwrap(), Volume::Anonymous("/data".into()));
        let here = std::env::current_dir().unwrap();
        let here = here.to_str().unwrap();
        assert_eq!(
            volume("./x/../y:/b").unwrap(),
            Volume::Bind(format!("{here}/y:/b"))
        );
        assert_eq!(volume(".:/b").unwrap(), Volume::Bind(format!("{here}:/b")));
        for bad in ["", "x", ":", "a:", ":/b", "a::b", "a:/b:ro:x"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }
}
