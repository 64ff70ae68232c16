//! Volumes that are disks of servers: plugged into the machine for the first of its containers that
//! uses one, mounted once, and gone with the last.
//!
//! The machine's owner does that for all, also for those who joined it ([`super::pod`]): a file system
//! is mounted at one place in the guest, of which each container gets a bind mount. A disk is let go only
//! when nothing of it is mounted any more and all is written.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coracle_guest::Agent;
use coracle_guest::Mount;
use coracle_guest::Source;
use coracle_task::ErrorKind;
use coracle_vmm::Disk;
use coracle_vmm::Machine;
use coracle_vmm::NbdUri;
use oci_spec::runtime::LinuxDeviceCgroup;
use oci_spec::runtime::LinuxDeviceType;
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde::Serialize;

use super::from_guest;
use super::machine::complain;
use super::setup::GUEST;
use crate::Result;
use crate::SandboxError;

/// The mark of a mount whose source is a server's disk. What stands before it among the options is the
/// file system's, what stands after it the container's own.
const DISK: &str = "X-coracle.disk";
/// The type of a mount that is the device itself.
const RAW: &str = "block";
/// How long the guest may take to write what is to be on the disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a container wants mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Where the disk is: an NBD URI.
    uri: String,
    /// Its file system, or `block`.
    kind: String,
    /// The file system's options; `ro` for a disk that nobody writes to.
    options: Vec<String>,
}

/// Where it is in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mounted {
    target: String,
    /// The numbers of a device.
    device: Option<(u32, u32)>,
}

/// The disks of servers that a machine has.
pub(crate) struct Volumes {
    machine: Arc<dyn Machine>,
    agent: Agent,
    /// Held while they come and go.
    all: tokio::sync::Mutex<All>,
}

#[derive(Default)]
struct All {
    attached: Vec<Attached>,
    last: u32,
}

struct Attached {
    volume: Volume,
    serial: String,
    place: Mounted,
    users: usize,
}

/// A mount's options, before the mark and after it.
fn split(mount: &oci_spec::runtime::Mount) -> Option<(&[String], &[String])> {
    let options = mount.options().as_deref()?;
    let mark = options.iter().position(|option| option == DISK)?;
    Some((options.get(..mark)?, options.get(mark + 1..)?))
}

/// What a container's specification wants, in the order of its mounts.
pub(crate) fn wanted(spec: &Spec) -> Vec<Volume> {
    let mounts = spec.mounts().iter().flatten();
    let volume = |mount: &oci_spec::runtime::Mount| {
        let (options, _) = split(mount)?;
        let source = mount.source().as_deref().unwrap_or(Path::new(""));
        Some(Volume {
            uri: source.to_string_lossy().into_owned(),
            kind: mount.typ().clone().unwrap_or_default(),
            options: options.to_vec(),
        })
    };
    mounts.filter_map(volume).collect()
}

/// Has the mounts refer to where the volumes are.
pub(crate) fn refer(spec: &mut Spec, places: &[Mounted]) -> Result<()> {
    let failed = || SandboxError::internal("a volume has no place");
    let mut places = places.iter();
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    let mut rules = Vec::new();
    for mount in &mut mounts {
        let Some((_, own)) = split(mount) else {
            continue;
        };
        let place = places.next().ok_or_else(failed)?;
        let read_only = own.iter().any(|option| option == "ro");
        rules.extend(place.device.map(|numbers| rule(numbers, read_only)));
        let access = if read_only { "ro" } else { "rw" };
        mount.set_options(Some(vec!["bind".into(), "rprivate".into(), access.into()]));
        mount.set_typ(Some("bind".into()));
        mount.set_source(Some(place.target.clone().into()));
    }
    spec.set_mounts(Some(mounts));
    if !rules.is_empty()
        && let Some(linux) = spec.linux_mut()
    {
        let mut resources = linux.resources().clone().unwrap_or_default();
        let mut devices = resources.devices().clone().unwrap_or_default();
        devices.extend(rules);
        resources.set_devices(Some(devices));
        linux.set_resources(Some(resources));
    }
    Ok(())
}

fn rule((major, minor): (u32, u32), read_only: bool) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    let access = if read_only { "r" } else { "rw" };
    rule.set_allow(true)
        .set_typ(Some(LinuxDeviceType::B))
        .set_major(Some(major.into()))
        .set_minor(Some(minor.into()))
        .set_access(Some(access.into()));
    rule
}

