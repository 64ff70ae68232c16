//! Machines: a second network stack behind a tap.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use coracle_network::{
    Config, Endpoint, EndpointConfig, Error, NetworkSpec, Networks, Place, PortRequest, Proto,
    TapOwner, create_netns, interface, tap,
};

use crate::host::*;

/// A machine: a namespace whose only card is a tap too, with two threads as the cable between that
/// and the endpoint's. Its init finds the card by its address.
async fn machine(host: &Host, endpoint: &Endpoint) -> PathBuf {
    let path = host.netns(&format!("machine-{}", endpoint.id));
    create_netns(&path).await.unwrap();
    let outer = tap::open(&endpoint.host_ifname).unwrap();
    let inner = within(&path, || {
        ip("tuntap add dev card0 mode tap vnet_hdr");
        ip(&format!("link set card0 address {}", endpoint.mac));
        tap::open("card0").unwrap()
    });
    copy(outer.try_clone().unwrap(), inner.try_clone().unwrap());
    copy(inner, outer);
    within(&path, || {
        interface::configure(&[endpoint.interface()]).unwrap();
    });
    path
}

/// Ends when the taps are removed.
fn copy(from: OwnedFd, to: OwnedFd) {
    let (mut from, mut to) = (File::from(from), File::from(to));
    thread::spawn(move || {
        let mut packet = vec![0; 1 << 16];
        while let Ok(length) = from.read(&mut packet) {
            // A card that isn't raised yet refuses what is sent to it.
            let _ = to.write(&packet[..length]);
        }
    });
}

async fn attach(networks: &Networks, id: &str, network: &str) -> Endpoint {
    networks
        .attach(Place::machine(), EndpointConfig::new(id, network))
        .await
        .unwrap()
}

#[test]
fn a_machine_is_as_good_as_a_container() {
    on_host(|host| async move {
        let config = Config {
            ipv6: true,
            ..host.config()
        };
        let networks = host.networks(config).await;
        let outside = host.outside().await;
        let default = networks.default_network().unwrap().id;
        let start = Instant::now();
        let m = attach(&networks, "m", &default).await;
        eprintln!("attach a machine: {:?}", start.elapsed());
        assert!(m.netns().is_none() && m.host_ifname.starts_with("vtap"));
        assert_eq!(m.mac.to_string(), "02:42:ac:11:00:02");
        let inside = machine(&host, &m).await;
        let start = Instant::now();
        echo(None, addr("172.17.0.1:80"));
        within(&inside, || ask(addr("172.17.0.1:80"))).unwrap();
        eprintln!("a machine's first connection: {:?}", start.elapsed());
        let c = host.container(&networks, "c").await;
        let seen = within(&inside, || ip("-o addr show dev eth0") + &ip("route"));
        assert!(
            seen.contains("172.17.0.2/16") && seen.contains("default via 172.17.0.1"),
            "{seen}"
        );

        // To and from a container, the host, and the world.
        echo(Some(&inside), addr("172.17.0.2:80"));
        echo(c.netns(), addr("172.17.0.3:80"));
        echo(Some(&outside), addr("10.9.0.2:80"));
        let from = |netns: &Path, to| within(netns, || ask(addr(to)));
        assert_eq!(
            from(c.netns().unwrap(), "172.17.0.2:80").unwrap(),
            "172.17.0.3|hello"
        );
        assert_eq!(from(&inside, "172.17.0.3:80").unwrap(), "172.17.0.2|hello");
        assert_eq!(ask(addr("172.17.0.2:80")).unwrap(), "172.17.0.1|hello");
        assert_eq!(from(&inside, "10.9.0.2:80").unwrap(), "10.9.0.1|hello");

        let own6 = (m.ip6().unwrap(), 80).into();
        echo(Some(&inside), own6);
        let answer = within(c.netns().unwrap(), || ask(own6)).unwrap();
        assert_eq!(answer, format!("{}|hello", c.ip6().unwrap()));
        echo(Some(&outside), addr("[fd09::2]:80"));
        assert_eq!(from(&inside, "[fd09::2]:80").unwrap(), "fd09::1|hello");

        // A published port.
        let request = PortRequest {
            proto: Proto::Tcp,
            host_ip: None,
            host_port: Some(8080..=8080),
            container_port: 80,
        };
        let published = networks.publish(&[request]).unwrap();
        let address = Some("172.17.0.2".parse().unwrap());
        networks
            .expose("m", published.mappings(), address, None)
            .await
            .unwrap();
        assert_eq!(from(&outside, "10.9.0.1:8080").unwrap(), "10.9.0.2|hello");

        // Isolation, both ways.
        let spec = NetworkSpec {
            name: "web".into(),
            ..NetworkSpec::default()
        };
        let web = networks.create(spec).await.unwrap();
        let other = attach(&networks, "other", &web.id).await;
        let other_inside = machine(&host, &other).await;
        echo(Some(&other_inside), addr("172.18.0.2:80"));
        assert_eq!(ask(addr("172.18.0.2:80")).unwrap(), "172.18.0.1|hello");
        assert!(from(&inside, "172.18.0.2:80").is_err());
        assert!(from(&other_inside, "172.17.0.2:80").is_err());

        networks.detach(&default, "m").await.unwrap();
        networks.detach(&default, "m").await.unwrap();
        assert!(!ip("-o link").contains(&m.host_ifname));
        networks.release("other").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert!(!ip("-o link").contains("vtap"));
        networks.remove(&web.id).await.unwrap();
    });
}

