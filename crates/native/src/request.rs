//! Small bodies.

use crate::wire::body;

body! {
    /// How to stop a container.
    pub struct Stop {
        ; // What may be left out:
        /// The signal that asks for an end; the container's own where none is given.
        signal: String,
        /// Seconds until SIGKILL; the container's own where not given, for ever where negative.
        timeout: Option<i64>,
    }

    /// A signal to send.
    pub struct Kill {
        ; // What may be left out:
        /// A name or a number; `KILL` where none is given.
        signal: String,
    }

    /// A name to give.
    pub struct Rename {
        /// The new name.
        name: String,
        ; // What may be left out:
    }

    /// Which unused objects to remove.
    pub struct Prune {
        ; // What may be left out:
        /// Of volumes: those that have names too.
        all: bool,
        /// Only those with all of these labels: `key` or `key=value`.
        labels: Vec<String>,
    }
}
