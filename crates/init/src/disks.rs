//! Disks, by the serial numbers that the host gave them.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{During, Result, not_found};

/// How long a disk that was just plugged in may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found before. Asking a disk for its number is a transfer from it.
static FOUND: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);

/// The device with this serial number. Blocks while it isn't there, for some seconds.
pub(crate) fn find(serial: &str) -> Result<PathBuf> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(path) = known(serial) {
            return Ok(path);
        }
        scan()?;
        if let Some(path) = known(serial) {
            return Ok(path);
        }
        if Instant::now() > deadline {
            return Err(not_found(format!("there is no disk {serial}")));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until nothing of the disk is mounted, and all is written to it.
pub(crate) fn settle(serial: &str) -> Result<()> {
    let path = find(serial)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A file system that is mounted has it for itself alone.
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(disk) => {
                return rustix::fs::fsync(disk).during(|| format!("write disk {serial}"));
            }
            Err(Errno::BUSY) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(errno) => return Err(errno).during(|| format!("let disk {serial} go")),
        }
    }
}

fn known(serial: &str) -> Option<PathBuf> {
    let found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let path = found.as_ref()?.get(serial)?.clone();
    path.exists().then_some(path)
}

/// Asks all disks for their numbers.
pub(crate) fn scan() -> Result<()> {
    let disks = list()?;
    let found = disks
        .into_iter()
        .map(|(name, serial)| (serial, PathBuf::from("/dev").join(name)));
    *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.collect());
    Ok(())
}

/// Disks and their numbers.
pub(crate) fn list() -> Result<Vec<(String, String)>> {
    let mut disks = Vec::new();
    let entries = match fs::read_dir("/sys/block") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(disks),
        entries => entries.during(|| "list the disks")?,
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with("vd")
            && let Ok(serial) = fs::read_to_string(entry.path().join("serial"))
        {
            disks.push((name, serial.trim().to_owned()));
        }
    }
    Ok(disks)
}
