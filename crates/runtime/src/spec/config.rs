//! The portable part of a container's configuration.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::HealthConfig;
use crate::serde_util::wire;

/// `{}`: the value of Docker's set-like maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Empty {}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Some clients send `null`, as Go allows.
        let _ = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
        Ok(Self {})
    }
}

/// A command line, which clients may also send as a single string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringOrList(pub Vec<String>);

impl Serialize for StringOrList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StringOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::One(one) => Self(vec![one]),
            Either::Many(many) => Self(many),
        })
    }
}

wire! {
    /// The portable part of a container's configuration (`ContainerConfig` of Docker's API).
    pub struct ContainerConfig {
        /// Host name inside; empty means the first 12 characters of the container's id.
        pub hostname: String,
        /// NIS domain name inside.
        pub domainname: String,
        /// `user|uid[:group|gid]`, looked up in the container's own passwd and group files.
        pub user: String,
        /// Whether the creating client means to attach to standard input.
        pub attach_stdin: bool,
        /// Whether the creating client means to attach to standard output.
        pub attach_stdout: bool,
        /// Whether the creating client means to attach to standard error.
        pub attach_stderr: bool,
        /// Ports the container listens on, as `"80/tcp"`.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub exposed_ports: BTreeMap<String, Empty>,
        /// Whether the process gets a terminal.
        pub tty: bool,
        /// Whether standard input stays open without anybody attached.
        pub open_stdin: bool,
        /// Whether the first attached client's end of input closes standard input for good.
        pub stdin_once: bool,
        /// `KEY=value`, or `KEY` to remove an image's variable.
        pub env: Vec<String>,
        /// Arguments, or the whole command where there is no entry point; `None` takes the image's.
        pub cmd: Option<StringOrList>,
        /// How health is checked; `None` takes the image's.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub healthcheck: Option<HealthConfig>,
        /// Windows only; refused when set.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub args_escaped: bool,
        /// The image, as the user named it.
        pub image: String,
        /// Paths that get an anonymous volume.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub volumes: BTreeMap<String, Empty>,
        /// Working directory; empty takes the image's, or `/`.
        pub working_dir: String,
        /// The command's fixed part; `None` takes the image's, `[""]` or `[]` clears it.
        pub entrypoint: Option<StringOrList>,
        /// No network at all.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub network_disabled: bool,
        /// MAC address on the main network (before API 1.44; newer clients set it on the endpoint).
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub mac_address: String,
        /// Build triggers of the image; kept, not used by a run.
        #[serde(serialize_with = "crate::serde_util::empty_as_null")]
        pub on_build: Vec<String>,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// The signal that asks the process to stop: a name or a number; `None` takes the image's, or SIGTERM.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub stop_signal: Option<String>,
        /// Seconds between the stop signal and SIGKILL; `None` means 10, negative waits for ever.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub stop_timeout: Option<i64>,
        /// Shell for the shell form of build instructions; kept, not used by a run.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub shell: Option<Vec<String>>,
    }
}
