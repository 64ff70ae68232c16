//! What every conformer of [`crate::Vmm`] must do, as tests with a real guest.
//!
//! The guest answers lines on its agent's port ([`Talk`]): `agent.c` beside this page.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod guest;

pub use guest::{Guest, Talk};
