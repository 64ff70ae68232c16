//! The options of `run` and `create`, and what they make of a container's configuration.
//!
//! One file a subject: each has the options as clap reads them, and puts them into the body of the
//! create request. What the daemon checks is left to it; what would be lost on the way is checked here.

mod config;
mod devices;
mod environment;
mod health;
mod isolation;
mod machine;
mod mount;
mod network;
mod pairs;
mod ports;
mod resources;
mod restart;
mod secret;
mod security;
mod storage;
mod throttle;
mod ulimit;
mod units;

use clap::Args;
use coracle_docker::container::CreateBody;
use coracle_runtime::spec::StringOrList;

pub(crate) use config::Pull;
pub(crate) use environment::environment;
pub(crate) use machine::KERNEL;
pub(crate) use pairs::parse as pairs;
pub(crate) use resources::Limits;
pub(crate) use restart::parse as restart_policy;
pub(crate) use units::duration;

use crate::error::Result;

/// Every option that a container's configuration comes from.
#[derive(Args, Debug)]
pub(crate) struct ContainerOptions {
    #[command(flatten)]
    pub(crate) config: config::ConfigOptions,
    #[command(flatten)]
    environment: environment::EnvironmentOptions,
    #[command(flatten)]
    network: network::NetworkOptions,
    #[command(flatten)]
    storage: storage::StorageOptions,
    #[command(flatten)]
    secret: secret::SecretOptions,
    #[command(flatten)]
    isolation: isolation::IsolationOptions,
    #[command(flatten)]
    security: security::SecurityOptions,
    #[command(flatten)]
    resources: resources::ResourceOptions,
    #[command(flatten)]
    devices: devices::DeviceOptions,
    #[command(flatten)]
    health: health::HealthOptions,
    #[command(flatten)]
    machine: machine::MachineOptions,
    /// Image, and the command to run in place of its own
    #[arg(
        value_name = "IMAGE [COMMAND] [ARG...]",
        required = true,
        trailing_var_arg = true
    )]
    words: Vec<String>,
}

/// What follows the options.
pub(crate) const OPERANDS: &str = "IMAGE [COMMAND] [ARG...]";

impl ContainerOptions {
    /// The image, as it was named.
    pub(crate) fn image(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The kernel's file, if one is named rather than an installed kernel.
    pub(crate) fn kernel_file(&self) -> Option<&std::path::Path> {
        self.machine.kernel_file()
    }

    /// The body of the create request.
    pub(crate) fn body(&self) -> Result<CreateBody> {
        let mut body = CreateBody::default();
        body.config.image = self.image().to_owned();
        let command = self.words.get(1..).unwrap_or_default();
        if !command.is_empty() {
            body.config.cmd = Some(StringOrList(command.to_vec()));
        }
        self.config.apply(&mut body)?;
        self.environment.apply(&mut body)?;
        self.network.apply(&mut body)?;
        self.storage.apply(&mut body)?;
        self.secret.apply(&mut body)?;
        self.isolation.apply(&mut body)?;
        self.security.apply(&mut body)?;
        self.resources.apply(&mut body)?;
        self.devices.apply(&mut body)?;
        self.health.apply(&mut body)?;
        self.machine.apply(&mut body)?;
        Ok(body)
    }
}
