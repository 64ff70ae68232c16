use std::collections::BTreeSet;
use std::time::Instant;

use coracle_network::{
    Config, EndpointConfig, Error, NetworkSpec, PoolSpec, create_netns, remove_netns,
    remove_stale_netns,
};

use crate::host::*;

#[test]
fn a_namespace_is_made_quickly_and_removed_twice() {
    on_host(|host| async move {
        let path = host.netns("a");
        let start = Instant::now();
        create_netns(&path).await.unwrap();
        eprintln!("create_netns: {:?}", start.elapsed());
        assert!(within(&path, || ip("-o link")).contains("LOOPBACK,UP"));
        // Again: what an earlier run left is replaced.
        create_netns(&path).await.unwrap();
        remove_netns(&path).await.unwrap();
        remove_netns(&path).await.unwrap();
        assert!(!path.exists());
        for id in ["a", "b", "c"] {
            create_netns(host.netns(id)).await.unwrap();
        }
        let mut removed = remove_stale_netns(host.dir.path().join("netns"), names(&["b"]))
            .await
            .unwrap();
        removed.sort();
        assert_eq!(removed, ["a", "c"]);
        assert!(host.netns("b").exists());
        assert!(
            remove_stale_netns("/nowhere", names(&[]))
                .await
                .unwrap()
                .is_empty()
        );
        remove_netns(host.netns("b")).await.unwrap();
    });
}

#[test]
fn two_containers_reach_each_other_and_the_host() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let a = host.container(&networks, "a").await;
        let start = Instant::now();
        let b = host.container(&networks, "b").await;
        eprintln!("netns and attach: {:?}", start.elapsed());
        let (ip_a, ip_b) = (a.ip4().unwrap(), b.ip4().unwrap());
        assert_eq!(
            (ip_a.to_string(), ip_b.to_string()),
            ("172.17.0.2".into(), "172.17.0.3".into())
        );
        assert_eq!(a.mac.to_string(), "02:42:ac:11:00:02");
        echo(Some(b.netns().unwrap()), (ip_b, 80).into());
        echo(None, addr("172.17.0.1:81"));
        let start = Instant::now();
        let answer = within(a.netns().unwrap(), || ask((ip_b, 80).into()));
        eprintln!("first connection: {:?}", start.elapsed());
        assert_eq!(answer.unwrap(), "172.17.0.2|hello");
        assert_eq!(
            within(a.netns().unwrap(), || ask(addr("172.17.0.1:81"))).unwrap(),
            "172.17.0.2|hello"
        );
        assert_eq!(ask((ip_b, 80).into()).unwrap(), "172.17.0.1|hello");
        let inside = within(a.netns().unwrap(), || {
            ip("-o addr show dev eth0") + &ip("route")
        });
        assert!(
            inside.contains("172.17.0.2/16 brd 172.17.255.255"),
            "{inside}"
        );
        assert!(
            inside.contains("default via 172.17.0.1 dev eth0"),
            "{inside}"
        );
        assert!(!inside.contains("inet6"), "{inside}");

        networks.detach(&a.network, "a").await.unwrap();
        networks.detach(&a.network, "a").await.unwrap();
        assert!(!within(a.netns().unwrap(), || ip("-o link")).contains("eth0"));
        // Rotating: not a's address again.
        assert_eq!(
            host.container(&networks, "c")
                .await
                .ip4()
                .unwrap()
                .to_string(),
            "172.17.0.4"
        );
    });
}

#[test]
fn containers_go_out_under_the_hosts_address_and_nobody_comes_in() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        let a = host.container(&networks, "a").await;
        echo(Some(&outside), addr("10.9.0.2:80"));
        echo(Some(a.netns().unwrap()), addr("172.17.0.2:80"));
        assert_eq!(
            within(a.netns().unwrap(), || ask(addr("10.9.0.2:80"))).unwrap(),
            "10.9.0.1|hello"
        );
        within(&outside, || ip("route add 172.17.0.0/16 via 10.9.0.1"));
        assert!(within(&outside, || ask(addr("172.17.0.2:80"))).is_err());
    });
}

