//! macvlan and ipvlan networks. The host's interface is a cable to another namespace.

use coracle_network::{
    Config, Driver, Endpoint, EndpointConfig, Error, NetworkSpec, Networks, Place, PoolSpec,
    create_netns, remove_netns,
};

use crate::host::*;

fn spec(driver: Driver, name: &str, options: &[(&str, &str)]) -> NetworkSpec {
    let options = options.iter();
    NetworkSpec {
        name: name.into(),
        driver,
        ipv4: Some(PoolSpec {
            subnet: Some("10.9.0.0/24".parse().unwrap()),
            gateway: Some("10.9.0.2".parse().unwrap()),
            range: Some("10.9.0.128/25".parse().unwrap()),
            ..PoolSpec::default()
        }),
        options: options
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        ..NetworkSpec::default()
    }
}

async fn attach(host: &Host, networks: &Networks, id: &str, network: &str) -> Endpoint {
    create_netns(host.netns(id)).await.unwrap();
    let wanted = EndpointConfig::new(id, network);
    networks.attach(host.netns(id), wanted).await.unwrap()
}

fn reached(from: &Endpoint, to: &str) -> Option<String> {
    within(from.netns().unwrap(), || ask(addr(to))).ok()
}

/// Whether this kernel makes such interfaces.
fn has(kind: &str) -> bool {
    ip("link add name probe type veth peer name probe1");
    let arguments = [
        "link", "add", "link", "probe", "name", "child", "type", kind,
    ];
    let output = std::process::Command::new("ip").args(arguments).output();
    ip("link delete probe");
    let has = output.unwrap().status.success();
    if !has {
        eprintln!("skipped: this kernel has no {kind}");
    }
    has
}

#[test]
fn macvlan_containers_are_on_the_hosts_ethernet() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        if !has("macvlan") {
            return;
        }
        let options = [("parent", "cable")];
        let lan = networks
            .create(spec(Driver::Macvlan, "lan", &options))
            .await
            .unwrap();
        assert_eq!(lan.driver.as_str(), "macvlan");
        let a = attach(&host, &networks, "a", &lan.id).await;
        let b = attach(&host, &networks, "b", &lan.id).await;
        assert_eq!(a.ip4().unwrap().to_string(), "10.9.0.128");
        assert_eq!(a.mac.to_string(), "02:42:0a:09:00:80");
        let inside = within(a.netns().unwrap(), || {
            ip("-d addr show eth0") + &ip("route")
        });
        for part in [
            "macvlan mode bridge",
            "10.9.0.128/24",
            "02:42:0a:09:00:80",
            "default via 10.9.0.2",
        ] {
            assert!(inside.contains(part), "{part}: {inside}");
        }

        // Seen by the world under its own address, and by its neighbour; not by the host.
        echo(Some(&outside), addr("10.9.0.2:80"));
        echo(a.netns(), addr("10.9.0.128:80"));
        assert_eq!(reached(&a, "10.9.0.2:80").unwrap(), "10.9.0.128|hello");
        assert_eq!(reached(&b, "10.9.0.128:80").unwrap(), "10.9.0.129|hello");
        assert!(within(&outside, || ask(addr("10.9.0.128:80"))).is_ok());
        assert!(ask(addr("10.9.0.128:80")).is_err());

        let second = spec(Driver::Macvlan, "second", &options);
        let second = NetworkSpec {
            ipv4: Some(PoolSpec::default()),
            ..second
        };
        let error = networks.create(second).await.unwrap_err().to_string();
        assert!(
            error.contains("network lan is already using parent interface cable"),
            "{error}"
        );
        let machine = networks
            .attach(Place::machine(), EndpointConfig::new("m", &lan.id))
            .await;
        assert!(matches!(machine, Err(Error::Unsupported(_))));
        assert!(networks.remove(&lan.id).await.is_err());

        // A restart.
        drop(networks);
        let networks = Networks::open(host.config()).await.unwrap();
        networks.restore(live(&["a"])).await.unwrap();
        assert_eq!(networks.endpoints(&lan.id), std::slice::from_ref(&a));
        assert!(reached(&a, "10.9.0.2:80").is_some());
        // One that was removed from within is made again.
        within(a.netns().unwrap(), || ip("link delete eth0"));
        networks.ensure().await.unwrap();
        assert!(reached(&a, "10.9.0.2:80").is_some());

        networks.detach(&lan.id, "a").await.unwrap();
        assert!(!within(a.netns().unwrap(), || ip("-o link")).contains("eth0"));
        let again = attach(&host, &networks, "a", &lan.id).await;
        networks.release("a").await.unwrap();
        // The next run's isn't taken for the last one's.
        let next = attach(&host, &networks, "a", &lan.id).await;
        assert_ne!(next.ip4(), again.ip4());
        assert!(reached(&next, "10.9.0.2:80").is_some());
        remove_netns(host.netns("a")).await.unwrap();
        networks.release("a").await.unwrap();
        networks.remove(&lan.id).await.unwrap();
        assert!(ip("-o link").contains("cable"));
    });
}