impl Volumes {
    pub(crate) fn new(machine: Arc<dyn Machine>, agent: Agent) -> Self {
        Self {
            machine,
            agent,
            all: Default::default(),
        }
    }

    /// Attaches those that aren't, for one more user. Nothing is attached for it if that fails.
    pub(crate) async fn enter(&self, wanted: &[Volume]) -> Result<Vec<Mounted>> {
        let mut all = self.all.lock().await;
        let mut places = Vec::new();
        for (index, volume) in wanted.iter().enumerate() {
            match self.attach(&mut all, volume).await {
                Ok(place) => places.push(place),
                Err(error) => {
                    let before = wanted.get(..index).unwrap_or_default();
                    self.detach(&mut all, before, true).await;
                    return Err(error);
                }
            }
        }
        Ok(places)
    }

    /// Takes away those that nobody uses any more; with `unplug` false the machine ends anyhow.
    pub(crate) async fn leave(&self, volumes: &[Volume], unplug: bool) {
        let mut all = self.all.lock().await;
        self.detach(&mut all, volumes, unplug).await;
    }

    /// Where they are mounted.
    pub(crate) async fn targets(&self) -> Vec<String> {
        let all = self.all.lock().await;
        let targets = all.attached.iter().map(|disk| disk.place.target.clone());
        targets.collect()
    }

    async fn attach(&self, all: &mut All, volume: &Volume) -> Result<Mounted> {
        let same = |disk: &&mut Attached| disk.volume.uri == volume.uri;
        if let Some(disk) = all.attached.iter_mut().find(same) {
            if disk.volume != *volume {
                let message = format!(
                    "{} is attached to the virtual machine with type={} and o={} already, and can't \
                     be with type={} and o={} too",
                    volume.uri,
                    disk.volume.kind,
                    disk.volume.options.join(","),
                    volume.kind,
                    volume.options.join(",")
                );
                return Err(SandboxError::state(message));
            }
            disk.users += 1;
            return Ok(disk.place.clone());
        }
        let uri = volume.uri.parse::<NbdUri>();
        let uri = uri.map_err(|error| refused(error.to_string()))?;
        all.last = all.last.saturating_add(1);
        let serial = format!("v{}", all.last);
        let disk = Disk {
            source: coracle_vmm::Source::Nbd(uri),
            read_only: volume.options.iter().any(|option| option == "ro"),
            serial: serial.clone(),
        };
        let plugged = self.machine.add_disk(disk).await;
        plugged.map_err(|error| {
            SandboxError::internal(format!("cannot attach the volume's disk: {error}"))
        })?;
        match self.mount(volume, &serial).await {
            Ok(place) => {
                all.attached.push(Attached {
                    volume: volume.clone(),
                    serial,
                    place: place.clone(),
                    users: 1,
                });
                Ok(place)
            }
            Err(error) => {
                self.unplug(&serial).await;
                Err(SandboxError::new(
                    error.kind,
                    format!(
                        "cannot mount {} as {}: {}",
                        volume.uri, volume.kind, error.message
                    ),
                ))
            }
        }
    }

    /// Mounts a disk that is plugged in.
    async fn mount(&self, volume: &Volume, serial: &str) -> Result<Mounted> {
        let target = format!("{GUEST}/volumes/{serial}");
        let is_raw = volume.kind == RAW;
        let mount = Mount {
            source: Source::Disk(serial.to_owned()),
            target: target.clone(),
            kind: if is_raw { "none" } else { &volume.kind }.to_owned(),
            options: match is_raw {
                true => vec!["bind".into()],
                false => volume.options.clone(),
            },
        };
        let mounted = tokio::time::timeout(PATIENCE, self.agent.mount(&mount)).await;
        mounted.map_err(|_| late())?.map_err(from_guest)?;
        let device = match is_raw {
            true => Some(self.numbers(serial).await?),
            false => None,
        };
        Ok(Mounted { target, device })
    }

