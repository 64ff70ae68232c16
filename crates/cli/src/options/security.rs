//! Privileges.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;
use coracle_docker::container::CreateBody;

use crate::config::read_bounded;
use crate::error::{Error, Result};

/// Most bytes of a seccomp profile.
const MAX_PROFILE: u64 = 16 << 20;
const OPTION: &str = "--security-opt";

#[derive(Args, Debug)]
#[command(next_help_heading = "Privileges")]
pub(super) struct SecurityOptions {
    /// All capabilities and devices, no confinement
    #[arg(long)]
    privileged: bool,
    /// Capability to add
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Capability to drop
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// seccomp=FILE|unconfined|builtin, no-new-privileges, apparmor=…, label=…, systempaths=unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
}

impl SecurityOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        let host = &mut body.host_config;
        host.privileged = self.privileged;
        host.cap_add = capabilities(&self.cap_add);
        host.cap_drop = capabilities(&self.cap_drop);
        for text in &self.security_opt {
            if text == "systempaths=unconfined" {
                host.masked_paths = Some(Vec::new());
                host.readonly_paths = Some(Vec::new());
            } else {
                host.security_opt.push(option(text)?);
            }
        }
        Ok(())
    }
}

/// Names in full, in order, each once; what is none the daemon says.
fn capabilities(given: &[String]) -> Vec<String> {
    let named = given.iter().map(|name| {
        let name = name.trim().to_ascii_uppercase();
        if name == "ALL" || name.starts_with("CAP_") {
            name
        } else {
            format!("CAP_{name}")
        }
    });
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

/// An option as the daemon takes it: a profile's file is read here.
fn option(text: &str) -> Result<String> {
    let Some((key, value)) = text.split_once('=').or_else(|| text.split_once(':')) else {
        return if text == "no-new-privileges" {
            Ok(text.to_owned())
        } else {
            Err(Error::option(OPTION, text, "want KEY=VALUE"))
        };
    };
    if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
        return Ok(text.to_owned());
    }
    let bytes = read_bounded(Path::new(value), MAX_PROFILE).map_err(|error| {
        Error::option(OPTION, text, format!("opening seccomp profile: {error}"))
    })?;
    // Read and written once more, so that it fits on a line.
    let profile: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::option(OPTION, text, format!("seccomp profile: {error}")))?;
    Ok(format!("seccomp={profile}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn capabilities_have_their_full_names() {
        let given = ["net_admin", "CAP_CHOWN", "all", "NET_ADMIN"].map(str::to_owned);
        assert_eq!(capabilities(&given), ["ALL", "CAP_CHOWN", "CAP_NET_ADMIN"]);
    }

    #[test]
    fn profiles_are_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{\n \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}")
            .unwrap();
        let text = format!("seccomp={}", file.path().display());
        assert_eq!(
            option(&text).unwrap(),
            r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#
        );
        for same in [
            "seccomp=unconfined",
            "seccomp:unconfined",
            "no-new-privileges",
            "no-new-privileges=true",
            "label=disable",
        ] {
            assert_eq!(option(same).unwrap(), same);
        }
        for bad in ["x", "seccomp=/does/not/exist", "seccomp=/dev/null"] {
            assert!(option(bad).is_err(), "{bad}");
        }
    }
}
