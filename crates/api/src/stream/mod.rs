//! Streams: output in frames, hijacked connections, keys that detach, progress,
//! WebSockets.

pub(crate) mod detach;
pub(crate) mod frames;
pub(crate) mod hijack;
pub(crate) mod progress;
pub(crate) mod websocket;
