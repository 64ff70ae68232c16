//! Further processes in a running container.

use std::collections::BTreeMap;

use coracle_runtime::exec as domain;

use crate::wire::{answer, body};

answer! {
    /// A further process.
    pub struct Exec {
        /// 64 hexadecimal digits.
        id: String,
        /// Its container's id.
        container_id: String,
        /// The command.
        command: Vec<String>,
        /// Whether it runs.
        running: bool,
        /// Its exit code, once it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// Its process id on the host; 0 where there is none.
        pid: i32,
    }
}

body! {
    /// A process to run in a running container.
    pub struct ExecCreate {
        /// The command.
        command: Vec<String>,
        ; // What may be left out:
        /// Environment beyond the container's.
        env: BTreeMap<String, String>,
        /// `user|uid[:group|gid]`; the container's where none is given.
        user: String,
        /// Working directory; the container's where none is given.
        working_dir: String,
        /// All capabilities.
        privileged: bool,
        /// A terminal.
        tty: bool,
        /// What it reads on standard input.
        stdin: String,
        /// Do not wait for it: the answer is the process, and its output is lost.
        detach: bool,
    }
}

impl From<domain::Exec> for Exec {
    fn from(exec: domain::Exec) -> Self {
        Self {
            id: exec.id,
            container_id: exec.container_id,
            command: exec.spec.cmd,
            running: exec.running,
            exit_code: exec.exit_code,
            pid: exec.pid,
        }
    }
}

impl From<ExecCreate> for domain::ExecSpec {
    fn from(body: ExecCreate) -> Self {
        Self {
            user: body.user,
            privileged: body.privileged,
            tty: body.tty,
            attach_stdin: !body.stdin.is_empty(),
            attach_stdout: !body.detach,
            attach_stderr: !body.detach,
            env: body
                .env
                .into_iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect(),
            working_dir: body.working_dir,
            cmd: body.command,
            ..Self::default()
        }
    }
}
