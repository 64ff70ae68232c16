//! What the guest tells without being asked.

use serde::{Deserialize, Serialize};

/// Something happened in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A process ended, and nothing of it is left. Told once for each process that was started;
    /// [`Agent`](crate::Agent) keeps it for [`Started::exit`](crate::Started::exit).
    Exited {
        /// Of which container.
        container: String,
        /// Which exec; `None`: the container's first.
        exec: Option<String>,
        /// Its exit status, or 128 + signal.
        code: i32,
        /// The signal that killed it, if one did.
        signal: Option<i32>,
        /// Whether any process of the container was ever killed for want of memory.
        oom_killed: bool,
    },
    /// A process of a container was killed for want of memory.
    Oom {
        /// Which container.
        container: String,
    },
    /// Somebody connected to a socket of [`Listen`](crate::Listen); it waits for
    /// [`Agent::accept`](crate::Agent::accept).
    Connected {
        /// The socket's number.
        relay: u32,
        /// The connection's number.
        connection: u32,
    },
    /// Something that the agent could not do and nobody waits for. For the log.
    Warning(String),
}
