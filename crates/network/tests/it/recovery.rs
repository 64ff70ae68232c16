use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use coracle_network::{EndpointConfig, Networks, PortRequest, Proto, create_netns};

use crate::host::*;

fn request() -> PortRequest {
    PortRequest {
        proto: Proto::Tcp,
        host_ip: None,
        host_port: Some(8080..=8080),
        container_port: 80,
    }
}

#[test]
fn a_restart_disturbs_nobody_and_clears_what_has_ended() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        let a = host.container(&networks, "a").await;
        let b = host.container(&networks, "b").await;
        echo(Some(a.netns().unwrap()), addr("172.17.0.2:80"));
        let published = networks.publish(&[request()]).unwrap();
        for endpoint in [&a, &b] {
            let port = 8080 + u16::from(endpoint.id == "b");
            let mut mappings = published.mappings();
            mappings.iter_mut().for_each(|m| m.host_port = port);
            let Some(std::net::IpAddr::V4(ip)) = endpoint.ip4() else {
                panic!()
            };
            networks
                .expose(&endpoint.id, mappings, Some(ip), None)
                .await
                .unwrap();
        }
        // A connection through the translated port, open over the restart.
        let mut open = within(&outside, || TcpStream::connect("10.9.0.1:8080").unwrap());
        open.write_all(b"hel").unwrap();
        drop(networks);

        let networks = Networks::open(host.config()).await.unwrap();
        networks.restore(live(&["a"])).await.unwrap();
        open.write_all(b"lo").unwrap();
        open.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        open.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "10.9.0.2|hello");
        assert_eq!(
            within(&outside, || ask(addr("10.9.0.1:8080"))).unwrap(),
            "10.9.0.2|hello"
        );

        // b is gone, with its link and port; a's address isn't given out again, nor b's at once.
        let ports = ip("-o link show master coracle0");
        assert!(
            ports.contains(&a.host_ifname) && !ports.contains(&b.host_ifname),
            "{ports}"
        );
        assert!(!nft("list table inet coracle-default").contains("8081"));
        assert_eq!(
            host.container(&networks, "c")
                .await
                .ip4()
                .unwrap()
                .to_string(),
            "172.17.0.4"
        );
        assert_eq!(networks.exposed().into_keys().collect::<Vec<_>>(), ["a"]);
    });
}

#[test]
fn a_flush_and_a_lost_bridge_are_made_good() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        nft("add table inet others");
        let a = host.container(&networks, "a").await;
        echo(Some(a.netns().unwrap()), addr("172.17.0.2:80"));
        let published = networks.publish(&[request()]).unwrap();
        let Some(std::net::IpAddr::V4(ip4)) = a.ip4() else {
            panic!()
        };
        networks
            .expose("a", published.mappings(), Some(ip4), None)
            .await
            .unwrap();
        let before = nft("list table inet coracle-default");
        let reached =
            || within(&outside, || ask(addr("10.9.0.1:8080"))).is_ok_and(|a| a == "10.9.0.2|hello");
        assert!(reached());

        nft("delete table inet coracle-default");
        networks.ensure().await.unwrap();
        networks.ensure().await.unwrap();
        assert_eq!(nft("list table inet coracle-default"), before);
        assert!(reached());

        // A change after a flush makes all of it good.
        nft("delete table inet coracle-default");
        networks.unexpose("nobody").await.unwrap();
        networks.expose("b", Vec::new(), None, None).await.unwrap();
        let mapping = coracle_network::PortMapping {
            host_port: 9,
            ..published.mappings()[0]
        };
        networks
            .expose("b", vec![mapping], Some(ip4), None)
            .await
            .unwrap();
        assert!(reached());
        networks.unexpose("b").await.unwrap();
        assert_eq!(nft("list table inet coracle-default"), before);

        ip("link delete coracle0");
        networks.ensure().await.unwrap();
        assert!(ip("-o link show master coracle0").contains(&a.host_ifname));
        assert!(reached());
        // Even the pair itself.
        ip(&format!("link delete {}", a.host_ifname));
        networks.restore(live(&["a"])).await.unwrap();
        assert!(reached());
        assert!(nft("list tables").contains("others"));
    });
}

#[test]
fn files_that_are_lost_or_broken_are_no_end() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let a = host.container(&networks, "a").await;
        let id = networks.default_network().unwrap().id;
        drop(networks);
        let file = host.dir.path().join("run/endpoints.json");
        std::fs::write(&file, "{").unwrap();
        let networks = Networks::open(host.config()).await.unwrap();
        let known = coracle_network::Live {
            id: "a".into(),
            endpoints: vec![a.clone()],
            exposure: None,
        };
        networks.restore(vec![known]).await.unwrap();
        assert_eq!(networks.endpoints(&id), std::slice::from_ref(&a));
        assert!(ip("-o link show master coracle0").contains(&a.host_ifname));
        create_netns(host.netns("b")).await.unwrap();
        let wanted = EndpointConfig {
            ipv4: Some("172.17.0.2".parse().unwrap()),
            ..EndpointConfig::new("b", &id)
        };
        assert!(networks.attach(host.netns("b"), wanted).await.is_err());
    });
}

