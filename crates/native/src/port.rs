//! Ports that a container is asked to publish.

use coracle_runtime::spec::PortBinding;

use crate::wire::{body, words};

body! {
    /// A port to publish.
    pub struct PortRequest {
        /// Port inside.
        #[cfg_attr(feature = "openapi", schema(minimum = 1))]
        container_port: u16,
        ; // What may be left out:
        /// The protocol.
        protocol: Protocol,
        /// The host's address; all where none is given.
        host_ip: String,
        /// The host's port; a free one where none is given.
        host_port: u16,
    }
}

words! {
    /// A port's protocol.
    pub enum Protocol {
        /// TCP.
        #[default]
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// SCTP.
        Sctp = "sctp",
    }
}

impl PortRequest {
    /// The port inside, in the domain's words: `80/tcp`.
    pub(crate) fn inside(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol.docker())
    }
}

impl From<PortRequest> for PortBinding {
    fn from(port: PortRequest) -> Self {
        Self {
            host_ip: port.host_ip,
            host_port: match port.host_port {
                0 => String::new(),
                port => port.to_string(),
            },
        }
    }
}
