//! What the suite's guest would see and say.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};
use crate::spec::{Disk, Generation, MacAddr, MachineSpec, ROOM, Slot};

/// How many devices can be plugged in.
const PLACES: usize = 8;

/// What the guest itself takes of its memory.
const OWN: u64 = 20 << 20;

/// What is in a machine.
#[derive(Debug)]
pub(super) struct Devices {
    disks: Vec<Plugged>,
    cards: Vec<MacAddr>,
    /// Bytes at its start, and now.
    memory: (u64, u64),
}

#[derive(Debug)]
struct Plugged {
    serial: String,
    read_only: bool,
    in_slot: bool,
    filled: bool,
    /// None stands for nothing but zeroes.
    file: Option<File>,
}

impl Plugged {
    fn of(disk: &Disk, in_slot: bool) -> Result<Plugged> {
        let file = disk.file()?.try_clone().map_err(Error::io("dup"))?;
        Ok(Plugged {
            serial: disk.serial.clone(),
            read_only: disk.read_only,
            in_slot,
            filled: false,
            file: Some(file.into()),
        })
    }

    fn bytes(&self) -> u64 {
        let length = |file: &File| file.metadata().map_or(0, |found| found.len());
        self.file.as_ref().map_or(Slot::CLAIMED, length)
    }
}

/// Why the guest ended its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaving {
    Off,
    Reboot,
}

impl Devices {
    pub(super) fn of(spec: &MachineSpec) -> Result<Devices> {
        let slots = Slot::ALL.map(|slot| match spec.disk(slot) {
            Some(disk) => Plugged::of(disk, true),
            None => Ok(Plugged {
                serial: slot.serial().into(),
                read_only: slot.read_only(),
                in_slot: true,
                filled: false,
                file: None,
            }),
        });
        Ok(Devices {
            disks: slots.into_iter().collect::<Result<_>>()?,
            cards: Vec::new(),
            memory: (spec.shape.memory, spec.shape.memory),
        })
    }

    pub(super) fn is_bare(&self) -> bool {
        let bare = |disk: &Plugged| disk.in_slot && disk.file.is_none();
        self.cards.is_empty() && self.disks.iter().all(bare)
    }

    fn disk(&mut self, serial: &str) -> Result<&mut Plugged> {
        let found = self.disks.iter_mut().find(|disk| disk.serial == serial);
        found.ok_or_else(|| Error::NotFound(format!("disk {serial}")))
    }

    fn has_room(&self) -> Result<()> {
        let plugged = self.disks.iter().filter(|disk| !disk.in_slot).count();
        match plugged + self.cards.len() < PLACES {
            true => Ok(()),
            false => Err(Error::Unsupported("no place is left".into())),
        }
    }

    pub(super) fn add_disk(&mut self, disk: &Disk) -> Result<()> {
        disk.check()?;
        if self.disk(&disk.serial).is_ok() {
            return Err(Error::Invalid("the serial is taken".into()));
        }
        self.has_room()?;
        self.disks.push(Plugged::of(disk, false)?);
        Ok(())
    }

    pub(super) fn fill(&mut self, disk: &Disk) -> Result<()> {
        let place = self.disk(&disk.serial)?;
        if !place.in_slot || place.filled || place.read_only != disk.read_only {
            return Err(Error::Invalid(
                "it belongs into no slot, or not again".into(),
            ));
        }
        *place = Plugged {
            filled: true,
            ..Plugged::of(disk, true)?
        };
        Ok(())
    }

    pub(super) fn remove_disk(&mut self, serial: &str) -> Result<()> {
        let before = self.disks.len();
        (self.disks).retain(|disk| disk.in_slot || disk.serial != serial);
        match self.disks.len() < before {
            true => Ok(()),
            false => Err(Error::NotFound(format!("plugged disk {serial}"))),
        }
    }

    pub(super) fn resize_disk(&mut self, serial: &str, bytes: u64) -> Result<()> {
        let disk = self.disk(serial)?;
        let file = disk.file.as_ref().filter(|_| !disk.read_only);
        match file {
            Some(file) if bytes >= disk.bytes() && bytes.is_multiple_of(512) => {
                file.set_len(bytes).map_err(Error::io("growing the disk"))
            }
            _ => Err(Error::Invalid("a disk to write to grows by sectors".into())),
        }
    }

    pub(super) fn add_card(&mut self, mac: MacAddr) -> Result<()> {
        if self.cards.contains(&mac) {
            return Err(Error::Invalid("the address is taken".into()));
        }
        self.has_room()?;
        self.cards.push(mac);
        Ok(())
    }

    pub(super) fn remove_card(&mut self, mac: MacAddr) -> Result<()> {
        let at = self.cards.iter().position(|card| *card == mac);
        let at = at.ok_or_else(|| Error::NotFound(format!("network card {mac}")))?;
        self.cards.remove(at);
        Ok(())
    }

    pub(super) fn set_memory(&mut self, bytes: u64) -> Result<()> {
        if !(OWN..=self.memory.0 + ROOM).contains(&bytes) {
            return Err(Error::Invalid("too little, or too much".into()));
        }
        self.memory.1 = bytes;
        Ok(())
    }

    /// The answer to a line, or that there is none.
    pub(super) fn answer(&mut self, line: &str) -> Result<String, Leaving> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let free = self.memory.1.saturating_sub(OWN);
        let answer = match word {
            "ping" => Some("pong".into()),
            "disks" => Some(self.listed()),
            "nics" => Some(self.cards.iter().map(|mac| format!("{mac} ")).collect()),
            "random" => Generation::fresh()
                .ok()
                .map(|bytes| bytes.to_string().replace('-', "")),
            "memory" => Some((self.memory.0 - OWN).to_string()),
            "free" => Some(free.to_string()),
            "generation" | "reseeded" => Some("yes".into()),
            "read" => self.read(rest),
            "write" => self.write(rest),
            "touch" => (rest.parse::<u64>().ok())
                .filter(|count| count << 20 < free)
                .map(|_| "ok".into()),
            "off" => return Err(Leaving::Off),
            "reboot" | "panic" => return Err(Leaving::Reboot),
            _ => Some("what?".into()),
        };
        Ok(answer.unwrap_or_else(|| "error".into()))
    }

    fn listed(&self) -> String {
        let disk =
            |disk: &Plugged| super::super::listed(&disk.serial, disk.bytes(), disk.read_only);
        self.disks.iter().map(|each| disk(each) + " ").collect()
    }

    fn read(&mut self, serial: &str) -> Option<String> {
        let disk = self.disk(serial).ok()?;
        let mut bytes = [0; 16];
        if let Some(file) = &disk.file {
            file.read_exact_at(&mut bytes, 0).ok()?;
        }
        let text = bytes.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn write(&mut self, order: &str) -> Option<String> {
        let (serial, text) = order.split_once(' ')?;
        let disk = self.disk(serial).ok().filter(|disk| !disk.read_only)?;
        disk.file.as_ref()?.write_all_at(text.as_bytes(), 0).ok()?;
        Some("ok".into())
    }
}
