use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use coracle_network::{Config, Endpoint, Networks, PortRequest, Proto, Published};

use crate::host::*;

fn port(host_port: u16, container_port: u16) -> PortRequest {
    PortRequest {
        proto: Proto::Tcp,
        host_ip: None,
        host_port: (host_port > 0).then_some(host_port..=host_port),
        container_port,
    }
}

async fn expose(networks: &Networks, endpoint: &Endpoint, published: &Published) {
    let v4 = |ip| {
        if let IpAddr::V4(ip) = ip {
            Some::<Ipv4Addr>(ip)
        } else {
            None
        }
    };
    let v6 = |ip| {
        if let IpAddr::V6(ip) = ip {
            Some::<Ipv6Addr>(ip)
        } else {
            None
        }
    };
    let (ip4, ip6) = (endpoint.ip4().and_then(v4), endpoint.ip6().and_then(v6));
    networks
        .expose(&endpoint.id, published.mappings(), ip4, ip6)
        .await
        .unwrap();
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        let a = host.container(&networks, "a").await;
        let b = host.container(&networks, "b").await;
        echo(Some(a.netns().unwrap()), addr("172.17.0.2:80"));
        let start = Instant::now();
        let published = networks.publish(&[port(8080, 80)]).unwrap();
        let bound = start.elapsed();
        expose(&networks, &a, &published).await;
        eprintln!("publish: {bound:?}, and expose: {:?}", start.elapsed());
        assert_eq!(published.bindings.len(), 2);
        serve(published, a.ip4().unwrap());

        // From outside the client's address is seen: no proxy is between.
        assert_eq!(
            within(&outside, || ask(addr("10.9.0.1:8080"))).unwrap(),
            "10.9.0.2|hello"
        );
        // The host by its own address, by loopback and by IPv6: translated, and through the proxy.
        assert_eq!(ask(addr("10.9.0.1:8080")).unwrap(), "10.9.0.1|hello");
        assert_eq!(ask(addr("127.0.0.1:8080")).unwrap(), "172.17.0.1|hello");
        assert_eq!(ask(addr("[::1]:8080")).unwrap(), "172.17.0.1|hello");
        assert_eq!(
            within(&outside, || ask(addr("[fd09::1]:8080"))).unwrap(),
            "172.17.0.1|hello"
        );
        // A neighbour and the container itself.
        for gateway in ["10.9.0.1:8080", "172.17.0.1:8080"] {
            assert_eq!(
                within(b.netns().unwrap(), || ask(addr(gateway))).unwrap(),
                "172.17.0.1|hello"
            );
            assert_eq!(
                within(a.netns().unwrap(), || ask(addr(gateway))).unwrap(),
                "172.17.0.1|hello"
            );
        }

        networks.unexpose("a").await.unwrap();
        networks.unexpose("a").await.unwrap();
        let rules = nft("list table inet coracle-default");
        assert!(!rules.contains("8080"), "{rules}");
    });
}

#[test]
fn ipv6_and_udp_and_single_addresses() {
    on_host(|host| async move {
        let networks = host
            .networks(Config {
                ipv6: true,
                ..host.config()
            })
            .await;
        let outside = host.outside().await;
        let a = host.container(&networks, "a").await;
        echo(Some(a.netns().unwrap()), addr("[::]:80"));
        echo_udp(a.netns().unwrap(), addr("[::]:53"));
        let udp = PortRequest {
            proto: Proto::Udp,
            ..port(5353, 53)
        };
        let one = PortRequest {
            host_ip: Some("10.9.0.1".parse().unwrap()),
            ..port(8081, 80)
        };
        let local = PortRequest {
            host_ip: Some("127.0.0.1".parse().unwrap()),
            ..port(8082, 80)
        };
        let one6 = PortRequest {
            host_ip: Some("fd09::1".parse().unwrap()),
            ..port(8083, 80)
        };
        let published = networks
            .publish(&[port(8080, 80), udp, one, local, one6])
            .unwrap();
        expose(&networks, &a, &published).await;
        serve(published, a.ip4().unwrap());
        within(&outside, || {
            assert_eq!(ask(addr("[fd09::1]:8080")).unwrap(), "fd09::2|hello");
            assert_eq!(ask_udp(addr("10.9.0.1:5353")).unwrap(), "10.9.0.2|hello");
            assert_eq!(ask_udp(addr("[fd09::1]:5353")).unwrap(), "fd09::2|hello");
            assert_eq!(ask(addr("10.9.0.1:8081")).unwrap(), "10.9.0.2|hello");
            assert_eq!(ask(addr("[fd09::1]:8083")).unwrap(), "fd09::2|hello");
            assert!(ask(addr("10.9.0.1:8082")).is_err());
        });
        assert_eq!(ask_udp(addr("127.0.0.1:5353")).unwrap(), "172.17.0.1|hello");
        assert_eq!(ask_udp(addr("[::1]:5353")).unwrap(), "172.17.0.1|hello");
        assert_eq!(ask(addr("127.0.0.1:8082")).unwrap(), "172.17.0.1|hello");
        assert!(ask(addr("127.0.0.1:8081")).is_err());
    });
}

