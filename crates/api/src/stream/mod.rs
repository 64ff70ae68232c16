//! Streams: output in frames, hijacked connections, keys that detach, progress.

pub(crate) mod detach;
pub(crate) mod frames;
pub(crate) mod hijack;
pub(crate) mod progress;
