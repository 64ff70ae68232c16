//! Ports of the host for a daemon that runs in a network namespace of its own (rootless): asked of
//! slirp4netns over its API socket (slirp4netns(1), "API socket").
//!
//! slirp4netns listens on the host's IPv4 addresses only, and connects to one address in the
//! namespace whatever the host's is. So there every port is bound to `0.0.0.0`, and the same port can't
//! be published on two addresses of the host.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use coracle_network::{PortMapping, PortRequest, Proto, Published};
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
    /// The host's address for ports that are published without one.
    pub default_ip: Ipv4Addr,
}

impl PortForwarder {
    /// Refuses what can't be published, by name.
    pub(crate) fn check(&self, requests: &[PortRequest], proxy: bool) -> Result<()> {
        for request in requests {
            match request.host_ip.unwrap_or(self.default_ip.into()) {
                IpAddr::V6(ip) => {
                    return Err(RuntimeError::InvalidArgument(format!(
                        "publishing port {} on the IPv6 address [{ip}] is not supported in rootless \
                         mode: slirp4netns has only IPv4",
                        request.container_port
                    )));
                }
                IpAddr::V4(ip) if !proxy && !ip.is_unspecified() => {
                    return Err(RuntimeError::InvalidArgument(format!(
                        "publishing port {} on {ip} alone needs the user-space proxy in rootless mode",
                        request.container_port
                    )));
                }
                IpAddr::V4(_) => {}
            }
        }
        Ok(())
    }

    /// What is to be bound in the namespace for these.
    pub(crate) fn inside(&self, requests: &[PortRequest]) -> Vec<PortRequest> {
        let all = Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        requests
            .iter()
            .cloned()
            .map(|request| PortRequest {
                host_ip: all,
                ..request
            })
            .collect()
    }

    /// What was bound, by the host's addresses.
    pub(crate) fn outside(&self, requests: &[PortRequest], mut published: Published) -> Published {
        for (request, binding) in requests.iter().zip(&mut published.bindings) {
            binding.mapping.host_ip = request.host_ip.unwrap_or(self.default_ip.into());
        }
        published
    }

