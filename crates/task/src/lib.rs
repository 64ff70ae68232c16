//! The task protocol between the engine (client) and a shim (server).
//!
//! Owns the types, the framing and the client; the server's side of the framing is here too,
//! its verbs are in the shim. The verbs are those of containerd's task API v2. Knows nothing
//! of how a container is isolated, nor of Docker.
//!
//! # On the wire
//! A unix stream socket. Each side first sends a [`Hello`]; then the client sends one
//! [`Request`] after another and gets one [`Reply`] for each, in order. [`Request::Attach`] and
//! [`Request::Events`] turn the connection into a stream for good; a connection that waits
//! ([`Request::Wait`]) answers nothing else meanwhile. See [`frame`] for the encoding. To
//! a broken frame the shim answers an error and closes the connection.
//!
//! # The life of a shim
//! The engine writes [`TaskConfig`] to `<bundle>/task.json`, binds a socket ([`listen`]) and
//! starts `coracle-shim --bundle <bundle>` ([`spawn_shim`]) with the listening socket as
//! descriptor 3 and those of [`TaskConfig::ports`] from 4 on. The shim ends
//! - after [`Request::Shutdown`], which is refused while the container runs;
//! - when the container has ended, its exit record is written, and no client is connected for
//!   a moment;
//! - when the container was never started, and no client is connected for a few seconds.
//!
//! A shim that was started ahead ([`spare`]) becomes the same by being told of the bundle.
//!
//! If it is killed, the container dies with it, and there is no exit record.

#![deny(unsafe_code)]

mod client;
mod config;
mod emulator;
mod error;
pub mod files;
pub mod frame;
mod machine;
mod message;
mod socket;
pub mod spare;
mod spawn;
mod state;
mod stats;
mod stream;

pub use client::Client;
pub use coracle_log::Stream;

pub use config::ExecConfig;
pub use config::HANDED;
pub use config::PID_FILE;
pub use config::Proto;
pub use config::ProxyPort;
pub use config::PublishedSocket;
pub use config::Rootfs;
pub use config::TASK_FILE;
pub use config::TaskConfig;
pub use emulator::Emulator;
pub use emulator::Format;
pub use error::ErrorKind;
pub use error::TaskError;
pub use machine::MachineConfig;
pub use machine::MachineInterface;
pub use message::AttachOptions;
pub use message::Hello;
pub use message::Reply;
pub use message::Request;
pub use message::VERSION;
pub use socket::SharedStream;
pub use socket::connect_stream;
pub use socket::listen;
pub use spawn::LISTEN_FD;
pub use spawn::LOG_FILE;
pub use spawn::spawn_shim;
pub use spawn::spawn_spare;
pub use spawn::spawn_template;
pub use state::Event;
pub use state::ExecState;
pub use state::Exit;
pub use state::Started;
pub use state::State;
pub use state::Status;
pub use stats::CpuStats;
pub use stats::IoStats;
pub use stats::MemoryStats;
pub use stats::NetworkStats;
pub use stats::PidsStats;
pub use stats::ProcessInfo;
pub use stats::Stats;
pub use stream::AttachReader;
pub use stream::AttachWriter;
pub use stream::Attached;
pub use stream::Events;