#[test]
fn macvlan_modes() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        if !has("macvlan") {
            return;
        }
        echo(Some(&outside), addr("10.9.0.2:80"));
        for mode in ["private", "vepa", "passthru"] {
            let options = [("parent", "cable"), ("macvlan_mode", mode)];
            let lan = networks
                .create(spec(Driver::Macvlan, mode, &options))
                .await
                .unwrap();
            let a = attach(&host, &networks, "a", &lan.id).await;
            echo(a.netns(), addr(&format!("{}:80", a.ip4().unwrap())));
            let inside = within(a.netns().unwrap(), || ip("-d link show eth0"));
            assert!(inside.contains(&format!("macvlan mode {mode}")), "{inside}");
            assert!(inside.contains(&a.mac.to_string()), "{} {inside}", a.mac);
            assert!(reached(&a, "10.9.0.2:80").is_some(), "{mode}");
            create_netns(host.netns("b")).await.unwrap();
            let b = EndpointConfig::new("b", &lan.id);
            let b = networks.attach(host.netns("b"), b).await;
            if mode == "passthru" {
                let error = b.unwrap_err().to_string();
                assert!(error.contains("another container has all of it"), "{error}");
                let wanted = EndpointConfig {
                    mac: Some("02:00:00:00:00:07".parse().unwrap()),
                    ..EndpointConfig::new("a", &lan.id)
                };
                let result = networks.attach(host.netns("a"), wanted).await;
                assert!(matches!(result, Err(Error::Unsupported(_))));
            } else {
                let own = format!("{}:80", a.ip4().unwrap());
                assert!(reached(&b.unwrap(), &own).is_none(), "{mode}");
            }
            for id in ["a", "b"] {
                networks.detach(&lan.id, id).await.unwrap();
            }
            networks.remove(&lan.id).await.unwrap();
        }
    });
}

#[test]
fn ipvlan_modes() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let outside = host.outside().await;
        if !has("ipvlan") {
            return;
        }
        echo(Some(&outside), addr("10.9.0.2:80"));
        for mode in ["l2", "l3", "l3s"] {
            let options = [("parent", "cable"), ("ipvlan_mode", mode)];
            let lan = networks
                .create(spec(Driver::Ipvlan, mode, &options))
                .await
                .unwrap();
            let a = attach(&host, &networks, "a", &lan.id).await;
            let b = attach(&host, &networks, "b", &lan.id).await;
            let inside = within(a.netns().unwrap(), || {
                ip("-d link show eth0") + &ip("route")
            });
            assert!(inside.contains(&format!("ipvlan mode {mode}")), "{inside}");
            assert!(inside.contains(&a.mac.to_string()), "{} {inside}", a.mac);
            let route = if mode == "l2" {
                "default via 10.9.0.2"
            } else {
                "default dev eth0"
            };
            assert!(inside.contains(route), "{inside}");
            echo(a.netns(), addr(&format!("{}:80", a.ip4().unwrap())));
            assert!(reached(&b, &format!("{}:80", a.ip4().unwrap())).is_some());
            assert!(reached(&a, "10.9.0.2:80").is_some(), "{mode}");
            for id in ["a", "b"] {
                networks.detach(&lan.id, id).await.unwrap();
            }
            networks.remove(&lan.id).await.unwrap();
        }
    });
}

#[test]
fn what_a_parent_cannot_be_is_refused() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let _outside = host.outside().await;
        let refusal = async |driver, options: &[(&str, &str)]| {
            let result = networks.create(spec(driver, "x", options)).await;
            result.unwrap_err().to_string()
        };
        let error = refusal(Driver::Macvlan, &[("parent", "nix")]).await;
        assert!(error.contains("parent nix not found"), "{error}");
        let error = refusal(Driver::Macvlan, &[("parent", "nix.5")]).await;
        assert!(error.contains("parent nix not found"), "{error}");
        let error = refusal(Driver::Bridge, &[("parent", "cable")]).await;
        assert!(error.contains("network option parent"), "{error}");
        for options in [&[][..], &[("parent", "cable.5")]] {
            // Made where the kernel can.
            match networks
                .create(spec(Driver::Macvlan, "made", options))
                .await
            {
                Ok(made) => {
                    let parent = made.parent.unwrap();
                    assert!(parent.made && ip("-o link").contains(&parent.name));
                    assert_eq!(made.internal, options.is_empty());
                    networks.remove(&made.id).await.unwrap();
                    assert!(!ip("-o link").contains(&parent.name));
                }
                Err(e) => assert!(matches!(e, Error::Unsupported(_)), "{e}"),
            }
        }
        assert_eq!(networks.list().len(), 1);
        drop(networks);
        let config = Config {
            rootless: true,
            ..host.config()
        };
        let networks = host.networks(config).await;
        let lan = spec(Driver::Ipvlan, "lan", &[("parent", "cable")]);
        let error = networks.create(lan).await.unwrap_err().to_string();
        assert_eq!(error, "driver ipvlan in rootless mode is not supported");
    });
}

#[test]
fn a_parent_that_is_gone_keeps_nobody_from_starting() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let _outside = host.outside().await;
        if !has("macvlan") {
            return;
        }
        let lan = spec(Driver::Macvlan, "lan", &[("parent", "cable")]);
        let lan = networks.create(lan).await.unwrap();
        ip("link delete cable");
        drop(networks);
        let networks = host.networks(host.config()).await;
        create_netns(host.netns("a")).await.unwrap();
        let wanted = EndpointConfig::new("a", &lan.id);
        let error = networks.attach(host.netns("a"), wanted).await.unwrap_err();
        assert!(
            error.to_string().contains("parent cable not found"),
            "{error}"
        );
        networks.remove(&lan.id).await.unwrap();
    });
}
