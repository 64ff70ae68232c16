//! Disks and network cards that come and go while the machine runs.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use coracle_nbd::Uri;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::error::{Error, Result};
use crate::qemu::command::{PORTS, disk_id, port};
use crate::qemu::machine::QemuMachine;
use crate::qemu::nbd::{self, Relay};
use crate::spec::{Disk, MacAddr, Nic, Slot, Source};

/// The numbers of the sets of descriptors that slots are filled from: above those that QEMU gives itself.
const FILLED_SETS: usize = 1 << 20;

/// How long a guest may take to let a device go.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is in the machine's ports.
#[derive(Debug, Default)]
pub(super) struct Plugs {
    ports: [Option<Plug>; PORTS],
    /// What was put into slots while the machine ran, in their order.
    filled: [Option<File>; Slot::ALL.len()],
}

/// A plugged device.
#[derive(Debug)]
struct Plug {
    /// Its name: a serial or an address.
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Disk {
        /// To measure it, if it can be written to.
        file: Option<File>,
        /// Where QEMU reaches its server by.
        relay: Option<Relay>,
    },
    Nic,
    Memory,
}

impl Plugs {
    pub(super) fn is_empty(&self) -> bool {
        self.ports.iter().all(Option::is_none) && self.filled.iter().all(Option::is_none)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.ports
            .iter()
            .position(|plug| plug.as_ref().is_some_and(|plug| plug.name == name))
    }

    /// A free port for a device that isn't there yet.
    fn free(&self, what: &str, name: &str) -> Result<usize> {
        if self.find(name).is_some() {
            return Err(Error::Invalid(format!(
                "the machine has a {what} {name} already"
            )));
        }
        self.ports.iter().position(Option::is_none).ok_or_else(|| {
            Error::Unsupported(format!(
                "no place is left for {what} {name}: a machine has {PORTS} for network cards, disks and \
                 memory that come while it runs"
            ))
        })
    }

    /// Takes a port for a memory device.
    pub(super) fn reserve(&mut self, name: &str) -> Result<usize> {
        let port = self.free("memory device", name)?;
        let (name, kind) = (name.to_owned(), Kind::Memory);
        self.set(port, Some(Plug { name, kind }));
        Ok(port)
    }

    /// Gives it back.
    pub(super) fn release(&mut self, port: usize) {
        self.set(port, None);
    }

    fn set(&mut self, port: usize, plug: Option<Plug>) {
        if let Some(place) = self.ports.get_mut(port) {
            *place = plug;
        }
    }
}

fn device_id(name: &str) -> String {
    format!("device-{name}")
}

/// The name of a node that was put into a slot.
fn filled_id(serial: &str) -> String {
    format!("filled-{serial}")
}

impl QemuMachine {
    pub(super) async fn plug_disk(&self, disk: Disk) -> Result<()> {
        disk.check()?;
        let serial = disk.serial.as_str();
        if Slot::ALL.iter().any(|slot| slot.serial() == serial) {
            return Err(Error::Invalid(format!(
                "serial {serial} belongs to a slot of the machine"
            )));
        }
        let mut plugs = self.plugs.lock().await;
        let free = plugs.free("disk", serial)?;
        let node = disk_id(serial);
        let kind = match &disk.source {
            Source::File(file) => self.open_file(&disk, file).await?,
            Source::Nbd(uri) => self.open_nbd(&disk, uri).await?,
        };
        let device = json!({
            "driver": "virtio-blk-pci", "id": device_id(&node), "bus": port(free),
            "drive": node, "serial": serial,
        });
        if let Err(error) = self.qmp.run("device_add", device).await {
            let _ = self
                .qmp
                .run("blockdev-del", json!({"node-name": node}))
                .await;
            return Err(error);
        }
        let name = serial.to_owned();
        plugs.set(free, Some(Plug { name, kind }));
        Ok(())
    }

    /// Makes a node of a file.
    async fn open_file(&self, disk: &Disk, file: &OwnedFd) -> Result<Kind> {
        let serial = &disk.serial;
        let failed = || Error::io(format!("disk {serial}"));
        let file = File::from(file.try_clone().map_err(failed())?);
        let kind = file.metadata().map_err(failed())?.file_type();
        let driver = match () {
            () if kind.is_file() => "file",
            () if kind.is_block_device() => "host_device",
            () => {
                return Err(Error::Unsupported(format!(
                    "disk {serial} is neither a file nor a block device"
                )));
            }
        };
        let added = self.qmp.run_with("add-fd", json!({}), Some(file.as_fd()));
        let set = number(&added.await?, "fdset-id")?;
        let block = json!({
            "driver": driver, "node-name": disk_id(serial),
            "filename": format!("/dev/fdset/{set}"),
            "read-only": disk.read_only, "discard": "unmap", "locking": "off",
        });
        let opened = self.qmp.run("blockdev-add", block).await;
        // The node has a descriptor of its own by now.
        self.qmp.run("remove-fd", json!({"fdset-id": set})).await?;
        opened?;
        Ok(Kind::Disk {
            file: (!disk.read_only).then_some(file),
            relay: None,
        })
    }

