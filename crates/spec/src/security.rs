//! `--security-opt`.

use std::collections::{BTreeSet, HashSet};

use oci_spec::runtime::{Capability, LinuxSeccomp};

use crate::{Host, SpecError};

/// Which system calls are filtered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeccompChoice {
    /// Docker's default profile.
    Default,
    /// None is.
    Unconfined,
    /// A profile in Docker's format.
    Profile(String),
}

/// The security options, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityOptions {
    /// Seccomp.
    pub seccomp: SeccompChoice,
    /// Whether the process may not gain privileges.
    pub no_new_privileges: bool,
    /// Whether kernel paths stay visible and writable (`systempaths=unconfined`).
    pub system_paths_unconfined: bool,
}

impl SecurityOptions {
    /// Reads the options of a container.
    pub fn parse(options: &[String], privileged: bool, host: &Host) -> Result<Self, SpecError> {
        let mut parsed = Self {
            seccomp: match &host.seccomp_profile {
                _ if privileged => SeccompChoice::Unconfined,
                None => SeccompChoice::Default,
                Some(profile) if profile == "unconfined" => SeccompChoice::Unconfined,
                Some(profile) => SeccompChoice::Profile(profile.clone()),
            },
            no_new_privileges: host.no_new_privileges,
            system_paths_unconfined: false,
        };
        for option in options {
            parsed.apply(option)?;
        }
        Ok(parsed)
    }

    fn apply(&mut self, option: &str) -> Result<(), SpecError> {
        let invalid = || SpecError::invalid(format!("invalid --security-opt 1: \"{option}\""));
        if option == "no-new-privileges" {
            self.no_new_privileges = true;
            return Ok(());
        }
        // Docker takes `=`, and for old clients `:`.
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .ok_or_else(invalid)?;
        match key {
            "no-new-privileges" => {
                self.no_new_privileges = value.parse().map_err(|_| invalid())?;
            }
            "seccomp" => {
                self.seccomp = match value {
                    "unconfined" => SeccompChoice::Unconfined,
                    "builtin" => SeccompChoice::Default,
                    json => SeccompChoice::Profile(json.to_owned()),
                };
            }
            "systempaths" if value == "unconfined" => self.system_paths_unconfined = true,
            // Without AppArmor there is nothing to be confined by.
            "apparmor" if value == "unconfined" => {}
            "apparmor" => {
                return Err(SpecError::unsupported(
                    "SecurityOpt apparmor",
                    format!("profile {value:?} can't be applied; use apparmor=unconfined"),
                ));
            }
            "label" if value == "disable" => {}
            "label" => {
                return Err(SpecError::unsupported(
                    "SecurityOpt label",
                    "SELinux is not supported; use label=disable",
                ));
            }
            _ => return Err(invalid()),
        }
        Ok(())
    }

    /// The filter for a container with these capabilities.
    pub(crate) fn filter(
        &self,
        capabilities: &BTreeSet<String>,
    ) -> Result<Option<LinuxSeccomp>, SpecError> {
        let capabilities: HashSet<Capability> = capabilities
            .iter()
            .filter_map(|name| name.strip_prefix("CAP_").and_then(|name| name.parse().ok()))
            .collect();
        let profile = match &self.seccomp {
            SeccompChoice::Unconfined => return Ok(None),
            SeccompChoice::Default => coracle_seccomp::default_profile(&capabilities),
            SeccompChoice::Profile(json) => coracle_seccomp::Machine::host().and_then(|machine| {
                coracle_seccomp::parse_profile(json.as_bytes(), &capabilities, machine)
            }),
        };
        let profile = profile
            .map_err(|error| SpecError::invalid(format!("invalid seccomp profile: {error}")))?;
        // Compiled here only to refuse at creation what the launcher would refuse at the start.
        coracle_seccomp::compile(&profile)
            .map_err(|error| SpecError::invalid(format!("invalid seccomp profile: {error}")))?;
        Ok(Some(profile))
    }
}
