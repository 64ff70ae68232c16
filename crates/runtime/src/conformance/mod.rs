//! The conformance suite: what every [`Runtime`](crate::Runtime) does, as checks against the trait.
//!
//! A conformer's tests give a [`Fixture`] and get one named test for each check:
//!
//! ```ignore
//! coracle_runtime::conformance_tests!(MyFixture);
//! ```
//!
//! or run them all within a tokio runtime of their own with [`run_all`]. What the conformer's
//! [`Capabilities`](crate::Capabilities) leave out is not checked, but for that it answers
//! [`NotSupported`](crate::RuntimeError::NotSupported).
//!
//! The checks need an image like busybox: `sh`, `cat`, `echo`, `id`, `kill`, `seq`, `sleep`, `stty`,
//! `touch` and the like, `/etc/passwd` with `root` and `nobody`, `/tmp`; [`busybox_root`] makes its
//! root from a static busybox. They may share a runtime, and run all at once: each marks what it
//! makes, looks at nothing else, and what it leaves is cleared away after it.
//!
//! Semantics are Docker's. A check that fails shows a bug of the conformer, or of the check; there is
//! no third case, and none is ever made to fit one conformer.

// A check says what went wrong by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod attached;
mod busybox;
mod checks;
mod run;
mod subject;
mod support;
mod told;

pub use busybox::busybox_root;
pub use checks::CHECKS;
pub use run::{Check, Fixture, Report, run_all, run_chosen, run_one};
pub use subject::Subject;
