//! The binary, run against a simulated runtime behind the real API, or against a server that only
//! writes down what it is asked.

#![allow(clippy::unwrap_used)]
#![allow(unreachable_pub, reason = "helpers of one test binary")]

mod basics;
mod containers;
mod copy;
mod exec;
mod failures;
mod formats;
mod harness;
mod hosts;
mod images;
mod kernels;
mod keys;
mod logs;
mod networks;
mod parity;
mod plugins;
mod pty;
mod recorder;
mod run;
mod starting;
mod system;
mod terminal;
mod volumes;