#[test]
fn ipv6() {
    on_host(|host| async move {
        let networks = host
            .networks(Config {
                ipv6: true,
                ..host.config()
            })
            .await;
        let outside = host.outside().await;
        let a = host.container(&networks, "a").await;
        let b = host.container(&networks, "b").await;
        let (a6, b6) = (a.ip6().unwrap(), b.ip6().unwrap());
        assert!(a6.to_string().starts_with("fd"), "{a6}");
        echo(Some(b.netns().unwrap()), (b6, 80).into());
        assert_eq!(
            within(a.netns().unwrap(), || ask((b6, 80).into())).unwrap(),
            format!("{a6}|hello")
        );
        echo(Some(&outside), addr("[fd09::2]:80"));
        assert_eq!(
            within(a.netns().unwrap(), || ask(addr("[fd09::2]:80"))).unwrap(),
            "fd09::1|hello"
        );
        // The random subnet is remembered.
        drop(networks);
        let again = host
            .networks(Config {
                ipv6: true,
                ..host.config()
            })
            .await;
        assert_eq!(
            again.default_network().unwrap().ipv6.unwrap().subnet,
            a.ipv6.unwrap().subnet
        );
    });
}

#[test]
fn wishes_and_refusals() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let network = networks.default_network().unwrap().id;
        let path = host.netns("a");
        create_netns(&path).await.unwrap();
        let wanted = EndpointConfig {
            ipv4: Some("172.17.5.5".parse().unwrap()),
            mac: Some("02:00:00:00:00:07".parse().unwrap()),
            ifname: "net7".into(),
            default_route: false,
            ..EndpointConfig::new("a", &network)
        };
        let a = networks.attach(&path, wanted.clone()).await.unwrap();
        let inside = within(&path, || {
            ip("-o addr show dev net7") + &ip("-o link") + &ip("route")
        });
        assert!(
            inside.contains("172.17.5.5/16") && inside.contains("02:00:00:00:00:07"),
            "{inside}"
        );
        assert!(!inside.contains("default via"), "{inside}");
        // Again, for the same container: replaced, with its address.
        let plain = EndpointConfig {
            ipv4: None,
            ..wanted.clone()
        };
        let again = networks.attach(&path, plain).await.unwrap();
        assert_eq!((again.ip4(), again.mac), (a.ip4(), a.mac));

        let error = |wanted: EndpointConfig| {
            let (networks, path) = (networks.clone(), path.clone());
            async move { networks.attach(path, wanted).await.err().unwrap() }
        };
        let other = |ip: &str| EndpointConfig {
            ipv4: Some(ip.parse().unwrap()),
            ifname: "eth1".into(),
            ..EndpointConfig::new("b", &network)
        };
        assert!(matches!(
            error(other("172.17.5.5")).await,
            Error::AddressInUse(_)
        ));
        assert!(matches!(
            error(other("172.17.0.1")).await,
            Error::AddressInUse(_)
        ));
        assert!(matches!(
            error(other("172.17.255.255")).await,
            Error::AddressOutside(_)
        ));
        assert!(matches!(
            error(other("10.0.0.1")).await,
            Error::AddressOutside(_)
        ));
        let taken = EndpointConfig {
            ifname: "net7".into(),
            ..other("172.17.0.9")
        };
        let text = error(taken).await.to_string();
        assert!(text.contains("net7 exists already"), "{text}");
        let bad = EndpointConfig {
            ifname: "a/b".into(),
            ..other("172.17.0.9")
        };
        assert!(matches!(error(bad).await, Error::Invalid(_)));
        let nowhere = EndpointConfig::new("b", "nowhere");
        assert!(matches!(error(nowhere).await, Error::NetworkNotFound(_)));
        let file = host.dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let attached = networks.attach(&file, other("172.17.0.9")).await;
        assert!(matches!(attached, Err(Error::Namespace { .. })));
        // Nothing of these is left.
        assert_eq!(networks.endpoints(&network).len(), 1);
        assert_eq!(ip("-o link show master coracle0").lines().count(), 1);
        networks.attach(&path, other("172.17.0.9")).await.unwrap();
    });
}

