//! Further processes in a running container.

use crate::io::{AttachOptions, TerminalSize};
use crate::serde_util::wire;

wire! {
    /// A further process (`ExecConfig` of Docker's API).
    pub struct ExecSpec {
        /// `user|uid[:group|gid]`; empty means the container's.
        pub user: String,
        /// All capabilities.
        pub privileged: bool,
        /// A terminal.
        pub tty: bool,
        /// Initial terminal size: rows, columns.
        pub console_size: Option<[u16; 2]>,
        /// Standard input.
        pub attach_stdin: bool,
        /// Standard output.
        pub attach_stdout: bool,
        /// Standard error.
        pub attach_stderr: bool,
        /// The key sequence that detaches; empty means the daemon's.
        pub detach_keys: String,
        /// Further environment.
        pub env: Vec<String>,
        /// Working directory; empty means the container's.
        pub working_dir: String,
        /// The command.
        pub cmd: Vec<String>,
    }
}

/// How to start one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartExec {
    /// Nobody attaches: output is discarded.
    pub detach: bool,
    /// Overrides nothing but the initial size.
    pub size: Option<TerminalSize>,
}

impl ExecSpec {
    /// The streams that its starter attaches to.
    pub fn attach_options(&self) -> AttachOptions {
        AttachOptions {
            stdin: self.attach_stdin,
            stdout: self.attach_stdout,
            stderr: self.attach_stderr,
            logs: false,
            stream: true,
        }
    }
}

/// One such process, as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exec {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its container's id.
    pub container_id: String,
    /// What was asked.
    pub spec: ExecSpec,
    /// Whether it runs.
    pub running: bool,
    /// Its exit code, once it ended.
    pub exit_code: Option<i32>,
    /// Its process id on the host; 0 where there is none.
    pub pid: i32,
}
