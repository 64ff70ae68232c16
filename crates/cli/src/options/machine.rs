//! A container's virtual machine, and what of the user's it reaches.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use clap::Args;
use coracle_docker::container::CreateBody;

use crate::error::{Error, Result};

/// The annotation that names a container's kernel.
pub(crate) const KERNEL: &str = "coracle.kernel";
/// The annotation with further kernel parameters.
const KERNEL_ARGS: &str = "coracle.kernel-args";

/// The annotation that names sockets to publish.
const PUBLISHED_SOCKETS: &str = "coracle.publish-sockets";

/// Where containers find the user's SSH agent.
const SSH_SOCKET: &str = "/run/host-services/ssh-auth.sock";
const SSH_VARIABLE: &str = "SSH_AUTH_SOCK";

#[derive(Args, Debug)]
#[command(next_help_heading = "Virtual machine")]
pub(super) struct MachineOptions {
    /// Kernel of the virtual machine: the name of an installed one, or a file (with a /)
    #[arg(short = 'k', long, value_name = "KERNEL")]
    kernel: Option<String>,
    /// Parameter for the kernel (may be given more than once)
    #[arg(long, value_name = "PARAMETER")]
    kernel_arg: Vec<String>,
    /// Let the container use your SSH agent
    #[arg(long)]
    ssh: bool,
    /// Publish a unix socket of the container at a path of this host (may be given more than once)
    #[arg(long, value_name = "HOST:CONTAINER")]
    publish_socket: Vec<String>,
}

impl MachineOptions {
    pub(super) fn kernel_file(&self) -> Option<&Path> {
        let name = self.kernel.as_deref()?;
        name.contains('/').then(|| Path::new(name))
    }

    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        let annotations = &mut body.host_config.annotations;
        if let Some(name) = &self.kernel
            && self.kernel_file().is_none()
        {
            annotations.insert(KERNEL.to_owned(), name.clone());
        }
        for parameter in &self.kernel_arg {
            if parameter.is_empty() || parameter.contains(char::is_whitespace) {
                let why = "want one parameter, without white space";
                return Err(Error::option("--kernel-arg", parameter, why));
            }
        }
        if !self.kernel_arg.is_empty() {
            let mut all = annotations.remove(KERNEL_ARGS).unwrap_or_default();
            for parameter in &self.kernel_arg {
                all = format!("{all} {parameter}").trim_start().to_owned();
            }
            annotations.insert(KERNEL_ARGS.to_owned(), all);
        }
        for pair in &self.publish_socket {
            if !pair.contains(':') || pair.contains(',') {
                let why = "want HOST:CONTAINER, two absolute paths without commas";
                return Err(Error::option("--publish-socket", pair, why));
            }
        }
        if !self.publish_socket.is_empty() {
            let all = annotations.remove(PUBLISHED_SOCKETS).into_iter();
            let all: Vec<_> = all.chain(self.publish_socket.iter().cloned()).collect();
            annotations.insert(PUBLISHED_SOCKETS.to_owned(), all.join(","));
        }
        if self.ssh {
            forward_agent(body)?;
        }
        Ok(())
    }
}

/// Has the container reach the socket of the user's SSH agent.
fn forward_agent(body: &mut CreateBody) -> Result<()> {
    let socket = std::env::var(SSH_VARIABLE).unwrap_or_default();
    let is_socket =
        |path: &str| std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !socket.starts_with('/') || socket.contains(':') || !is_socket(&socket) {
        return Err(Error::advice(
            format!("--ssh: {SSH_VARIABLE} {socket:?} leads to no socket of an SSH agent"),
            "start one with: eval \"$(ssh-agent)\"",
        ));
    }
    let bind = format!("{socket}:{SSH_SOCKET}");
    body.host_config.binds.push(bind);
    let own = format!("{SSH_VARIABLE}=");
    let env = &mut body.config.env;
    env.retain(|variable| !variable.starts_with(&own));
    env.push(format!("{own}{SSH_SOCKET}"));
    Ok(())
}