#[test]
fn a_failed_firewall_is_told_and_nothing_stays() {
    on_host(|host| async move {
        let script = host.dir.path().join("nft");
        std::fs::write(&script, "#!/bin/sh\necho no such kernel >&2\nexit 1\n").unwrap();
        run("chmod", &["+x", script.to_str().unwrap()]);
        let config = coracle_network::Config {
            nft: script,
            ..host.config()
        };
        let networks = Networks::open(config).await.unwrap();
        let error = networks
            .restore(Vec::new())
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("no such kernel"), "{error}");
        let published = networks.publish(&[request()]).unwrap();
        let ip = Some("172.17.0.2".parse().unwrap());
        assert!(
            networks
                .expose("a", published.mappings(), ip, None)
                .await
                .is_err()
        );
        assert!(networks.exposed().is_empty());
        let spec = coracle_network::NetworkSpec {
            name: "web".into(),
            ..Default::default()
        };
        assert!(networks.create(spec).await.is_err());
        assert_eq!(networks.list().len(), 1);
        assert!(!ip_links().contains("br-"));
    });
}

fn ip_links() -> String {
    ip("-o link")
}

#[test]
fn what_others_remove_comes_back_by_itself() {
    on_host(|host| async move {
        let config = coracle_network::Config {
            ipv6: true,
            ..host.config()
        };
        let networks = host.networks(config).await;
        let outside = host.outside().await;
        let a = host.container(&networks, "a").await;
        let b = host.container(&networks, "b").await;
        echo(a.netns(), addr("172.17.0.2:80"));
        echo(Some(&outside), addr("10.9.0.2:80"));
        let published = networks.publish(&[request()]).unwrap();
        let address = Some("172.17.0.2".parse().unwrap());
        networks
            .expose("a", published.mappings(), address, None)
            .await
            .unwrap();
        let all = || {
            let from_b = |to| within(b.netns().unwrap(), || ask(addr(to))).is_ok();
            within(&outside, || ask(addr("10.9.0.1:8080"))).is_ok()
                && from_b("172.17.0.2:80")
                && from_b("10.9.0.2:80")
        };
        let table = || nft("list table inet coracle-default");
        let (rules, bridge) = (table(), ip("-o addr show coracle0"));
        let bridge_is_back = || {
            let link = ip("-o link");
            let addresses = || ip("-o addr show coracle0");
            let same = |part: &str| addresses().contains(part) && bridge.contains(part);
            link.contains("coracle0: <") && same("172.17.0.1/16") && same("inet6 fd")
        };
        assert!(all());

        for flush in [
            "flush ruleset",
            "flush table inet coracle-default",
            "flush chain inet coracle-default forward",
            "flush map inet coracle-default any4_port",
            "delete table inet coracle-default",
        ] {
            nft(flush);
            eventually(flush, || {
                nft("list tables").contains("coracle-default") && table() == rules
            });
            assert!(all(), "{flush}");
        }
        for damage in [
            "link delete coracle0".to_owned(),
            "addr flush dev coracle0".to_owned(),
            "link set coracle0 down".to_owned(),
            format!("link set {} nomaster", a.host_ifname),
            format!("link set {} down", a.host_ifname),
            format!("link delete {}", a.host_ifname),
        ] {
            ip(&damage);
            eventually(&damage, || bridge_is_back() && all());
        }
        assert_eq!(table(), rules);
    });
}

#[test]
fn who_detaches_while_it_is_watched_stays_detached() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let default = networks.default_network().unwrap().id;
        for round in 0..20 {
            let a = host.container(&networks, "a").await;
            // Something to repair all the time.
            if round % 4 == 0 {
                ip("link set coracle0 down");
            }
            networks.detach(&default, "a").await.unwrap();
            assert!(!ip("-o link").contains(&a.host_ifname));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!ip("-o link").contains("veth"), "{}", ip("-o link"));
    });
}

#[test]
fn a_watched_table_is_not_made_anew_for_our_own_changes() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let handle = || {
            let table = nft("-a list table inet coracle-default");
            table.lines().next().unwrap().to_owned()
        };
        let mapping = coracle_network::PortMapping {
            host_port: 9,
            ..networks.publish(&[request()]).unwrap().mappings()[0]
        };
        let before = handle();
        for _ in 0..5 {
            let address = Some("172.17.0.2".parse().unwrap());
            networks
                .expose("a", vec![mapping], address, None)
                .await
                .unwrap();
            networks.unexpose("a").await.unwrap();
        }
        nft("add table inet others");
        nft("delete table inet others");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(handle(), before);
        networks.ensure().await.unwrap();
        let made = handle();
        assert_ne!(made, before);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(handle(), made);
    });
}