    /// Makes a node of a server's disk.
    async fn open_nbd(&self, disk: &Disk, uri: &Uri) -> Result<Kind> {
        let name = format!("coracle-{}", disk_id(&disk.serial));
        let relay = Relay::begin(uri.clone(), &name, &self.life).await?;
        let block = json!({
            "driver": "nbd", "node-name": disk_id(&disk.serial), "export": uri.export,
            "server": {"type": "unix", "path": name, "abstract": true, "tight": true},
            "read-only": disk.read_only, "discard": "unmap",
            "reconnect-delay": nbd::RECONNECT.as_secs(),
        });
        let opened = self.qmp.give("blockdev-add", block, None).await?.wait();
        tokio::pin!(opened);
        let opened = match tokio::time::timeout(nbd::NEGOTIATION, &mut opened).await {
            Ok(opened) => opened.map(drop),
            Err(_) => {
                // QEMU waits for the server, and does nothing else meanwhile.
                drop(relay);
                let _ = opened.await;
                return Err(Error::Timeout(format!("the answer of {uri}")));
            }
        };
        opened.map_err(|error| match error {
            Error::Refused { message, .. } => Error::Server(format!("{uri}: {message}")),
            error => error,
        })?;
        Ok(Kind::Disk {
            file: None,
            relay: Some(relay),
        })
    }

    /// Gives all commands at once: none of the answers decides the next one.
    pub(super) async fn fill(&self, disk: Disk) -> Result<()> {
        let serial = disk.serial.as_str();
        let is_its = |slot: &Slot| slot.serial() == serial && slot.read_only() == disk.read_only;
        let place = Slot::ALL.iter().position(is_its).ok_or_else(|| {
            Error::Invalid(format!("disk {serial} belongs into no slot of a machine"))
        })?;
        let given = disk.file()?;
        let file = File::from(given.try_clone().map_err(Error::io("dup"))?);
        let kind = file
            .metadata()
            .map_err(Error::io(format!("disk {serial}")))?;
        if !kind.is_file() {
            return Err(Error::Unsupported(format!("disk {serial} is no file")));
        }
        let mut plugs = self.plugs.lock().await;
        let filled = plugs.filled.get_mut(place);
        let filled = filled
            .filter(|filled| filled.is_none())
            .ok_or_else(|| Error::Invalid(format!("slot {serial} was filled before")))?;
        let (node, set) = (filled_id(serial), FILLED_SETS + place);
        let block = json!({
            "driver": "file", "node-name": node, "filename": format!("/dev/fdset/{set}"),
            "read-only": disk.read_only, "discard": "unmap", "locking": "off",
        });
        let device = device_id(&disk_id(serial));
        let attach = json!({
            "path": format!("/machine/peripheral/{device}"), "property": "drive", "value": node,
        });
        let fd_set = json!({"fdset-id": set});
        let fd = Some(given.as_fd());
        let answers = [
            self.qmp.give("add-fd", fd_set.clone(), fd).await?,
            self.qmp.give("blockdev-add", block, None).await?,
            self.qmp.give("qom-set", attach, None).await?,
            self.qmp.give("remove-fd", fd_set, None).await?,
        ];
        for answer in answers {
            answer.wait().await?;
        }
        *filled = Some(file);
        // What was there before is of no use, and does no harm.
        let before = json!({"node-name": disk_id(serial)});
        drop(self.qmp.give("blockdev-del", before, None).await?);
        Ok(())
    }

    pub(super) async fn unplug_disk(&self, serial: &str) -> Result<()> {
        let mut plugs = self.plugs.lock().await;
        let port = plugs
            .find(serial)
            .ok_or_else(|| Error::NotFound(format!("plugged disk {serial}")))?;
        let node = disk_id(serial);
        self.unplug(&device_id(&node)).await?;
        // The place is free, whatever becomes of the node. What it is reached by goes after it.
        let _plug = plugs.ports.get_mut(port).and_then(Option::take);
        let node = json!({"node-name": node});
        self.qmp.run("blockdev-del", node).await.map(drop)
    }