    /// The numbers that the guest gave a disk.
    async fn numbers(&self, serial: &str) -> Result<(u32, u32)> {
        let stats = self.agent.machine_stats().await.map_err(from_guest)?;
        let mut disks = stats.disks.into_iter();
        let disk = disks.find(|disk| disk.serial == serial);
        let strange = || SandboxError::internal("the virtual machine has lost a disk");
        let file = format!("/sys/block/{}/dev", disk.ok_or_else(strange)?.name);
        let text = self.agent.read_file(&file).await.map_err(from_guest)?;
        let text = String::from_utf8_lossy(&text);
        let numbers = text.trim().split_once(':');
        let numbers = numbers.and_then(|(major, minor)| {
            let number = |text: &str| text.parse::<u32>().ok();
            number(major).zip(number(minor))
        });
        numbers.ok_or_else(strange)
    }

    async fn detach(&self, all: &mut All, volumes: &[Volume], unplug: bool) {
        for volume in volumes {
            let same = |disk: &Attached| disk.volume.uri == volume.uri;
            let Some(index) = all.attached.iter().position(same) else {
                continue;
            };
            if let Some(disk) = all.attached.get_mut(index) {
                disk.users = disk.users.saturating_sub(1);
                if disk.users > 0 {
                    continue;
                }
            }
            let disk = all.attached.swap_remove(index);
            if let Err(error) = self.settle(&disk).await {
                complain(&format!("{}: {error}", disk.volume.uri));
            }
            if unplug {
                self.unplug(&disk.serial).await;
            }
        }
    }

    /// Unmounts a disk, and waits until all is written to it.
    async fn settle(&self, disk: &Attached) -> Result<()> {
        let settled = async {
            let agent = &self.agent;
            let unmounted = agent.unmount(&disk.place.target).await;
            let settled = agent.settle_disk(&disk.serial).await;
            unmounted.and(settled).map_err(from_guest)
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        settled.unwrap_or_else(|_| Err(late()))
    }

    async fn unplug(&self, serial: &str) {
        // The serial is never used again, and the place stays taken if the guest holds on to it.
        if let Err(error) = self.machine.remove_disk(serial).await {
            complain(&error);
        }
    }
}

fn refused(message: String) -> SandboxError {
    SandboxError::new(ErrorKind::InvalidArgument, message)
}

fn late() -> SandboxError {
    SandboxError::internal("the virtual machine did not answer in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mounts: &str) -> Spec {
        let text = format!(r#"{{"ociVersion": "1.0.2", "mounts": {mounts}, "linux": {{}}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn mounts_of_disks_become_binds_of_their_places() {
        let mut spec = spec(
            r#"[{"destination": "/a", "type": "ext4", "source": "nbd://h:1/a",
                 "options": ["noatime", "X-coracle.disk", "ro"]},
                {"destination": "/b", "type": "bind", "source": "/b", "options": ["bind"]},
                {"destination": "/c", "type": "block", "source": "nbd://h:1/c",
                 "options": ["X-coracle.disk", "rw"]}]"#,
        );
        let volumes = wanted(&spec);
        assert_eq!(volumes.len(), 2);
        assert_eq!(volumes[0].options, ["noatime"]);
        assert_eq!(
            (volumes[1].uri.as_str(), volumes[1].kind.as_str()),
            ("nbd://h:1/c", RAW)
        );
        let place = |target: &str, device| Mounted {
            target: target.into(),
            device,
        };
        let places = [place("/v1", None), place("/v2", Some((253, 7)))];
        assert!(refer(&mut spec.clone(), &places[..1]).is_err());
        refer(&mut spec, &places).unwrap();
        let mounts = spec.mounts().clone().unwrap();
        let shown = |index: usize| {
            let mount: &oci_spec::runtime::Mount = &mounts[index];
            let options = mount.options().clone().unwrap().join(",");
            (mount.source().clone().unwrap(), options)
        };
        assert_eq!(shown(0), ("/v1".into(), "bind,rprivate,ro".into()));
        assert_eq!(shown(1), ("/b".into(), "bind".into()));
        assert_eq!(shown(2), ("/v2".into(), "bind,rprivate,rw".into()));
        let resources = spec.linux().clone().unwrap().resources().clone().unwrap();
        let rules = resources.devices().clone().unwrap();
        assert_eq!((rules[0].major(), rules[0].minor()), (Some(253), Some(7)));
        assert!(wanted(&spec).is_empty());
    }
}
