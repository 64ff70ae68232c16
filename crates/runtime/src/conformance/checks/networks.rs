//! Networks: which there are, and which containers are on them.

use super::super::Subject;
use super::super::support::{refused, soon};
use super::super::told::event;
use crate::network::{ConnectRequest, Ipam, IpamPool, NetworkSpec};
use crate::spec::{ContainerSpec, EndpointIpam, EndpointSettings, HostConfig, PortBinding};

impl Subject {
    async fn network(&self) -> (String, String) {
        let name = self.name();
        let labels = self.labels();
        let spec = NetworkSpec {
            name: name.clone(),
            labels,
            ..NetworkSpec::default()
        };
        let id = soon("create network", self.runtime.create_network(spec)).await;
        (
            name,
            id.unwrap_or_else(|error| panic!("create network: {error}")),
        )
    }

    fn on(&self, network: &str) -> ContainerSpec {
        let mut spec = self.spec(&["sleep", "1000"]);
        spec.host.network_mode = network.into();
        spec
    }
}

pub(super) async fn predefined(s: Subject) {
    let networks = s.runtime.list_networks().await.unwrap();
    for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
        let network = networks
            .iter()
            .find(|network| network.name == name)
            .expect(name);
        assert_eq!(
            (network.driver.as_str(), network.scope.as_str()),
            (driver, "local")
        );
        assert_eq!(network.id.len(), 64, "{}", network.id);
        for text in [name, &network.id, &network.id[..20]] {
            assert_eq!(
                s.runtime.inspect_network(text).await.unwrap().id,
                network.id,
                "{text}"
            );
        }
        if s.can.networks {
            refused!(
                s.runtime.remove_network(name).await,
                Forbidden,
                "pre-defined network"
            );
            let spec = NetworkSpec {
                name: name.into(),
                ..NetworkSpec::default()
            };
            refused!(
                s.runtime.create_network(spec).await,
                Forbidden,
                "predefined"
            );
        }
    }
    let bridge = networks
        .iter()
        .find(|network| network.name == "bridge")
        .unwrap();
    assert!(!bridge.ipam.config.is_empty(), "{bridge:?}");
    refused!(
        s.runtime.inspect_network("nosuch").await,
        NotFound,
        "not found"
    );
    refused!(s.runtime.inspect_network("").await, NotFound);
}

pub(super) async fn a_container_on_the_bridge(s: Subject) {
    let mut spec = s.on("bridge");
    spec.host = HostConfig::default();
    let id = s.create(spec).await;
    let idle = s.inspect(&id).await.network;
    assert_eq!(idle.networks["bridge"].ip_address, "", "{idle:?}");
    s.start(&id).await;
    let network = s.inspect(&id).await.network;
    let endpoint = &network.networks["bridge"];
    assert!(
        !endpoint.ip_address.is_empty() && !endpoint.gateway.is_empty(),
        "{endpoint:?}"
    );
    assert!(
        !endpoint.mac_address.is_empty() && endpoint.ip_prefix_len > 0,
        "{endpoint:?}"
    );
    assert!(!network.sandbox_key.is_empty());
    let bridge = s.runtime.inspect_network("bridge").await.unwrap();
    assert_eq!(endpoint.network_id, bridge.id);
    let address = format!("{}/{}", endpoint.ip_address, endpoint.ip_prefix_len);
    assert_eq!(bridge.containers[&id].ipv4_address, address);
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    assert_eq!(
        s.inspect(&id).await.network.networks["bridge"].ip_address,
        ""
    );
    assert!(
        !s.runtime
            .inspect_network("bridge")
            .await
            .unwrap()
            .containers
            .contains_key(&id)
    );
}

