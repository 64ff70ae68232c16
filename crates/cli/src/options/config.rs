//! What runs, and what becomes of the container around it.

use clap::{Args, ValueEnum};
use coracle_docker::container::CreateBody;
use coracle_runtime::spec::StringOrList;

use super::pairs;
use super::restart;
use crate::error::{Error, Result};

/// When to pull the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Every time.
    Always,
    /// Where it is not here.
    Missing,
    /// Not at all.
    Never,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Container")]
pub(crate) struct ConfigOptions {
    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Keep standard input open
    #[arg(short = 'i', long)]
    pub(crate) interactive: bool,
    /// Give the process a terminal
    #[arg(short = 't', long)]
    pub(crate) tty: bool,
    /// Attach to stdin, stdout or stderr only (may be given more than once)
    #[arg(short = 'a', long, value_name = "STREAM")]
    pub(crate) attach: Vec<String>,
    /// User to run as: NAME|UID[:GROUP|GID]
    #[arg(short = 'u', long, value_name = "USER")]
    user: Option<String>,
    /// Further groups of the process
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Working directory inside
    #[arg(short = 'w', long, value_name = "DIR")]
    workdir: Option<String>,
    /// Program to run in place of the image's
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Run an init process that passes signals on and reaps processes
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true
    )]
    init: Option<bool>,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// When to restart: no, always, unless-stopped, on-failure[:MAX]
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Signal that stops the container
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds from that to SIGKILL; -1 for ever
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<i64>,
    /// When to pull the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) pull: Pull,
    /// Platform of the image: OS/ARCH[/VARIANT] [env: DOCKER_DEFAULT_PLATFORM]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Architecture of the image, in place of --platform: arm64
    #[arg(long, value_name = "ARCH", conflicts_with = "platform")]
    arch: Option<String>,
    /// Operating system of the image, in place of --platform: linux
    #[arg(long, value_name = "OS", conflicts_with = "platform")]
    os: Option<String>,
    /// Refused: programs of other architectures are run by QEMU
    #[arg(long, hide = true)]
    rosetta: bool,
    /// Show no progress of pulling
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Write the container's id to a new file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<std::path::PathBuf>,
    /// Isolation: process, vm
    #[arg(long, value_name = "RUNTIME")]
    runtime: Option<String>,
    /// Annotation for the runtime: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    /// Log driver: json-file, local, none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// Log driver's options: KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
    /// Kept for Docker's sake; signatures are not checked
    #[arg(long, hide = true)]
    disable_content_trust: bool,
}

impl ConfigOptions {
    /// The platform asked for; empty for the daemon's.
    pub(crate) fn platform(&self) -> String {
        let own = match (&self.os, &self.arch) {
            (None, None) => self.platform.clone(),
            (os, arch) => {
                let parts = [Some(os.as_deref().unwrap_or("linux")), arch.as_deref()];
                Some(parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
            }
        };
        own.or_else(|| crate::host::variable("DOCKER_DEFAULT_PLATFORM"))
            .unwrap_or_default()
    }

    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        if self.rosetta {
            return Err(Error::advice(
                "--rosetta is not supported: Rosetta is a part of macOS",
                "leave it out; with --runtime vm programs of other architectures are run by QEMU",
            ));
        }
        self.streams(body)?;
        let config = &mut body.config;
        config.user = self.user.clone().unwrap_or_default();
        config.working_dir = self.workdir.clone().unwrap_or_default();
        // An empty one clears the image's.
        config.entrypoint = self
            .entrypoint
            .clone()
            .map(|program| StringOrList(vec![program]));
        config.stop_signal = self.stop_signal.clone();
        config.stop_timeout = self.stop_timeout;
        let host = &mut body.host_config;
        host.group_add.clone_from(&self.group_add);
        host.init = self.init;
        host.auto_remove = self.rm;
        host.restart_policy = restart::parse(self.restart.as_deref().unwrap_or("no"))?;
        if self.rm && !matches!(host.restart_policy.name.as_str(), "" | "no") {
            return Err(Error::advice(
                "conflicting options: --restart and --rm",
                "a container that is removed when it ends can't be restarted: choose one",
            ));
        }
        if let Some(file) = &self.cidfile {
            host.container_id_file = file.display().to_string();
        }
        host.runtime = self.runtime.clone().unwrap_or_default();
        host.annotations = pairs::parse("--annotation", &self.annotation)?;
        host.log_config.driver = self.log_driver.clone().unwrap_or_default();
        host.log_config.config = pairs::parse("--log-opt", &self.log_opt)?;
        if host.log_config.driver == "none" && !self.log_opt.is_empty() {
            return Err(Error::usage("invalid logging opts for driver none"));
        }
        Ok(())
    }

    fn streams(&self, body: &mut CreateBody) -> Result<()> {
        let config = &mut body.config;
        config.tty = self.tty;
        config.open_stdin = self.interactive;
        for stream in &self.attach {
            match stream.to_ascii_lowercase().as_str() {
                "stdin" => config.attach_stdin = true,
                "stdout" => config.attach_stdout = true,
                "stderr" => config.attach_stderr = true,
                _ => {
                    let why = "valid streams are stdin, stdout and stderr";
                    return Err(Error::option("-a, --attach", stream, why));
                }
            }
        }
        if self.attach.is_empty() {
            config.attach_stdout = true;
            config.attach_stderr = true;
        }
        if self.interactive {
            config.attach_stdin = true;
        }
        config.stdin_once = config.open_stdin && config.attach_stdin;
        Ok(())
    }
}
