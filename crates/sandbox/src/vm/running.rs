//! A machine that runs, as those have it who use it.

use std::path::PathBuf;
use std::sync::Arc;

use coracle_guest::Agent;
use coracle_task::MachineInterface;
use coracle_vmm::Machine;
use tokio::task::JoinSet;

use super::events;
use super::pod;
use super::volumes::Volume;
use super::volumes::Volumes;

/// A machine that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) agent: Agent,
    /// The interfaces that it has.
    pub(crate) interfaces: Arc<tokio::sync::Mutex<Vec<MachineInterface>>>,
    /// Files of this host that were copied into the guest, and where to.
    pub(crate) copies: Arc<[(PathBuf, String)]>,
    /// Whether the machine is another container's.
    pub(crate) is_member: bool,
    /// Those who joined it.
    pub(crate) pod: Option<Arc<pod::Pod>>,
    /// The disks of servers that the machine has, and which of them are its container's; its owner's.
    pub(crate) volumes: Option<(Arc<Volumes>, Arc<[Volume]>)>,
    /// What comes from its sockets, if it has any.
    pub(crate) heard: Option<events::Heard>,
    /// Serves the shares and sockets, and listens to the guest. Ends with the last user.
    pub(super) work: Arc<JoinSet<()>>,
}

impl Running {
    /// The same machine, without what only its container needs.
    pub(super) fn idle(&self, has_emulator: bool) -> Self {
        let work = match has_emulator {
            // Others run by it, for as long as it is served.
            true => self.work.clone(),
            false => Arc::default(),
        };
        Self {
            work,
            ..self.clone()
        }
    }
}