/// A network may have one family of addresses, or both; never none.
pub(super) async fn a_network_without_ipv4(s: Subject) {
    let spec = |name: String, ipv6| NetworkSpec {
        name,
        labels: s.labels(),
        enable_ipv4: Some(false),
        enable_ipv6: Some(ipv6),
        ..NetworkSpec::default()
    };
    refused!(
        s.runtime.create_network(spec(s.name(), false)).await,
        InvalidArgument,
        "IPv4 or IPv6 must be enabled"
    );
    let mut mixed = spec(s.name(), true);
    let pool = IpamPool {
        subnet: "10.213.7.0/24".into(),
        ..IpamPool::default()
    };
    mixed.ipam = Some(Ipam {
        config: vec![pool],
        ..Ipam::default()
    });
    refused!(
        s.runtime.create_network(mixed).await,
        InvalidArgument,
        "IPv4 is disabled"
    );
    let name = s.name();
    s.runtime
        .create_network(spec(name.clone(), true))
        .await
        .unwrap();
    let network = s.runtime.inspect_network(&name).await.unwrap();
    assert!(!network.ipv4 && network.ipv6, "{network:?}");
    assert_eq!(network.ipam.config.len(), 1, "{network:?}");
    assert!(network.ipam.config[0].gateway.contains(':'), "{network:?}");
    let id = s.launch(s.on(&name)).await;
    let settings = s.inspect(&id).await.network;
    let endpoint = &settings.networks[&name];
    assert_eq!((&*endpoint.ip_address, &*endpoint.gateway), ("", ""));
    assert_eq!(endpoint.ipv6_gateway, network.ipam.config[0].gateway);
    assert!(!endpoint.mac_address.is_empty(), "{endpoint:?}");
    let on = s.runtime.inspect_network(&name).await.unwrap();
    let seen = &on.containers[&id];
    let address = format!(
        "{}/{}",
        endpoint.global_ipv6_address, endpoint.global_ipv6_prefix_len
    );
    assert_eq!((&*seen.ipv4_address, &seen.ipv6_address), ("", &address));
    let mut spec = s.on(&name);
    let ipam = EndpointIpam {
        ipv4_address: "10.213.7.9".into(),
        ..EndpointIpam::default()
    };
    let endpoint = EndpointSettings {
        ipam_config: Some(ipam),
        ..EndpointSettings::default()
    };
    spec.networking.endpoints_config.insert(name, endpoint);
    let other = s.create(spec).await;
    refused!(s.runtime.start_container(&other).await, InvalidArgument);
}

pub(super) async fn every_container_has_an_address_of_its_own(s: Subject) {
    let mut addresses = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let id = s.launch(s.on("bridge")).await;
        let address = s.inspect(&id).await.network.networks["bridge"]
            .ip_address
            .clone();
        assert!(addresses.insert(address.clone()), "{address} twice");
    }
}

pub(super) async fn none_and_host(s: Subject) {
    let id = s.launch(s.on("none")).await;
    let network = s.inspect(&id).await.network;
    assert_eq!(network.networks.keys().collect::<Vec<_>>(), ["none"]);
    assert_eq!(network.networks["none"].ip_address, "");
    let id = s.launch(s.on("host")).await;
    let network = s.inspect(&id).await.network;
    assert_eq!(network.networks.keys().collect::<Vec<_>>(), ["host"]);
    assert_eq!(network.networks["host"].ip_address, "");
}

pub(super) async fn another_containers_network(s: Subject) {
    let first = s.launch(s.on("bridge")).await;
    let second = s.launch(s.on(&format!("container:{first}"))).await;
    assert!(s.inspect(&second).await.network.networks.is_empty());
    let mut spec = s.on(&format!("container:{first}"));
    spec.config.hostname = "own".into();
    refused!(
        s.runtime.create_container(spec).await,
        InvalidArgument,
        "hostname"
    );
    let third = s.create(s.on(&format!("container:{first}"))).await;
    s.kill(&first, "KILL").await;
    s.ended(&first).await;
    refused!(
        s.runtime.start_container(&third).await,
        InvalidState,
        "non running container"
    );
}

pub(super) async fn published_ports(s: Subject) {
    let mut spec = s.on("bridge");
    let binding = PortBinding {
        host_ip: "127.0.0.1".into(),
        host_port: String::new(),
    };
    spec.host
        .port_bindings
        .insert("80/tcp".into(), Some(vec![binding]));
    // Clients expose what they publish; dockerd publishes nothing else.
    for port in ["80/tcp", "90/udp"] {
        let exposed = &mut spec.config.exposed_ports;
        exposed.insert(port.into(), Default::default());
    }
    let id = s.create(spec).await;
    assert!(
        s.inspect(&id).await.network.ports.is_empty(),
        "only once it runs"
    );
    s.start(&id).await;
    let ports = s.inspect(&id).await.network.ports;
    let bindings = ports["80/tcp"].as_ref().expect("it is published");
    assert_eq!(
        (bindings.len(), bindings[0].host_ip.as_str()),
        (1, "127.0.0.1")
    );
    let port = bindings[0].host_port.clone();
    assert!(port.parse::<u16>().is_ok_and(|port| port > 0), "{port}");
    assert_eq!(ports["90/udp"], None, "it is only exposed");
    // Nobody else gets it meanwhile.
    let mut spec = s.on("bridge");
    let binding = PortBinding {
        host_ip: "127.0.0.1".into(),
        host_port: port.clone(),
    };
    spec.host
        .port_bindings
        .insert("80/tcp".into(), Some(vec![binding]));
    let exposed = &mut spec.config.exposed_ports;
    exposed.insert("80/tcp".into(), Default::default());
    let second = s.create(spec).await;
    let error = s
        .runtime
        .start_container(&second)
        .await
        .expect_err("the port is taken");
    assert!(
        error.to_string().contains("port is already allocated"),
        "{error}"
    );
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    s.start(&second).await;
    assert_eq!(
        s.inspect(&second).await.network.ports["80/tcp"]
            .as_ref()
            .unwrap()[0]
            .host_port,
        port
    );
    for bad in ["x/tcp", "80/nosuch", "0"] {
        let mut spec = s.on("bridge");
        spec.host
            .port_bindings
            .insert(bad.into(), Some(vec![PortBinding::default()]));
        refused!(
            s.runtime.create_container(spec).await,
            InvalidArgument,
            "invalid port"
        );
    }
}

