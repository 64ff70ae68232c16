//! What the caller tells the helper, and what the helper answers.

use std::path::PathBuf;

use coracle_seccomp::Program;
use oci_spec::runtime::{LinuxPersonality, Process, Spec};
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Stage, Step};
use crate::request::Rootfs;

/// From the caller to the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// First of all. The streams that `stdio` names come with it as descriptors, and after them
    /// the pidfd of the container's first process, for an exec, or the file system of an init's
    /// secrets.
    Job(Box<Job>),
    /// The user namespace has its id maps.
    Mapped,
    /// The compiled system call filter, which the caller makes while the helper mounts.
    Filter(Option<Filter>),
    /// Execute the command.
    Start,
}

/// From the helper to the caller.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The helper is in a new user namespace, which needs id maps. Answered by `Mapped`.
    NeedsMaps,
    /// The container's process exists, a child of the caller by this pid.
    Child(i32),
    /// The master side of the terminal, which comes with it as a descriptor.
    Console,
    /// All is done but the last step. For an init, the helper waits for `Start`.
    Ready {
        /// What could not be done exactly as asked.
        warnings: Vec<String>,
    },
    /// It failed; the helper is gone or going.
    Failed(Failure),
}

/// One process to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) what: What,
    /// Nothing: that of the specification.
    pub(crate) process: Option<Process>,
    pub(crate) user: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) default_home: bool,
    pub(crate) personality: Option<LinuxPersonality>,
    pub(crate) cgroup: Vec<PathBuf>,
    pub(crate) die_with_caller: bool,
    /// Which of the standard streams come as descriptors.
    pub(crate) stdio: [bool; 3],
}

/// Which way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// A new container.
    Init(Box<InitJob>),
    /// Into a running one.
    Exec {
        /// The `CLONE_NEW*` bits of the namespaces to join.
        namespaces: u32,
    },
}

/// The container to make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InitJob {
    /// Where `linux.seccomp` counts for nothing, and `process` neither if the job has one.
    pub(crate) spec: Document,
    pub(crate) rootfs: Rootfs,
    pub(crate) init: bool,
    /// Whether a file system comes, after the streams.
    pub(crate) handed: bool,
}

/// A specification on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Document {
    Spec(Box<Spec>),
    /// As the caller read it.
    Text(String),
}

impl Document {
    pub(crate) fn read(self) -> Step<Spec> {
        match self {
            Document::Spec(spec) => Ok(*spec),
            Document::Text(text) => serde_json::from_str(&text)
                .map_err(|error| Failure::new(Stage::Protocol, error.to_string())),
        }
    }
}

/// A compiled filter on the wire: every instruction packed into one number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Filter {
    flags: u32,
    code: Vec<u64>,
}

impl From<&Program> for Filter {
    fn from(program: &Program) -> Filter {
        Filter {
            flags: program.flags,
            code: program.words(),
        }
    }
}

impl From<Filter> for Program {
    fn from(filter: Filter) -> Program {
        Program::from_words(filter.flags, &filter.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_seccomp::Instruction;

    #[test]
    fn filters_survive_the_wire() {
        let program = Program {
            flags: 5,
            filter: vec![Instruction {
                code: 0xfffe,
                jt: 0xfd,
                jf: 3,
                k: 0xdead_beef,
            }],
        };
        assert_eq!(Program::from(Filter::from(&program)), program);
    }
}