    /// Publishes ports. On an error none is.
    pub(crate) fn add(&self, ports: &[PortMapping]) -> Result<()> {
        let mut done: Vec<PortMapping> = Vec::new();
        for port in ports {
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
        match self.list() {
            Ok(list) => {
                for (id, _) in list.iter().filter(|(_, port)| is_among(port, ports)) {
                    self.remove_one(id);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot take published ports back"),
        }
    }

    fn remove_one(&self, id: &Value) {
        let request = json!({"execute": "remove_hostfwd", "arguments": {"id": id}});
        if let Err(error) = self.call(&request) {
            tracing::warn!(%error, "cannot take a published port back");
        }
    }

    /// Publishes these and no others: another slirp4netns may have come meanwhile.
    pub(crate) fn settle(&self, wanted: &[PortMapping]) {
        let list = match self.list() {
            Ok(list) => list,
            Err(error) => return tracing::error!(%error, "cannot publish ports again"),
        };
        for (id, _) in list.iter().filter(|(_, port)| !is_among(port, wanted)) {
            self.remove_one(id);
        }
        let there: Vec<PortMapping> = list.into_iter().map(|(_, port)| port).collect();
        for port in wanted.iter().filter(|port| !is_among(port, &there)) {
            if let Err(error) = self.add_one(port) {
                tracing::error!(port = port.host_port, %error, "cannot publish a port again");
            }
        }
    }

    /// What is published, with the ids to take it back by. Their container ports are not known.
    fn list(&self) -> Result<Vec<(Value, PortMapping)>> {
        let answer = self.call(&json!({"execute": "list_hostfwd"}))?;
        Ok(parse_list(&answer))
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

fn parse_list(answer: &Value) -> Vec<(Value, PortMapping)> {
    let entries = answer.pointer("/return/entries").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let port = PortMapping {
                proto: match entry.get("proto")?.as_str()? {
                    "udp" => Proto::Udp,
                    _ => Proto::Tcp,
                },
                host_ip: entry.get("host_addr")?.as_str()?.parse().ok()?,
                host_port: u16::try_from(entry.get("host_port")?.as_u64()?).ok()?,
                container_port: 0,
            };
            Some((entry.get("id")?.clone(), port))
        })
        .collect()
}

/// Whether a port of the host is one of these.
fn is_among(port: &PortMapping, ports: &[PortMapping]) -> bool {
    let key = |port: &PortMapping| (port.proto, port.host_ip, port.host_port);
    ports.iter().any(|other| key(other) == key(port))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn forwarder() -> PortForwarder {
        PortForwarder {
            socket: "/nowhere".into(),
            guest: "10.0.2.100".into(),
            default_ip: Ipv4Addr::LOCALHOST,
        }
    }

    fn request(host_ip: Option<&str>) -> PortRequest {
        PortRequest {
            proto: Proto::Tcp,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: Some(8080..=8080),
            container_port: 80,
        }
    }

    fn mapping(host_ip: &str, host_port: u16) -> PortMapping {
        PortMapping {
            proto: Proto::Tcp,
            host_ip: host_ip.parse().unwrap(),
            host_port,
            container_port: 80,
        }
    }

    #[test]
    fn ipv6_is_refused_by_name() {
        let forwarder = forwarder();
        let error = forwarder.check(&[request(None), request(Some("::1"))], true);
        assert!(error.unwrap_err().to_string().contains("[::1]"));
        assert!(forwarder.check(&[request(Some("::"))], true).is_err());
        assert!(forwarder.check(&[request(Some("1.2.3.4"))], true).is_ok());
        assert!(forwarder.check(&[request(Some("1.2.3.4"))], false).is_err());
        assert!(forwarder.check(&[request(Some("0.0.0.0"))], false).is_ok());
    }

    #[test]
    fn all_is_bound_inside_and_shown_as_outside() {
        let forwarder = forwarder();
        let wanted = [request(None), request(Some("192.0.2.1"))];
        let inside = forwarder.inside(&wanted);
        let all = Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        assert!(inside.iter().all(|request| request.host_ip == all));
        let bindings = inside.iter().map(|_| coracle_network::PortBinding {
            mapping: mapping("0.0.0.0", 8080),
            listener: std::fs::File::open("/dev/null").unwrap().into(),
        });
        let published = Published {
            bindings: bindings.collect(),
        };
        let shown = forwarder.outside(&wanted, published).mappings();
        let wanted = [mapping("127.0.0.1", 8080), mapping("192.0.2.1", 8080)];
        assert_eq!(shown, wanted);
    }

    /// Answers as slirp4netns does, and gives what it was asked for.
    fn answer(listener: &UnixListener, reply: &Value) -> Value {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(reply.to_string().as_bytes()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn stale_ports_go_and_missing_ones_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut forwarder = forwarder();
        forwarder.socket = dir.path().join("slirp.sock");
        let listener = UnixListener::bind(&forwarder.socket).unwrap();
        let entry = |id: u16, port: u16| {
            json!({"id": id, "proto": "tcp", "host_addr": "0.0.0.0", "host_port": port,
                   "guest_addr": "10.0.2.100", "guest_port": port})
        };
        let list = json!({"return": {"entries": [entry(1, 80), entry(2, 81), "garbage"]}});
        let peer = std::thread::spawn(move || {
            let done = json!({"return": {}});
            [list, done.clone(), done].map(|reply| answer(&listener, &reply))
        });
        forwarder.settle(&[mapping("0.0.0.0", 81), mapping("127.0.0.1", 82)]);
        let [_, removed, added] = peer.join().unwrap();
        assert_eq!(removed["execute"], "remove_hostfwd");
        assert_eq!(removed["arguments"]["id"], 1);
        assert_eq!(added["arguments"]["host_addr"], "127.0.0.1");
        assert_eq!(added["arguments"]["guest_port"], 82);
    }
}