pub(super) async fn made_and_removed(s: Subject) {
    if !s.can.networks {
        return;
    }
    let mut listener = s.listen();
    let (name, id) = s.network().await;
    event(&mut listener, &id, "create").await;
    let network = s.runtime.inspect_network(&name).await.unwrap();
    assert_eq!(
        (network.id.as_str(), network.driver.as_str()),
        (id.as_str(), "bridge")
    );
    assert_eq!(network.labels, s.labels());
    assert!(network.containers.is_empty() && !network.ipam.config.is_empty());
    let spec = NetworkSpec {
        name: name.clone(),
        ..NetworkSpec::default()
    };
    refused!(
        s.runtime.create_network(spec).await,
        AlreadyExists,
        "already exists"
    );
    let spec = NetworkSpec {
        name: s.name(),
        driver: "nosuch".into(),
        ..NetworkSpec::default()
    };
    refused!(s.runtime.create_network(spec).await, NotFound, "nosuch");
    s.runtime.remove_network(&name).await.unwrap();
    event(&mut listener, &id, "destroy").await;
    refused!(s.runtime.inspect_network(&id).await, NotFound, "not found");
    refused!(s.runtime.remove_network(&name).await, NotFound, "not found");
}

pub(super) async fn one_in_use_stays(s: Subject) {
    if !s.can.networks {
        return;
    }
    let (name, id) = s.network().await;
    let container = s.launch(s.on(&name)).await;
    let endpoint = s.inspect(&container).await.network.networks[&name].clone();
    assert_eq!(endpoint.network_id, id);
    assert!(!endpoint.ip_address.is_empty());
    let network = s.runtime.inspect_network(&name).await.unwrap();
    assert!(network.containers.contains_key(&container));
    refused!(
        s.runtime.remove_network(&name).await,
        Forbidden,
        "has active endpoints"
    );
    assert!(
        s.runtime
            .prune_networks(&s.filter())
            .await
            .unwrap()
            .is_empty()
    );
    s.remove(&container).await;
    assert_eq!(s.runtime.prune_networks(&s.filter()).await.unwrap(), [name]);
}

pub(super) async fn connect_and_disconnect(s: Subject) {
    if !s.can.networks {
        return;
    }
    let (name, id) = s.network().await;
    let container = s.launch(s.on("bridge")).await;
    let mut listener = s.listen();
    let request = ConnectRequest {
        container: container.clone(),
        ..ConnectRequest::default()
    };
    soon("connect", s.runtime.connect_network(&name, request.clone()))
        .await
        .unwrap();
    let told = event(&mut listener, &id, "connect").await;
    assert_eq!(told.attributes["container"], container);
    let networks = s.inspect(&container).await.network.networks;
    assert!(networks.contains_key("bridge") && !networks[&name].ip_address.is_empty());
    refused!(
        s.runtime.connect_network(&name, request).await,
        Forbidden,
        "already exists"
    );
    soon(
        "disconnect",
        s.runtime.disconnect_network(&name, &container, false),
    )
    .await
    .unwrap();
    event(&mut listener, &id, "disconnect").await;
    assert!(
        !s.inspect(&container)
            .await
            .network
            .networks
            .contains_key(&name)
    );
    refused!(
        s.runtime.disconnect_network(&name, &container, false).await,
        Forbidden,
        "is not connected"
    );
    let request = ConnectRequest {
        container: "nosuch".into(),
        ..ConnectRequest::default()
    };
    refused!(
        s.runtime.connect_network(&name, request.clone()).await,
        NotFound
    );
    refused!(
        s.runtime
            .connect_network(
                "nosuch",
                ConnectRequest {
                    container,
                    ..request
                }
            )
            .await,
        NotFound
    );
}
