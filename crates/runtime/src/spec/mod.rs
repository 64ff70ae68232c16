//! What a container is asked to be: Docker's `POST /containers/create` body, as types.
//!
//! One definition serves the wire, the disk and the engine. Field meanings, units and defaults are
//! those of Docker's Engine API v1.47; a zero or empty value means "not asked for" unless a field
//! says otherwise.

mod config;
mod health;
mod host;
mod mount;
mod networking;

pub use config::{ContainerConfig, Empty, StringOrList};
pub use health::HealthConfig;
pub use host::{
    DeviceMapping, DeviceRequest, HostConfig, LogConfig, PortBinding, RestartPolicy,
    ThrottleDevice, Ulimit, WeightDevice,
};
pub use mount::{BindOptions, Mount, MountDriver, TmpfsOptions, VolumeOptions};
pub use networking::{EndpointIpam, EndpointSettings, NetworkingConfig};

/// Everything that a container is created from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerSpec {
    /// The name asked for, without a leading slash; `None` has one made up.
    pub name: Option<String>,
    /// The platform asked for, as `os/arch[/variant]`; `None` means the host's.
    pub platform: Option<String>,
    /// The part that does not depend on the host.
    pub config: ContainerConfig,
    /// The part that does.
    pub host: HostConfig,
    /// The networks to join, with their settings.
    pub networking: NetworkingConfig,
}