#[test]
fn a_tap_is_on_its_bridge_and_opened_by_one() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let default = networks.default_network().unwrap().id;
        let owner = TapOwner {
            uid: Some(1234),
            gid: Some(5678),
        };
        let m = networks
            .attach(Place::Machine(owner), EndpointConfig::new("m", &default))
            .await
            .unwrap();
        let shown = ip(&format!("-d link show {}", m.host_ifname));
        for part in [
            "master coracle0",
            "mtu 1500",
            ",UP",
            "tun type tap pi off vnet_hdr on persist on user 1234 group 5678",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let first = tap::open(&m.host_ifname).unwrap();
        let error = tap::open(&m.host_ifname).unwrap_err().to_string();
        assert!(error.contains("another process has it"), "{error}");
        drop(first);
        drop(tap::open(&m.host_ifname).unwrap());
        assert!(ip("-o link").contains(&m.host_ifname));

        let error = tap::open("vtap0").unwrap_err().to_string();
        assert!(error.contains("no such interface"), "{error}");
        eventually("no tap is made", || !ip("-o link").contains(" vtap0:"));
        assert!(tap::open("coracle0").is_err());
        assert!(matches!(tap::open("a/b"), Err(Error::Invalid(_))));

        // Attached again: another tap, the same address.
        let again = attach(&networks, "m", &default).await;
        assert_ne!(again.host_ifname, m.host_ifname);
        assert_eq!(again.ip4(), m.ip4());
        assert!(!ip("-o link").contains(&m.host_ifname));
    });
}

#[test]
fn a_restart_disturbs_no_machine_and_clears_those_that_have_ended() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let default = networks.default_network().unwrap().id;
        let m = attach(&networks, "m", &default).await;
        let gone = attach(&networks, "gone", &default).await;
        let inside = machine(&host, &m).await;
        echo(Some(&inside), addr("172.17.0.2:80"));
        assert_eq!(ask(addr("172.17.0.2:80")).unwrap(), "172.17.0.1|hello");
        drop(networks);

        let networks = Networks::open(host.config()).await.unwrap();
        networks.restore(live(&["m"])).await.unwrap();
        assert_eq!(networks.endpoints(&default), std::slice::from_ref(&m));
        assert!(!ip("-o link").contains(&gone.host_ifname));
        assert_eq!(ask(addr("172.17.0.2:80")).unwrap(), "172.17.0.1|hello");

        // A bridge that somebody removes takes no machine with it.
        ip("link delete coracle0");
        networks.ensure().await.unwrap();
        assert_eq!(ask(addr("172.17.0.2:80")).unwrap(), "172.17.0.1|hello");
        networks.release("m").await.unwrap();
        drop(networks);

        // A crash right after the release leaves a tap for the next start.
        host.networks(host.config()).await;
        assert!(!ip("-o link").contains("vtap"));
    });
}
