//! How much memory a running machine has.
//!
//! Below its start size a balloon takes it back. Above, devices of memory (virtio-mem) are plugged
//! in as they are needed, so that a machine that never grows has none.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::qemu::command::port;
use crate::qemu::machine::QemuMachine;
use crate::spec::ROOM;

/// The least memory that a guest can be asked to get along with.
const LEAST: u64 = 16 << 20;

/// What a memory device can hold is a multiple of this, and at least this much: a guest's kernel
/// manages memory in such pieces, or smaller ones.
const PIECE: u64 = 128 << 20;

/// What a memory device can hold at least. What the guest doesn't use of it costs next to nothing.
const LEAST_DEVICE: u64 = 1 << 30;

/// How long a guest may take to use memory that it gets.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often it is looked whether it does.
const PAUSE: Duration = Duration::from_millis(50);

/// How much a machine has.
#[derive(Debug)]
pub(super) struct Memory {
    /// Memory devices that were plugged in.
    added: Vec<Added>,
    /// Of the memory at its start the guest is to get along with so many bytes.
    pub(super) balloon: u64,
}

impl Memory {
    pub(super) fn new(bytes: u64) -> Memory {
        Memory {
            added: Vec::new(),
            balloon: bytes,
        }
    }
}

/// A memory device that is plugged in.
#[derive(Debug)]
struct Added {
    id: String,
    capacity: u64,
    /// How much of it the guest was told to use.
    asked: u64,
}

/// How much one more device is to hold, so that there are `wanted` bytes where there is room for `capacity`:
/// each as much as all before it, as places for devices are few.
fn device_size(capacity: u64, wanted: u64) -> u64 {
    let size = wanted.saturating_sub(capacity).max(capacity);
    let size = size.max(LEAST_DEVICE).next_power_of_two();
    size.min(ROOM.saturating_sub(capacity))
}

impl QemuMachine {
    pub(super) async fn resize_memory(&self, bytes: u64) -> Result<()> {
        let base = self.spec.shape.memory;
        if !(LEAST..=base + ROOM).contains(&bytes) {
            return Err(Error::Invalid(format!(
                "this machine's memory can be set to {LEAST} to {} bytes, not {bytes}",
                base + ROOM
            )));
        }
        let mut memory = self.memory.lock().await;
        self.share_out(&mut memory.added, bytes.saturating_sub(base))
            .await?;
        memory.balloon = bytes.min(base);
        let value = json!({"value": memory.balloon});
        self.qmp.run("balloon", value).await.map(drop)
    }

    /// Has the guest use so many bytes beyond its start size.
    async fn share_out(&self, added: &mut Vec<Added>, more: u64) -> Result<()> {
        let more = more.next_multiple_of(PIECE);
        let capacity: u64 = added.iter().map(|device| device.capacity).sum();
        if more > capacity {
            let size = device_size(capacity, more);
            added.push(self.plug_memory(added.len(), size).await?);
        }
        let mut rest = more;
        let mut failed = None;
        for device in added.iter_mut() {
            let asked = rest.min(device.capacity);
            rest -= asked;
            if asked == device.asked {
                continue;
            }
            self.ask(&device.id, asked).await?;
            let before = std::mem::replace(&mut device.asked, asked);
            // What a guest holds on to it gives back later, or never: its limits hold meanwhile.
            if asked > before
                && let Err(error) = self.used(&device.id, asked).await
            {
                self.ask(&device.id, before).await?;
                device.asked = before;
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn ask(&self, id: &str, bytes: u64) -> Result<()> {
        let set = json!({"path": id, "property": "requested-size", "value": bytes});
        self.qmp.run("qom-set", set).await.map(drop)
    }

    /// Waits until the guest uses what it was given.
    async fn used(&self, id: &str, bytes: u64) -> Result<()> {
        let begun = Instant::now();
        loop {
            let get = json!({"path": id, "property": "size"});
            let size = self.qmp.run("qom-get", get).await?;
            if size.as_u64().is_some_and(|size| size >= bytes) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let size = size.as_u64().unwrap_or_default();
                return Err(Error::Unsupported(format!(
                    "the guest's kernel took {size} of {bytes} bytes of more memory: it has no driver \
                     for memory devices (virtio_mem), or too little memory to manage as much"
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Plugs a memory device in that can hold so much; the guest uses none of it yet.
    async fn plug_memory(&self, number: usize, capacity: u64) -> Result<Added> {
        let (id, backend) = (format!("memory-{number}"), format!("more-{number}"));
        let mut plugs = self.plugs.lock().await;
        let free = plugs.reserve(&id)?;
        let object = json!({"qom-type": "memory-backend-ram", "id": backend, "size": capacity});
        let device = json!({
            "driver": "virtio-mem-pci", "id": id, "bus": port(free), "memdev": backend,
            "requested-size": 0, "disable-legacy": "on",
        });
        let plugged = async {
            self.qmp.run("object-add", object).await?;
            if let Err(error) = self.qmp.run("device_add", device).await {
                let gone = json!({"id": backend});
                let _the_first_error_counts = self.qmp.run("object-del", gone).await;
                return Err(error);
            }
            Ok::<_, Error>(Value::Null)
        };
        if let Err(error) = plugged.await {
            plugs.release(free);
            return Err(error);
        }
        Ok(Added {
            id: format!("/machine/peripheral/{id}"),
            capacity,
            asked: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_grows_by_few_devices() {
        const GIB: u64 = 1 << 30;
        assert_eq!(device_size(0, PIECE), LEAST_DEVICE);
        assert_eq!(device_size(0, 3 * GIB), 4 * GIB);
        assert_eq!(device_size(4 * GIB, 5 * GIB), 4 * GIB);
        // Never more than there are addresses for.
        assert_eq!(device_size(GIB, ROOM), ROOM - GIB);
        let (mut capacity, mut devices) = (0, 0);
        while capacity < ROOM {
            capacity += device_size(capacity, capacity + PIECE);
            devices += 1;
        }
        assert_eq!((capacity, devices), (ROOM, 7));
    }
}
