//! Image configurations (image-spec, config.md, and Docker's additions to it).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::Digest;
use crate::Platform;
use crate::lenient;
use crate::limits;

/// Why bytes are not an image configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// More than [`limits::CONFIG_BYTES`].
    #[error("image configuration has {0} bytes, more than the {max} allowed", max = limits::CONFIG_BYTES)]
    TooLarge(usize),
    /// Not JSON, or not of the right shape; with the parser's reason.
    #[error("image configuration is not valid: {0}")]
    Json(String),
    /// A `rootfs` of an unknown type.
    #[error("unknown rootfs type {0:?} in the image configuration, expected \"layers\"")]
    RootFs(String),
    /// More diff ids or history entries than allowed.
    #[error("image configuration has {got} {what}, more than the {max} allowed")]
    TooMany {
        /// `diff_ids` or `history entries`.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many are allowed.
        max: usize,
    },
}

/// `{}`: the value of Go's sets, which are maps to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

/// An image's configuration: what it runs on, its layers, and how containers of it start.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor architecture, in Go's names.
    #[serde(default, deserialize_with = "lenient::null")]
    pub architecture: String,
    /// The variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system, in Go's names.
    #[serde(default, deserialize_with = "lenient::null")]
    pub os: String,
    /// The version of the operating system; only Windows uses it.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// What the operating system must offer; only Windows uses it.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Docker's: the message of the commit that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Docker's: the version of the engine that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
    /// Docker's: the id of the container that it was made of. Anything, as others have written it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<serde_json::Value>,
    /// Docker's: what that container was created as; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_config: Option<serde_json::Value>,
    /// How containers of it start.
    #[serde(default, deserialize_with = "lenient::null")]
    pub config: ContainerConfig,
    /// The layers.
    pub rootfs: RootFs,
    /// How each layer came about, the lowest first.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
}

/// The layers of an image by the digests of their uncompressed tars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the uncompressed layer tars, the lowest first.
    #[serde(default, deserialize_with = "lenient::null")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl RootFs {
    /// A root of these layers.
    pub fn new(diff_ids: Vec<Digest>) -> Self {
        Self {
            kind: "layers".into(),
            diff_ids,
        }
    }
}

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When it happened (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// How containers of an image start; `docker run` can override nearly all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `user[:group]`, by name or number; empty is root.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// The ports it listens on, as `port/protocol`.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// The environment, as `NAME=value`.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// What runs, with `cmd` appended.
    #[serde(
        default,
        deserialize_with = "words",
        skip_serializing_if = "Option::is_none"
    )]
    pub entrypoint: Option<Vec<String>>,
    /// The default arguments, or what runs if there is no entry point.
    #[serde(
        default,
        deserialize_with = "words",
        skip_serializing_if = "Option::is_none"
    )]
    pub cmd: Option<Vec<String>>,
    /// The directories that get an anonymous volume.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Empty>,
    /// The working directory; empty is `/`.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Anything else, by name.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to stop, by name or number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Docker's: seconds between that signal and SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Docker's: how to see whether it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Docker's: instructions for builds on top of it.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// Docker's: what runs the shell forms of a Dockerfile's instructions.
    #[serde(
        default,
        deserialize_with = "words",
        skip_serializing_if = "Option::is_none"
    )]
    pub shell: Option<Vec<String>>,
    /// Docker's, Windows only: the command is escaped already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// How to see whether a container is well (Docker's `HEALTHCHECK`). All times in nanoseconds;
/// 0 is to inherit, then Docker's default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `[]` to inherit, `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// The time between two checks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// The time after which a check has failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// The time after the start in which failures do not count.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// The time between two checks during the start period.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many failures in a row make it unhealthy.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Docker reads a lone string where a list of words is meant (`strslice`).
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<Words>::deserialize(deserializer)? {
        None => None,
        Some(Words::One(word)) => Some(vec![word]),
        Some(Words::Many(words)) => Some(words),
    })
}

