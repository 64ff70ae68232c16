//! Being attached to a process: its streams, the terminal, signals.

mod detach;
mod input;
mod pump;
mod resize;
mod signals;
mod terminal;

pub(crate) use detach::DetachKeys;
pub(crate) use pump::{Ended, Streams, pump};
pub(crate) use resize::{Target, keep_size};
pub(crate) use signals::{Caught, interrupted, proxy};
pub(crate) use terminal::{RawTerminal, size, stdin_is_terminal};