#[test]
fn fifty_at_once() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let network = networks.default_network().unwrap().id;
        let start = Instant::now();
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let (networks, network) = (networks.clone(), network.clone());
                let path = host.netns(&n.to_string());
                tokio::spawn(async move {
                    create_netns(&path).await.unwrap();
                    networks
                        .attach(path, EndpointConfig::new(n.to_string(), network))
                        .await
                        .unwrap()
                })
            })
            .collect();
        let mut ips = BTreeSet::new();
        for task in tasks {
            ips.insert(task.await.unwrap().ip4().unwrap());
        }
        eprintln!("50 netns and attach at once: {:?}", start.elapsed());
        assert_eq!(ips.len(), 50);
        assert_eq!(ip("-o link show master coracle0").lines().count(), 50);
        let start = Instant::now();
        for n in 0..50 {
            let id = n.to_string();
            networks.release(&id).await.unwrap();
            remove_netns(host.netns(&id)).await.unwrap();
        }
        eprintln!("50 releases: {:?}", start.elapsed());
        assert!(networks.endpoints(&network).is_empty());
    });
}

#[test]
fn without_icc_containers_reach_the_host_only() {
    on_host(|host| async move {
        let networks = host
            .networks(Config {
                icc: false,
                ..host.config()
            })
            .await;
        let a = host.container(&networks, "a").await;
        let b = host.container(&networks, "b").await;
        echo(Some(b.netns().unwrap()), addr("172.17.0.3:80"));
        assert!(within(a.netns().unwrap(), || ask(addr("172.17.0.3:80"))).is_err());
        assert!(ask(addr("172.17.0.3:80")).is_ok());
        drop(b);
    });
}

#[test]
fn networks_are_made_isolated_and_removed() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        let spec = |name: &str| NetworkSpec {
            name: name.into(),
            ..NetworkSpec::default()
        };
        let web = networks.create(spec("web")).await.unwrap();
        let inner = networks
            .create(NetworkSpec {
                internal: true,
                ..spec("inner")
            })
            .await
            .unwrap();
        assert_eq!(
            web.ipv4.as_ref().unwrap().subnet.to_string(),
            "172.18.0.0/16"
        );
        assert!(matches!(
            networks.create(spec("web")).await,
            Err(Error::NetworkExists(_))
        ));
        let subnet = |s: &str| PoolSpec {
            subnet: Some(s.parse().unwrap()),
            ..PoolSpec::default()
        };
        let overlapping = NetworkSpec {
            ipv4: Some(subnet("172.18.5.0/24")),
            ..spec("x")
        };
        assert!(matches!(
            networks.create(overlapping).await,
            Err(Error::PoolOverlap)
        ));
        assert_eq!(networks.find("web").unwrap(), web);
        assert_eq!(networks.find(&web.id[..12]).unwrap(), web);
        assert!(matches!(
            networks.find("nix"),
            Err(Error::NetworkNotFound(_))
        ));

        let a = host.container(&networks, "a").await;
        create_netns(host.netns("b")).await.unwrap();
        let b = networks
            .attach(host.netns("b"), EndpointConfig::new("b", &web.id))
            .await
            .unwrap();
        echo(Some(b.netns().unwrap()), (b.ip4().unwrap(), 80).into());
        echo(Some(&outside), addr("10.9.0.2:80"));
        assert!(within(a.netns().unwrap(), || ask((b.ip4().unwrap(), 80).into())).is_err());
        assert!(within(b.netns().unwrap(), || ask(addr("10.9.0.2:80"))).is_ok());

        // Connected to a second network while it runs, then cut off again.
        let second = EndpointConfig {
            ifname: "eth1".into(),
            default_route: false,
            ..EndpointConfig::new("a", &web.id)
        };
        let second = networks.attach(a.netns().unwrap(), second).await.unwrap();
        let answer = within(a.netns().unwrap(), || ask((b.ip4().unwrap(), 80).into())).unwrap();
        assert_eq!(answer, format!("{}|hello", second.ip4().unwrap()));
        assert!(matches!(
            networks.remove(&web.id).await,
            Err(Error::NetworkInUse { .. })
        ));
        networks.detach(&web.id, "a").await.unwrap();
        assert!(within(a.netns().unwrap(), || ask((b.ip4().unwrap(), 80).into())).is_err());

        // An internal network reaches nothing beyond it.
        create_netns(host.netns("c")).await.unwrap();
        let c = networks
            .attach(host.netns("c"), EndpointConfig::new("c", &inner.id))
            .await
            .unwrap();
        within(c.netns().unwrap(), || {
            ip(&format!(
                "route add default via {}",
                inner.gateway().unwrap()
            ))
        });
        assert!(within(c.netns().unwrap(), || ask(addr("10.9.0.2:80"))).is_err());

        networks.release("b").await.unwrap();
        // Its namespace lives on: the interface goes a little later.
        assert!(within(b.netns().unwrap(), || ip("-o link")).contains("eth0"));
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        assert!(!within(b.netns().unwrap(), || ip("-o link")).contains("eth0"));
        networks.remove(&web.id).await.unwrap();
        assert!(matches!(
            networks.remove(&web.id).await,
            Err(Error::NetworkNotFound(_))
        ));
        let default = networks.default_network().unwrap().id;
        assert!(matches!(
            networks.remove(&default).await,
            Err(Error::Predefined(_))
        ));
        assert!(!ip("-o link").contains(&web.bridge));
        // They are remembered.
        let again = coracle_network::Networks::open(host.config())
            .await
            .unwrap();
        assert_eq!(again.list(), networks.list());
    });
}

