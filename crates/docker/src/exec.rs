//! Exec.

use crate::wire::wire;

pub use coracle_runtime::exec::ExecSpec as ExecCreateBody;

wire! {
    /// The body of `POST /exec/{id}/start`.
    pub struct ExecStartBody {
        /// Nobody attaches.
        pub detach: bool,
        /// Whether the output is one raw stream.
        pub tty: bool,
        /// Initial size: rows, columns.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub console_size: Option<[u16; 2]>,
    }

    /// `GET /exec/{id}/json`.
    pub struct ExecInspect {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// Whether it runs.
        pub running: bool,
        /// Its exit code, once it ended.
        pub exit_code: Option<i32>,
        /// What runs.
        pub process_config: ProcessConfig,
        /// Standard input is open.
        pub open_stdin: bool,
        /// Standard error is attached.
        pub open_stderr: bool,
        /// Standard output is attached.
        pub open_stdout: bool,
        /// Whether it may be removed.
        pub can_remove: bool,
        /// Its container's id.
        #[serde(rename = "ContainerID")]
        pub container_id: String,
        /// The key sequence that detaches: its bytes in base64.
        pub detach_keys: String,
        /// Process id on the host.
        pub pid: i32,
    }
}

/// What an exec runs (in lower case, unlike everything else).
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    /// A terminal.
    pub tty: bool,
    /// The executable.
    pub entrypoint: String,
    /// Its arguments.
    #[serde(deserialize_with = "crate::wire::null_default")]
    pub arguments: Vec<String>,
    /// All capabilities.
    pub privileged: bool,
    /// User.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}