#[test]
fn conflicts_are_told_as_docker_tells_them() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let first = networks.publish(&[port(8080, 80)]).unwrap();
        let error =
            |requests: &[PortRequest]| networks.publish(requests).err().unwrap().to_string();
        assert_eq!(
            error(&[port(8080, 81)]),
            "Bind for 0.0.0.0:8080 failed: port is already allocated"
        );
        // All or none: 9090 isn't kept.
        error(&[port(9090, 80), port(8080, 80)]);
        drop(networks.publish(&[port(9090, 80)]).unwrap());
        let range = PortRequest {
            host_port: Some(8080..=8081),
            ..port(0, 80)
        };
        let second = networks.publish(std::slice::from_ref(&range)).unwrap();
        assert_eq!(second.bindings[0].mapping.host_port, 8081);
        assert_eq!(error(&[range]), "all ports are allocated");
        let elsewhere = PortRequest {
            host_ip: Some("192.0.2.1".parse().unwrap()),
            ..port(1, 80)
        };
        let text = error(&[elsewhere]);
        assert!(
            text.starts_with("failed to bind host port 192.0.2.1:1/tcp"),
            "{text}"
        );
        // Another protocol, and a port that is free again.
        let udp = PortRequest {
            proto: Proto::Udp,
            ..port(8080, 80)
        };
        let udp = [udp];
        let kept = networks.publish(&udp).unwrap();
        assert_eq!(
            error(&udp),
            "Bind for 0.0.0.0:8080 failed: port is already allocated"
        );
        drop((first, kept));
        networks.publish(&[port(8080, 80)]).unwrap();
        // Any port: the same for both families, and not one twice in a row.
        let [one, two] = [0, 0].map(|_| networks.publish(&[port(0, 80)]).unwrap().mappings());
        assert_eq!(one.len(), 2);
        assert_eq!(one[0].host_port, one[1].host_port);
        assert!(one[0].host_port >= 32768 && one[0] != two[0]);
        // Somebody else's socket counts as well.
        let _other = std::net::TcpListener::bind("127.0.0.1:7070").unwrap();
        assert_eq!(
            error(&[port(7070, 1)]),
            "Bind for 0.0.0.0:7070 failed: port is already allocated"
        );
    });
}

#[test]
fn without_the_proxy_loopback_is_translated_too() {
    on_host(|host| async move {
        let networks = host
            .networks(Config {
                userland_proxy: false,
                ..host.config()
            })
            .await;
        let a = host.container(&networks, "a").await;
        echo(Some(a.netns().unwrap()), addr("172.17.0.2:80"));
        echo(None, addr("127.0.0.1:9999"));
        let published = networks.publish(&[port(8080, 80)]).unwrap();
        expose(&networks, &a, &published).await;
        assert_eq!(ask(addr("127.0.0.1:8080")).unwrap(), "172.17.0.1|hello");
        // The host's own loopback isn't opened to containers by that.
        within(a.netns().unwrap(), || {
            std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").unwrap();
            ip("addr flush dev lo");
            ip("route add 127.0.0.1 via 172.17.0.1 dev eth0 src 172.17.0.2");
        });
        let reached = || within(a.netns().unwrap(), || ask(addr("127.0.0.1:9999"))).is_ok();
        assert!(!reached());
        nft("flush chain inet coracle-default raw");
        assert!(reached(), "the test must be able to fail");
        networks.ensure().await.unwrap();
        assert!(!reached());
        drop(published);
    });
}

#[test]
fn without_nft_the_proxy_serves_alone() {
    on_host(|host| async move {
        let config = Config {
            nft: "/nowhere/nft".into(),
            ..host.config()
        };
        let networks = host.networks(config).await;
        assert!(networks.warnings()[0].contains("nft is missing"));
        let outside = host.outside().await;
        let a = host.container(&networks, "a").await;
        echo(Some(a.netns().unwrap()), addr("172.17.0.2:80"));
        let published = networks.publish(&[port(8080, 80)]).unwrap();
        expose(&networks, &a, &published).await;
        serve(published, a.ip4().unwrap());
        assert_eq!(
            within(&outside, || ask(addr("10.9.0.1:8080"))).unwrap(),
            "172.17.0.1|hello"
        );
        networks.release("a").await.unwrap();
    });
}

#[test]
fn fifty_published_at_once() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let start = Instant::now();
        let tasks: Vec<_> = (0..50_u8)
            .map(|n| {
                let networks = networks.clone();
                tokio::spawn(async move {
                    let published = networks.publish(&[port(0, 80)]).unwrap();
                    let ip = Some(Ipv4Addr::new(172, 17, 1, n));
                    networks
                        .expose(&n.to_string(), published.mappings(), ip, None)
                        .await
                        .unwrap();
                    published
                })
            })
            .collect();
        let mut published = Vec::new();
        for task in tasks {
            published.push(task.await.unwrap());
        }
        eprintln!("50 publish and expose at once: {:?}", start.elapsed());
        assert_eq!(
            nft("list map inet coracle-default any4_address")
                .matches("172.17.1.")
                .count(),
            50
        );
        assert_eq!(networks.exposed().len(), 50);
    });
}

#[test]
fn a_udp_client_that_keeps_sending_finds_the_new_container() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        let a = host.container(&networks, "a").await;
        let b = host.container(&networks, "b").await;
        echo_udp(b.netns().unwrap(), addr("0.0.0.0:53"));
        let udp = PortRequest {
            proto: Proto::Udp,
            ..port(5353, 53)
        };
        let published = networks.publish(&[udp]).unwrap();
        expose(&networks, &a, &published).await;
        let client = within(&outside, || {
            let client = std::net::UdpSocket::bind("10.9.0.2:4000").unwrap();
            client.connect("10.9.0.1:5353").unwrap();
            client
        });
        let mut buffer = [0; 64];
        client
            .set_read_timeout(Some(std::time::Duration::from_millis(200)))
            .unwrap();
        // Nobody listens in a.
        client.send(b"one").unwrap();
        assert!(client.recv(&mut buffer).is_err());
        networks.release("a").await.unwrap();
        let published = Published {
            bindings: published.bindings,
        };
        expose(&networks, &b, &published).await;
        client
            .set_read_timeout(Some(std::time::Duration::from_secs(2)))
            .unwrap();
        client.send(b"two").unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"10.9.0.2|two");
    });
}