#[test]
fn a_network_has_ipv6_alone() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let spec = |ipv6| NetworkSpec {
            name: "six".into(),
            ipv4: None,
            ipv6,
            ..NetworkSpec::default()
        };
        assert!(matches!(
            networks.create(spec(None)).await,
            Err(Error::Invalid(_))
        ));
        let network = networks
            .create(spec(Some(PoolSpec::default())))
            .await
            .unwrap();
        assert_eq!(ip(&format!("-o -4 addr show dev {}", network.bridge)), "");
        let mut ends = Vec::new();
        for id in ["a", "b"] {
            create_netns(host.netns(id)).await.unwrap();
            let wanted = EndpointConfig::new(id, &network.id);
            let end = networks.attach(host.netns(id), wanted).await.unwrap();
            assert_eq!(end.ip4(), None);
            ends.push(end);
        }
        let [a, b] = &ends[..] else { unreachable!() };
        echo(Some(b.netns().unwrap()), (b.ip6().unwrap(), 80).into());
        let answer = within(a.netns().unwrap(), || ask((b.ip6().unwrap(), 80).into())).unwrap();
        assert_eq!(answer, format!("{}|hello", a.ip6().unwrap()));
        let routes = within(a.netns().unwrap(), || ip("-6 route"));
        let gateway = network.gateway().unwrap();
        assert!(
            routes.contains(&format!("default via {gateway}")),
            "{routes}"
        );
        assert_eq!(within(a.netns().unwrap(), || ip("-4 route")), "");
        let wanted = EndpointConfig {
            ipv4: Some("172.18.0.9".parse().unwrap()),
            ..EndpointConfig::new("c", &network.id)
        };
        create_netns(host.netns("c")).await.unwrap();
        assert!(matches!(
            networks.attach(host.netns("c"), wanted).await,
            Err(Error::AddressOutside(_))
        ));
        // It is remembered.
        let again = coracle_network::Networks::open(host.config())
            .await
            .unwrap();
        assert_eq!(again.list(), networks.list());
    });
}

#[test]
fn subnets_avoid_the_hosts_routes() {
    on_host(|host| async move {
        ip("link add taken type bridge");
        ip("addr add 172.17.3.1/24 dev taken");
        ip("link set taken up");
        let networks = host.networks(host.config()).await;
        let network = networks.default_network().unwrap();
        assert_eq!(network.ipv4.unwrap().subnet.to_string(), "172.18.0.0/16");
        drop(networks);
        let bip = Config {
            bip: Some("10.77.0.5/24".into()),
            ..host.config()
        };
        let networks = host.networks(bip).await;
        let network = networks.default_network().unwrap();
        assert_eq!(network.gateway().unwrap().to_string(), "10.77.0.5");
        let addresses = ip("-o -4 addr show dev coracle0");
        assert!(
            addresses.contains("10.77.0.5/24") && !addresses.contains("172.18"),
            "{addresses}"
        );
    });
}

