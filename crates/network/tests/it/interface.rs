//! Interfaces configured from within.

use std::time::{Duration, Instant};

use coracle_network::interface::{self, Interface, Route};
use coracle_network::{MacAddr, create_netns};

use crate::host::*;

fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

fn wanted(name: &str, last: u8) -> Interface {
    Interface {
        mac: mac(last),
        name: name.into(),
        mtu: 1400,
        addresses: vec![
            (format!("10.{last}.0.2").parse().unwrap(), 24),
            (format!("fd0{last}::2").parse().unwrap(), 64),
        ],
        gateway4: None,
        gateway6: None,
        routes: Vec::new(),
    }
}

#[test]
fn interfaces_are_found_by_mac_and_become_what_is_asked_for() {
    on_host(|host| async move {
        let path = host.netns("a");
        create_netns(&path).await.unwrap();
        within(&path, || {
            ip("link set lo down");
            for (name, last) in [("eth0", 1), ("eth1", 2)] {
                ip(&format!(
                    "link add name {name} address {} type veth peer name p{last}",
                    mac(last)
                ));
                ip(&format!("link set p{last} up"));
            }
            // Up, so that the rename has to lower it.
            ip("link set eth1 up");
            let mut first = wanted("eth1", 1);
            first.gateway4 = Some("10.1.0.1".parse().unwrap());
            first.gateway6 = Some("fd01::1".parse().unwrap());
            first.routes = vec![
                Route {
                    destination: "10.50.0.0/16".parse().unwrap(),
                    gateway: Some("10.1.0.9".parse().unwrap()),
                },
                Route {
                    destination: "10.60.0.0/16".parse().unwrap(),
                    gateway: None,
                },
                Route {
                    destination: "fd50::/32".parse().unwrap(),
                    gateway: Some("fd01::9".parse().unwrap()),
                },
            ];
            let second = Interface {
                addresses: vec![("10.2.0.2".parse().unwrap(), 24)],
                ..wanted("eth0", 2)
            };
            let both = [first.clone(), second];
            interface::configure(&both).unwrap();
            interface::configure(&both).unwrap();

            assert!(ip("-o link show lo").contains("LOOPBACK,UP"));
            let shown = ip("-o link show eth1");
            assert!(
                shown.contains("02:00:00:00:00:01") && shown.contains("mtu 1400"),
                "{shown}"
            );
            let addresses = ip("-o addr");
            assert!(
                addresses.contains("10.1.0.2/24 brd 10.1.0.255"),
                "{addresses}"
            );
            assert!(
                !ip("addr show dev eth1 tentative").contains("fd01::2")
                    && addresses.contains("fd01::2/64")
            );
            assert!(!ip("-o addr show eth0").contains("inet6"));
            let routes = ip("route") + &ip("-6 route");
            for route in [
                "default via 10.1.0.1 dev eth1",
                "10.50.0.0/16 via 10.1.0.9 dev eth1",
                "10.60.0.0/16 dev eth1 scope link",
                "fd50::/32 via fd01::9 dev eth1",
                "default via fd01::1 dev eth1",
            ] {
                assert!(routes.contains(route), "{route}: {routes}");
            }

            // Other gateways replace the former ones.
            first.gateway4 = Some("10.1.0.5".parse().unwrap());
            interface::configure(std::slice::from_ref(&first)).unwrap();
            assert_eq!(ip("route").matches("default").count(), 1);
            assert!(ip("route").contains("default via 10.1.0.5"));

            interface::unconfigure(&first).unwrap();
            interface::unconfigure(&first).unwrap();
            let left = ip("-o addr show eth1") + &ip("route") + &ip("-6 route");
            assert!(!left.contains("10.1.0.") && !left.contains("fd"), "{left}");
            assert!(ip("-o link show eth1").contains(",UP"));
            assert!(ip("route").contains("10.2.0.0/24"));
        });
    });
}

#[test]
fn what_cannot_be_is_refused() {
    on_host(|host| async move {
        let path = host.netns("a");
        create_netns(&path).await.unwrap();
        within(&path, || {
            ip(&format!(
                "link add name a address {} type veth peer name b",
                mac(1)
            ));
            let error = |interface| interface::configure(&[interface]).unwrap_err().to_string();
            let text = error(wanted("eth0", 9));
            assert!(text.contains("no interface has the MAC address"), "{text}");
            let text = error(wanted("b", 1));
            assert!(text.contains("called b already"), "{text}");
            let mut far = wanted("eth0", 1);
            far.gateway4 = Some("192.0.2.1".parse().unwrap());
            assert!(error(far).contains("configure eth0"));
            interface::configure(&[]).unwrap();
        });
    });
}

#[test]
fn what_goes_through_is_counted() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let a = host.container(&networks, "a").await;
        echo(a.netns(), addr("172.17.0.2:80"));
        ask(addr("172.17.0.2:80")).unwrap();
        let links = within(a.netns().unwrap(), || interface::links().unwrap());
        let find = |name: &str| links.iter().find(|l| l.name == name).unwrap();
        let eth0 = find("eth0");
        assert_eq!((eth0.mac, eth0.mtu, eth0.up), (Some(a.mac), 1500, true));
        let seen = eth0.statistics;
        assert!(seen.rx_packets > 2 && seen.tx_packets > 2, "{seen:?}");
        assert!(seen.rx_bytes > 100 && seen.tx_bytes > 100, "{seen:?}");
        assert_eq!(
            seen.rx_errors + seen.tx_errors + find("lo").statistics.rx_packets,
            0
        );
    });
}

#[test]
fn an_interface_that_is_to_come_is_waited_for() {
    on_host(|host| async move {
        let path = host.netns("a");
        create_netns(&path).await.unwrap();
        within(&path, || {
            let wanted = [wanted("eth0", 1)];
            let start = Instant::now();
            let patience = Duration::from_millis(80);
            let error = interface::configure_within(&wanted, patience).unwrap_err();
            assert!(error.to_string().contains("no interface has"), "{error}");
            assert!(start.elapsed() >= patience);

            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_millis(50));
                    // Others come before it.
                    ip("link add name x type veth peer name y");
                    let mac = mac(1);
                    ip(&format!(
                        "link add name z address {mac} type veth peer name b"
                    ));
                });
                interface::configure_within(&wanted, Duration::from_secs(10)).unwrap();
            });
            assert!(start.elapsed() < Duration::from_secs(5));
            assert!(ip("-o addr show eth0").contains("10.1.0.2/24"));
        });
    });
}
