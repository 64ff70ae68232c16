//! Ports of the host for a daemon that runs in a network namespace of its own (rootless): asked of
//! slirp4netns over its API socket (slirp4netns(1), "API socket").

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use coracle_network::{PortMapping, Proto};
use coracle_runtime::{Result, RuntimeError};
use serde_json::{Value, json};

/// Most bytes of an answer.
const MAX_ANSWER: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// Who publishes ports on the host.
#[derive(Clone, Debug)]
pub struct PortForwarder {
    /// Its API socket.
    pub socket: PathBuf,
    /// The address that it reaches our namespace by.
    pub guest: String,
}

impl PortForwarder {
    /// Publishes ports. On an error none is.
    pub(crate) fn add(&self, ports: &[PortMapping]) -> Result<()> {
        let mut done: Vec<PortMapping> = Vec::new();
        for port in ports.iter().filter(|port| port.host_ip.is_ipv4()) {
            if let Err(error) = self.add_one(port) {
                self.remove(&done);
                return Err(error);
            }
            done.push(*port);
        }
        Ok(())
    }

    fn add_one(&self, port: &PortMapping) -> Result<()> {
        let answer = self.call(&json!({
            "execute": "add_hostfwd",
            "arguments": {
                "proto": port.proto.as_str(),
                "host_addr": port.host_ip.to_string(),
                "host_port": port.host_port,
                "guest_addr": self.guest,
                "guest_port": port.host_port,
            },
        }))?;
        match answer.get("error") {
            None => Ok(()),
            Some(_) => Err(RuntimeError::Internal(format!(
                "Bind for {}:{} failed: port is already allocated",
                port.host_ip, port.host_port
            ))),
        }
    }

    /// Takes ports back; those that are not published are no error.
    pub(crate) fn remove(&self, ports: &[PortMapping]) {
        let list = match self.call(&json!({"execute": "list_hostfwd"})) {
            Ok(list) => list,
            Err(error) => return tracing::warn!(%error, "cannot take published ports back"),
        };
        let entries = list.pointer("/return/entries").and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let is_it = |port: &PortMapping| {
                entry.get("proto").and_then(Value::as_str) == Some(port.proto.as_str())
                    && entry.get("host_port").and_then(Value::as_u64)
                        == Some(u64::from(port.host_port))
                    && entry.get("host_addr").and_then(Value::as_str)
                        == Some(port.host_ip.to_string().as_str())
            };
            if let (true, Some(id)) = (ports.iter().any(is_it), entry.get("id")) {
                let request = json!({"execute": "remove_hostfwd", "arguments": {"id": id}});
                if let Err(error) = self.call(&request) {
                    tracing::warn!(%error, "cannot take a published port back");
                }
            }
        }
    }

    /// Takes back all but these.
    pub(crate) fn keep_only(&self, live: &[PortMapping]) {
        let Ok(list) = self.call(&json!({"execute": "list_hostfwd"})) else {
            return;
        };
        let entries = list.pointer("/return/entries").and_then(Value::as_array);
        let stale: Vec<PortMapping> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let proto = match entry.get("proto")?.as_str()? {
                    "udp" => Proto::Udp,
                    _ => Proto::Tcp,
                };
                let host_ip: IpAddr = entry.get("host_addr")?.as_str()?.parse().ok()?;
                let host_port = u16::try_from(entry.get("host_port")?.as_u64()?).ok()?;
                Some(PortMapping {
                    proto,
                    host_ip,
                    host_port,
                    container_port: 0,
                })
            })
            .filter(|entry| {
                !live.iter().any(|port| {
                    port.proto == entry.proto
                        && port.host_ip == entry.host_ip
                        && port.host_port == entry.host_port
                })
            })
            .collect();
        if !stale.is_empty() {
            self.remove(&stale);
        }
    }

    /// One request and its answer, on a connection of its own.
    fn call(&self, request: &Value) -> Result<Value> {
        let failed = |error: std::io::Error| {
            RuntimeError::Internal(format!("cannot ask slirp4netns for a port: {error}"))
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream
            .write_all(request.to_string().as_bytes())
            .map_err(failed)?;
        stream.shutdown(Shutdown::Write).map_err(failed)?;
        let mut answer = Vec::new();
        stream
            .take(MAX_ANSWER)
            .read_to_end(&mut answer)
            .map_err(failed)?;
        serde_json::from_slice(&answer).map_err(|error| failed(error.into()))
    }
}
