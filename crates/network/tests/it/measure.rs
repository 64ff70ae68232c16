//! Prints what each step costs; its limits are wide, since test hosts are noisy.

use std::time::{Duration, Instant};

use coracle_network::{EndpointConfig, PortRequest, Proto, create_netns, remove_netns};

use crate::host::*;

#[derive(Default)]
struct Samples(Vec<(&'static str, Vec<Duration>)>);

impl Samples {
    fn take(&mut self, name: &'static str, start: Instant) -> Instant {
        let elapsed = start.elapsed();
        match self.0.iter_mut().find(|(n, _)| *n == name) {
            Some((_, samples)) => samples.push(elapsed),
            None => self.0.push((name, vec![elapsed])),
        }
        Instant::now()
    }

    fn median(&mut self, name: &str) -> Duration {
        let (_, samples) = self.0.iter_mut().find(|(n, _)| *n == name).unwrap();
        samples.sort();
        samples[samples.len() / 2]
    }
}

#[test]
fn steps_of_a_start_and_an_end() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let network = networks.default_network().unwrap().id;
        let mut samples = Samples::default();
        for n in 0..40 {
            let id = n.to_string();
            let path = host.netns(&id);
            let all = Instant::now();
            create_netns(&path).await.unwrap();
            let start = samples.take("create netns", all);
            let wanted = EndpointConfig::new(&id, &network);
            let endpoint = networks.attach(&path, wanted).await.unwrap();
            let start = samples.take("attach", start);
            samples.take("create netns + attach", all);
            let request = PortRequest {
                proto: Proto::Tcp,
                host_ip: None,
                host_port: None,
                container_port: 80,
            };
            let published = networks.publish(&[request]).unwrap();
            let start = samples.take("publish", start);
            let Some(std::net::IpAddr::V4(ip)) = endpoint.ip4() else {
                panic!()
            };
            networks
                .expose(&id, published.mappings(), Some(ip), None)
                .await
                .unwrap();
            let start = samples.take("expose", start);
            if n % 2 == 0 {
                networks.detach(&network, &id).await.unwrap();
                let start = samples.take("detach", start);
                networks.unexpose(&id).await.unwrap();
                samples.take("unexpose", start);
            } else {
                networks.release(&id).await.unwrap();
                samples.take("release (ports too)", start);
            }
            let start = Instant::now();
            remove_netns(&path).await.unwrap();
            samples.take("remove netns", start);
        }
        let names: Vec<_> = samples.0.iter().map(|(name, _)| *name).collect();
        for name in names {
            eprintln!("{name:>22}: {:?}", samples.median(name));
        }
        assert!(samples.median("create netns + attach") < Duration::from_secs(2));
    });
}

#[test]
fn fifty_whole_lives_at_once() {
    on_host(|host| async move {
        let networks = host.networks(host.config()).await;
        let network = networks.default_network().unwrap().id;
        for _ in 0..4 {
            let start = Instant::now();
            let lives: Vec<_> = (0..50)
                .map(|n| {
                    let (networks, network) = (networks.clone(), network.clone());
                    let id = n.to_string();
                    let path = host.netns(&id);
                    tokio::spawn(async move {
                        create_netns(&path).await.unwrap();
                        networks
                            .attach(&path, EndpointConfig::new(&id, network))
                            .await
                            .unwrap();
                        networks.release(&id).await.unwrap();
                        remove_netns(&path).await.unwrap();
                    })
                })
                .collect();
            for life in lives {
                life.await.unwrap();
            }
            eprintln!("50 whole lives at once: {:?}", start.elapsed());
        }
    });
}