impl ImageConfig {
    /// Parses an image configuration within the [`limits`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > limits::CONFIG_BYTES {
            return Err(ConfigError::TooLarge(bytes.len()));
        }
        let config: Self = lenient::object(bytes).map_err(ConfigError::Json)?;
        if config.rootfs.kind != "layers" {
            let kind = config.rootfs.kind.chars().take(64).collect();
            return Err(ConfigError::RootFs(kind));
        }
        let counts = [
            ("diff_ids", config.rootfs.diff_ids.len(), limits::LAYERS),
            ("history entries", config.history.len(), limits::HISTORY),
        ];
        for (what, got, max) in counts {
            if got > max {
                return Err(ConfigError::TooMany { what, got, max });
            }
        }
        Ok(config)
    }

    /// What it runs on, normalised; images that don't say run on the host's platform.
    pub fn platform(&self) -> Platform {
        let host = Platform::host();
        let or = |text: &str, other: String| {
            if text.is_empty() {
                other
            } else {
                text.to_owned()
            }
        };
        Platform {
            os: or(&self.os, host.os),
            architecture: or(&self.architecture, host.architecture),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
        .normalized()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERS: &str = r#"{
        "architecture":"amd64","os":"linux","created":"2024-05-01T00:00:00.123Z",
        "container":"abc","container_config":{"Cmd":["x"]},"docker_version":"20.10",
        "moby.buildkit.cache.v0":"eA==",
        "config":{"Hostname":"","AttachStdin":false,"ExposedPorts":{"80/tcp":{}},
            "Env":["PATH=/bin"],"Cmd":["sh"],"Entrypoint":null,"Image":"","Volumes":null,
            "WorkingDir":"/w","OnBuild":null,"Labels":{"a":"b"},"StopSignal":"SIGQUIT",
            "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":3},
            "Shell":["/bin/bash","-c"],"ArgsEscaped":true},
        "history":[{"created":"2024-05-01T00:00:00Z","created_by":"ADD x"},
            {"created_by":"CMD sh","empty_layer":true}],
        "rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}
    }"#;

    #[test]
    fn dockers_configuration() {
        let config = ImageConfig::parse(DOCKERS.as_bytes()).unwrap();
        assert_eq!(config.platform(), Platform::new("linux", "amd64"));
        let run = &config.config;
        assert_eq!(run.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(run.entrypoint, None);
        assert!(run.exposed_ports.contains_key("80/tcp") && run.volumes.is_empty());
        assert_eq!(
            run.healthcheck.as_ref().map(|h| h.interval),
            Some(5_000_000_000)
        );
        assert_eq!(run.stop_signal.as_deref(), Some("SIGQUIT"));
        assert!(config.history[1].empty_layer && run.args_escaped);
        let again = serde_json::to_vec(&config).unwrap();
        assert_eq!(ImageConfig::parse(&again).unwrap(), config);
    }

    #[test]
    fn a_lone_string_is_one_word() {
        let text = r#"{"config":{"Entrypoint":"/x","Cmd":[]},"rootfs":{"type":"layers"}}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.config.entrypoint, Some(vec!["/x".into()]));
        assert_eq!(config.config.cmd, Some(Vec::new()));
        assert_eq!(config.platform(), Platform::host());
    }

    #[test]
    fn refusals() {
        let parse = |text: &str| ImageConfig::parse(text.as_bytes());
        assert!(matches!(parse("{}"), Err(ConfigError::Json(_))));
        assert!(matches!(
            parse(r#"{"rootfs":{"type":"disk"}}"#),
            Err(ConfigError::RootFs(_))
        ));
        assert!(parse(r#"{"rootfs":{"type":"layers","diff_ids":["sha256:../x"]}}"#).is_err());
        let empties = vec![r#"{"empty_layer":true}"#; limits::HISTORY + 1].join(",");
        let many = format!(r#"{{"rootfs":{{"type":"layers"}},"history":[{empties}]}}"#);
        assert!(matches!(parse(&many), Err(ConfigError::TooMany { .. })));
    }
}
