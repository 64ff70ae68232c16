//! Channels: many byte streams in one, with credit for each.

mod channel;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

pub use channel::{Channel, ChannelReader, ChannelWriter};
pub(crate) use state::State;

use crate::error::{Error, Result};
use crate::frame::{Frame, Violation};

/// How many bytes may be under way in one way of a channel.
pub const WINDOW: usize = 256 << 10;

/// How many channels may be open at a time.
pub const MAX_CHANNELS: usize = 1024;

/// Who sends on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The host.
    ToGuest,
    /// The guest.
    ToHost,
    /// Both.
    Both,
}

impl Direction {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::ToGuest => 1,
            Self::ToHost => 2,
            Self::Both => 3,
        }
    }

    pub(crate) fn parse(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::ToGuest),
            2 => Some(Self::ToHost),
            3 => Some(Self::Both),
            _ => None,
        }
    }
}

/// All channels of a connection, shared with whoever has one of them.
#[derive(Clone, Debug)]
pub(crate) struct Mux(Arc<Mutex<State>>);

impl Mux {
    pub(crate) fn new(is_host: bool) -> Self {
        Self(Arc::new(Mutex::new(State::new(is_host))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a channel (the host's side).
    pub(crate) fn open(&self, direction: Direction) -> Result<Channel> {
        let id = self.lock().open(direction)?;
        Ok(Channel::new(self.clone(), id))
    }

    /// Takes a channel that the other side opened; once (the guest's side).
    pub(crate) fn take(&self, id: u32) -> Option<Channel> {
        self.lock().take(id).then(|| Channel::new(self.clone(), id))
    }

    /// A frame of a channel came.
    pub(crate) fn receive(&self, frame: &Frame) -> Result<(), Violation> {
        self.lock().receive(frame)
    }

    /// Appends what there is to be sent, not much over `limit` bytes.
    pub(crate) fn fill(&self, buf: &mut BytesMut, limit: usize) {
        self.lock().fill(buf, limit);
    }

    /// All channels are reset, those to come as well.
    pub(crate) fn close(&self, why: &Error) {
        self.lock().close(&why.to_string());
    }
}
