//! Namespaces, and kernel parameters that they have.

use clap::Args;
use coracle_docker::container::CreateBody;

use super::pairs;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(next_help_heading = "Isolation")]
pub(super) struct IsolationOptions {
    /// IPC: none, private, shareable, host, container:NAME
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,
    /// Processes: host, container:NAME
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,
    /// Host name: host
    #[arg(long, value_name = "MODE")]
    uts: Option<String>,
    /// Users: host
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// Control groups: host, private
    #[arg(long, value_name = "MODE")]
    cgroupns: Option<String>,
    /// Control group above the container's
    #[arg(long, value_name = "PATH")]
    cgroup_parent: Option<String>,
    /// Kernel parameter: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    sysctl: Vec<String>,
    /// Isolation technology; Windows only
    #[arg(long, value_name = "TECHNOLOGY", hide = true)]
    isolation: Option<String>,
}

impl IsolationOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        let host = &mut body.host_config;
        host.ipc_mode = self.ipc.clone().unwrap_or_default();
        host.pid_mode = mode("--pid", self.pid.as_deref(), &["host"], true)?;
        host.uts_mode = mode("--uts", self.uts.as_deref(), &["host"], false)?;
        host.userns_mode = mode("--userns", self.userns.as_deref(), &["host"], false)?;
        let cgroupns = self.cgroupns.as_deref();
        host.cgroupns_mode = mode("--cgroupns", cgroupns, &["host", "private"], false)?;
        host.cgroup_parent = self.cgroup_parent.clone().unwrap_or_default();
        host.sysctls = pairs::strict("--sysctl", &self.sysctl)?;
        host.isolation = self.isolation.clone().unwrap_or_default();
        Ok(())
    }
}

fn mode(option: &str, given: Option<&str>, known: &[&str], container: bool) -> Result<String> {
    let given = given.unwrap_or_default();
    let other = given.strip_prefix("container:");
    let good = given.is_empty()
        || known.contains(&given)
        || container && other.is_some_and(|name| !name.is_empty());
    if good {
        return Ok(given.to_owned());
    }
    let mut valid = known.join(", ");
    if container {
        valid.push_str(", container:NAME");
    }
    Err(Error::option(option, given, format!("want {valid}")))
}