#[test]
fn an_interface_has_its_name_and_settings() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let spec = NetworkSpec {
            name: "web".into(),
            options: [(
                "com.docker.network.container_iface_prefix".into(),
                "web".into(),
            )]
            .into(),
            ..NetworkSpec::default()
        };
        let web = networks.create(spec).await.unwrap();
        assert_eq!(web.interface_prefix(), "web");
        create_netns(host.netns("a")).await.unwrap();
        let mut wanted = EndpointConfig::new("a", &web.id);
        let sysctls = "net.ipv4.conf.IFNAME.log_martians=1";
        let options = [
            ("com.docker.network.endpoint.ifname".into(), "web7".into()),
            ("com.docker.network.endpoint.sysctls".into(), sysctls.into()),
        ];
        wanted.set_options(&options.into()).unwrap();
        networks
            .attach(host.netns("a"), wanted.clone())
            .await
            .unwrap();
        let setting = within(&host.netns("a"), || {
            std::fs::read_to_string("/proc/sys/net/ipv4/conf/web7/log_martians")
        });
        assert_eq!(setting.unwrap().trim(), "1");
        let wrong = EndpointConfig {
            sysctls: vec!["net.ipv4.conf.IFNAME.nix=1".parse().unwrap()],
            ..wanted.clone()
        };
        let error = networks.attach(host.netns("a"), wrong).await.unwrap_err();
        assert!(error.to_string().contains("ipv4/conf/web7/nix"), "{error}");
        assert!(
            networks
                .attach(coracle_network::Place::machine(), wanted)
                .await
                .is_err()
        );
    });
}

#[test]
fn the_default_route_follows_the_priorities() {
    on_host(|host| async move {
        let networks = host
            .networks(Config {
                ipv6: true,
                ..host.config()
            })
            .await;
        let default = networks.default_network().unwrap().id;
        let make = async |name: &str, internal, ipv6: bool| {
            let spec = NetworkSpec {
                name: name.into(),
                internal,
                ipv6: ipv6.then(PoolSpec::default),
                ..NetworkSpec::default()
            };
            networks.create(spec).await.unwrap().id
        };
        let low = make("low", false, false).await;
        let high = make("high", false, true).await;
        let inner = make("inner", true, false).await;
        let path = host.netns("a");
        create_netns(&path).await.unwrap();
        let attach = async |network: &str, ifname: &str, gateway_priority| {
            let wanted = EndpointConfig {
                ifname: ifname.into(),
                gateway_priority,
                ..EndpointConfig::new("a", network)
            };
            networks.attach(&path, wanted).await.unwrap()
        };
        let device = |version: &str| {
            let routes = within(&path, || ip(&format!("{version} route show default")));
            assert!(routes.lines().count() <= 1, "{routes}");
            let mut words = routes.split_whitespace().skip_while(|w| *w != "dev");
            words.nth(1).unwrap_or_default().to_owned()
        };
        let devices = || (device("-4"), device("-6"));
        let expect = |v4: &str, v6: &str| assert_eq!(devices(), (v4.to_owned(), v6.to_owned()));

        attach(&inner, "eth0", 100).await;
        expect("", "");
        attach(&low, "eth1", 0).await;
        expect("eth1", "");
        // Of equal ones, the one whose name comes first: bridge, low.
        attach(&default, "eth2", 0).await;
        expect("eth2", "eth2");
        let endpoint = attach(&high, "eth3", 7).await;
        expect("eth3", "eth3");
        assert!(endpoint.leads4 && endpoint.leads6);
        attach(&high, "eth3", -1).await;
        expect("eth2", "eth2");
        attach(&low, "eth1", 3).await;
        expect("eth1", "eth2");
        // One that can't be attached changes nothing.
        let bad = EndpointConfig {
            ifname: "eth1".into(),
            gateway_priority: 9,
            ..EndpointConfig::new("a", &make("x", false, true).await)
        };
        assert!(networks.attach(&path, bad).await.is_err());
        expect("eth1", "eth2");
        networks.detach(&default, "a").await.unwrap();
        expect("eth1", "eth3");
        networks.detach(&low, "a").await.unwrap();
        expect("eth3", "eth3");
        assert_eq!(networks.attached("a").len(), 2);
        networks.detach(&high, "a").await.unwrap();
        expect("", "");
    });
}