    pub(super) async fn plug_nic(&self, nic: Nic) -> Result<()> {
        let name = nic.mac.to_string();
        let mut plugs = self.plugs.lock().await;
        let free = plugs.free("network card", &name)?;
        let id = nic_id(nic.mac);
        let fd = json!({"fdname": id});
        self.qmp
            .run_with("getfd", fd, Some(nic.tap.as_fd()))
            .await?;
        let netdev = json!({"type": "tap", "id": id, "fd": id, "vhost": false});
        if let Err(error) = self.qmp.run("netdev_add", netdev).await {
            // It may have been taken by then.
            let _ = self.qmp.run("closefd", json!({"fdname": id})).await;
            return Err(error);
        }
        let device = json!({
            "driver": "virtio-net-pci", "id": device_id(&id), "bus": port(free),
            "netdev": id, "mac": name, "romfile": "",
        });
        if let Err(error) = self.qmp.run("device_add", device).await {
            let _ = self.qmp.run("netdev_del", json!({"id": id})).await;
            return Err(error);
        }
        let kind = Kind::Nic;
        plugs.set(free, Some(Plug { name, kind }));
        Ok(())
    }

    pub(super) async fn unplug_nic(&self, mac: MacAddr) -> Result<()> {
        let mut plugs = self.plugs.lock().await;
        let port = plugs
            .find(&mac.to_string())
            .ok_or_else(|| Error::NotFound(format!("network card {mac}")))?;
        let id = nic_id(mac);
        self.unplug(&device_id(&id)).await?;
        plugs.set(port, None);
        self.qmp
            .run("netdev_del", json!({"id": id}))
            .await
            .map(drop)
    }

    /// Asks the guest for a device, and waits until it has let it go.
    async fn unplug(&self, id: &str) -> Result<()> {
        let mut events = self.qmp.events();
        self.qmp.run("device_del", json!({"id": id})).await?;
        let gone = async {
            loop {
                match events.recv().await {
                    Ok(event) if event.data.get("device").and_then(Value::as_str) != Some(id) => {}
                    Ok(event) if event.name == "DEVICE_DELETED" => return Ok(()),
                    Ok(event) if event.name == "DEVICE_UNPLUG_GUEST_ERROR" => {
                        return Err(Error::Refused {
                            command: "device_del".into(),
                            message: "the guest keeps the device".into(),
                        });
                    }
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Error::Ended("QEMU hung up".into())),
                }
            }
        };
        tokio::select! {
            gone = tokio::time::timeout(PATIENCE, gone) => {
                gone.map_err(|_| Error::Timeout("the guest's letting go of a device".into()))?
            }
            exit = self.life.ended() => Err(Error::Ended(exit.to_string())),
        }
    }

    pub(super) async fn grow_disk(&self, serial: &str, bytes: u64) -> Result<()> {
        let plugs = self.plugs.lock().await;
        let mut node = disk_id(serial);
        let filled = plugs.filled.get(1).and_then(Option::as_ref);
        let file = if serial == Slot::Layer.serial() {
            match filled {
                Some(file) => {
                    node = filled_id(serial);
                    Some(file.try_clone().map_err(Error::io("dup"))?)
                }
                None => self.layer()?,
            }
        } else {
            let plug = plugs.find(serial).and_then(|port| plugs.ports.get(port));
            match plug.and_then(Option::as_ref).map(|plug| &plug.kind) {
                Some(Kind::Disk {
                    file: Some(file), ..
                }) => Some(file.try_clone().map_err(Error::io("dup"))?),
                Some(Kind::Disk { relay: None, .. }) => {
                    return Err(Error::Invalid(format!("disk {serial} is read-only")));
                }
                Some(Kind::Disk { .. }) => {
                    return Err(Error::Unsupported(format!(
                        "disk {serial} is a server's: only files can be resized"
                    )));
                }
                _ => None,
            }
        };
        let file =
            file.ok_or_else(|| Error::NotFound(format!("disk {serial} that can be resized")))?;
        let found = file
            .metadata()
            .map_err(Error::io(format!("disk {serial}")))?;
        if !found.is_file() {
            return Err(Error::Unsupported(format!(
                "disk {serial} is no file: only files can be resized"
            )));
        }
        if bytes < found.len() || !bytes.is_multiple_of(512) {
            return Err(Error::Invalid(format!(
                "disk {serial} has {} bytes and can only be made larger, by whole sectors of 512",
                found.len()
            )));
        }
        let resize = json!({"node-name": node, "size": bytes});
        self.qmp.run("block_resize", resize).await.map(drop)
    }

    fn layer(&self) -> Result<Option<File>> {
        let copy = |disk: &Disk| -> Result<File> {
            let file: OwnedFd = disk.file()?.try_clone().map_err(Error::io("dup"))?;
            Ok(File::from(file))
        };
        self.spec.layer.as_ref().map(copy).transpose()
    }
}

fn nic_id(mac: MacAddr) -> String {
    format!("nic-{}", mac.to_string().replace(':', ""))
}

fn number(value: &Value, name: &str) -> Result<u64> {
    value
        .get(name)
        .and_then(Value::as_u64)
        .ok_or_else(|| Error::Protocol(format!("an answer without {name}")))
}
