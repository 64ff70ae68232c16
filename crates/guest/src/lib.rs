//! The protocol between a shim (the host) and the agent of its virtual machine (the guest).
//!
//! **Owns** the frames, the multiplexing of one byte stream into calls and channels, the messages,
//! the host's client ([`Agent`]) and the guest's side of the framing ([`serve`]).
//! **Must not know** how a machine is made, nor how the agent does what it is asked: the verbs are
//! in `coracle-init`.
//!
//! # The stream
//! One ordered, reliable stream of bytes, such as a virtio serial port. Both sides send frames:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the payload, at most [`MAX_FRAME`] |
//! | 4 | id of the call or channel, 0 where there is none |
//! | 1 | kind |
//! | length | payload |
//!
//! Numbers are little endian. The kinds:
//!
//! | kind | sent by | id | payload |
//! |---|---|---|---|
//! | 0 hello | both | 0 | see below |
//! | 1 request | host | call | [`Request`] |
//! | 2 reply | guest | call | `Result<`[`Reply`]`, `[`Failure`]`>` |
//! | 3 event | guest | 0 | [`Event`] |
//! | 4 cancel | host | call | none |
//! | 5 open | host | channel | one byte: 1 host sends, 2 guest sends, 3 both |
//! | 6 data | both | channel | at most [`MAX_DATA`] bytes |
//! | 7 credit | both | channel | 4 bytes: how many bytes more may be sent |
//! | 8 end | both | channel | none: the sender sends no more |
//! | 9 stop | both | channel | none: the sender reads no more |
//! | 10 reset | both | channel | why, UTF-8, at most [`MAX_REASON`] bytes: both ways end |
//!
//! Messages are in postcard's format (its specification is version 1.0); the documents of the OCI
//! runtime specification in them are JSON ([`Json`]), whose serde attributes no compact format
//! carries. Both sides are built together: [`VERSION`] changes with any message.
//!
//! # Hello
//! The host begins with a hello: 8 bytes of magic, its version (4 bytes), and a nonce (16 bytes) of
//! its choice. The guest answers the same with its own version. What the host reads before the
//! answer with its nonce belonged to somebody else and is passed over (a machine that was copied has
//! half a conversation in its buffers). To the guest a hello is the end of all calls and channels
//! that were; containers stay. A hello is understood between frames only: who copies a machine sees
//! to it that no frame of its own is under way ([`Request::Prepare`] is answered when none is).
//!
//! # Calls
//! Each has an id that the host counts up, and never uses again. They run side by side, in no
//! order; a call that is cancelled is stopped and not answered.
//!
//! # Channels
//! Opened by the host only, with ids of their own that it counts up, then named in requests. Each
//! way of a channel begins with [`WINDOW`] bytes of credit; data beyond the credit breaks the
//! connection. So a reader who is slow keeps no other channel waiting. A channel is gone when both
//! ways have ended: after end from the sender or stop from the reader, or after reset. Frames for
//! channels that are gone, which were under way, are passed over.
//!
//! # Sessions
//! A channel can carry a whole conversation of its own, from hello on, as the stream itself does
//! ([`Agent::session`]): of another shim, whose container is in the same machine. Calls, channels and
//! events of a session are its own, and so is what it makes: containers, mounts, shares, sockets. When
//! the channel ends, the guest ends all of that. What a session holds up is itself only, as any
//! channel's reader.
//!
//! # Invariants
//! - To the host the guest is hostile. Lengths are checked before anything is stored; memory is
//!   bounded by [`MAX_FRAME`], [`WINDOW`] per channel that the host itself opened and
//!   [`MAX_EVENTS`]; ids that the host never gave out, and anything else that this page does not
//!   allow, break the connection.
//! - A connection that broke stays broken: all calls and channels end with [`Error::Gone`].
//! - Nothing here panics on what the other side sends.

#![forbid(unsafe_code)]

mod agent;
mod error;
mod event;
mod files;
mod frame;
mod hello;
mod link;
mod machine;
mod message;
mod mux;
mod pod;
mod process;
mod server;
mod types;

pub use agent::Agent;
pub use error::{Error, Failure, Result};
pub use event::Event;
pub use files::encode_change;
pub use frame::{HEADER, MAX_DATA, MAX_FRAME, MAX_REASON};
pub use hello::VERSION;
pub use message::{Json, Reply, Request, Stdio};
pub use mux::{Channel, ChannelReader, ChannelWriter, Direction, MAX_CHANNELS, WINDOW};
pub use process::{Created, Exit, Exited, Process, Started, Streams};
pub use server::{Call, Events, Service, serve};
pub use types::*;

/// How many events may wait for [`Agent::event`]; a guest that sends more is cut off.
pub const MAX_EVENTS: usize = 1024;

#[doc(hidden)]
pub mod fuzz {
    //! For the fuzz targets only.
    pub use crate::frame::{Frame, Kind, take_frame};
}
