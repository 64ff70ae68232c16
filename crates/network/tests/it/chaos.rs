//! Work that is given up at any moment, and daemons that are replaced meanwhile.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use coracle_network::{
    EndpointConfig, NetworkSpec, Networks, PortRequest, Proto, create_netns, remove_netns,
    remove_stale_netns,
};

use crate::host::*;

fn request() -> PortRequest {
    PortRequest {
        proto: Proto::Tcp,
        host_ip: None,
        host_port: None,
        container_port: 80,
    }
}

#[test]
fn given_up_starts_leave_nothing_behind() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let network = networks.default_network().unwrap().id;
        let start = |networks: &Networks, id: String| {
            let (networks, network, path) = (networks.clone(), network.clone(), host.netns(&id));
            async move {
                create_netns(&path).await.unwrap();
                let endpoint = networks
                    .attach(&path, EndpointConfig::new(&id, network))
                    .await
                    .unwrap();
                let published = networks.publish(&[request()]).unwrap();
                let Some(IpAddr::V4(ip)) = endpoint.ip4() else {
                    panic!()
                };
                networks
                    .expose(&id, published.mappings(), Some(ip), None)
                    .await
                    .unwrap();
                published
            }
        };
        let tasks: Vec<_> = (0..60_u64)
            .map(|n| {
                let started = start(&networks, n.to_string());
                tokio::spawn(tokio::time::timeout(Duration::from_millis(n * 15), started))
            })
            .collect();
        let (mut running, mut sockets) = (BTreeSet::new(), Vec::new());
        for (n, task) in tasks.into_iter().enumerate() {
            match task.await.unwrap() {
                Ok(published) => {
                    running.insert(n.to_string());
                    sockets.push(published);
                }
                // What an engine does with a start that was given up.
                Err(_) => {
                    networks.release(&n.to_string()).await.unwrap();
                    remove_netns(host.netns(&n.to_string())).await.unwrap();
                }
            }
        }
        eprintln!("{} of 60 started", running.len());
        check(&networks, &running);
        let directory = host.dir.path().join("netns");
        assert_eq!(
            std::fs::read_dir(&directory).unwrap().count(),
            running.len()
        );

        // Some more that nobody clears up after, because the daemon is killed.
        for n in 60..80_u64 {
            let started = start(&networks, n.to_string());
            let _ = tokio::time::timeout(Duration::from_millis(n - 58), started).await;
        }
        drop(networks);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let networks = Networks::open(host.config()).await.unwrap();
        let ids: Vec<&str> = running.iter().map(String::as_str).collect();
        networks.restore(live(&ids)).await.unwrap();
        remove_stale_netns(directory.clone(), names(&ids))
            .await
            .unwrap();
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), running.len());
        check(&networks, &running);
    });
}

/// Memory, kernel and firewall agree on who runs.
fn check(networks: &Networks, running: &BTreeSet<String>) {
    let network = networks.default_network().unwrap().id;
    let endpoints = networks.endpoints(&network);
    let ids: BTreeSet<String> = endpoints.iter().map(|e| e.id.clone()).collect();
    assert_eq!(&ids, running);
    assert_eq!(
        &networks.exposed().into_keys().collect::<BTreeSet<_>>(),
        running
    );
    let ips: BTreeSet<_> = endpoints.iter().filter_map(|e| e.ip4()).collect();
    assert_eq!(ips.len(), running.len());
    // Dead namespaces' interfaces and withdrawn ports go in the background.
    let agree = || {
        let ports = ip("-o link show master coracle0");
        let map = nft("list map inet coracle-default any4_address");
        ports.lines().count() == running.len()
            && endpoints.iter().all(|e| ports.contains(&e.host_ifname))
            && map.matches("172.17.").count() == running.len()
            && ips.iter().all(|ip| map.contains(&format!(": {ip}")))
    };
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while !agree() {
        assert!(
            std::time::Instant::now() < end,
            "{}",
            ip("-o link show master coracle0")
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_network_whose_creation_is_given_up_is_whole_or_not_there() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        for n in 0..12_u64 {
            let spec = NetworkSpec {
                name: format!("n{n}"),
                ..NetworkSpec::default()
            };
            let _ = tokio::time::timeout(Duration::from_millis(n), networks.create(spec)).await;
        }
        // Waits for the last one's end.
        networks.ensure().await.unwrap();
        let all = networks.list();
        let links = ip("-o link");
        assert!(all.iter().all(|n| links.contains(&n.bridge)));
        assert_eq!(links.matches(": br-").count(), all.len() - 1);
        let bridges = nft("list set inet coracle-default bridges");
        assert!(all.iter().all(|n| bridges.contains(&n.bridge)));
        let again = Networks::open(host.config()).await.unwrap();
        assert_eq!(again.list(), all);
    });
}
