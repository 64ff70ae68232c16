//! Pods: several containers, each with a shim of its own, in one machine.
//!
//! The shim that started the machine owns it: QMP, the agent's stream, the control group. It listens on
//! a socket beside its own ([`host`]). A shim whose container joins ([`member`]) passes its disks over a
//! connection to that socket and gets a stream to the agent, which serves it as a session of its own
//! (`coracle_guest`, "Sessions"), so that all else is as with a machine of its own.
//!
//! ```text
//!   member's shim ── control: disks, end ──▶ owner's shim ── QMP ─────▶ QEMU
//!        └────────── stream ─────────────────▶ └─ channel of ─ stream ─▶ agent
//! ```
//!
//! The connection is the membership: when the member's end is closed, by whatever, the guest ends what
//! the session made, and the disks are unplugged; when the owner's end is closed, the machine is gone.
//! The machine lives as long as its owner's container or any member. Each member's bundle has a name of
//! the owner's socket (a hard link), so that one who joins a member finds the machine that it is in,
//! whatever the owner's container has become meanwhile.

mod host;
mod member;
mod refer;
mod wire;

pub(crate) use host::Owner;
pub(crate) use host::Pod;
pub(crate) use member::grow;
pub(crate) use member::join;
pub(crate) use refer::is_reference;
pub(crate) use refer::resolve;
