//! Names between containers.

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use coracle_tests::Daemon;
use coracle_tests::netns::Netns;

/// The addresses that a name has inside of a container.
fn resolve(d: &Daemon, container: &str, name: &str) -> Vec<String> {
    let output = d.docker(&["exec", container, "nslookup", "-type=a", name]);
    // The first address is the server's.
    let lines = output.stdout.lines().skip_while(|line| !line.is_empty());
    let addresses = lines.filter_map(|line| line.strip_prefix("Address: "));
    addresses.map(str::to_owned).collect()
}

fn address(d: &Daemon, container: &str, network: &str) -> String {
    let template = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
    d.inspect(container, &template)
}

fn on(d: &Daemon, network: &str, name: &str, flags: &[&str]) -> String {
    let line = ["--name", name, "--network", network];
    d.sleeper(&[&line, flags].concat())
}

#[test]
fn containers_find_each_other() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&["network", "create", "front"]);
    d.ok(&["network", "create", "back"]);
    let web = on(
        &d,
        "front",
        "web",
        &["--network-alias", "shared", "-h", "host-web"],
    );
    on(&d, "front", "app", &["--network-alias", "shared"]);
    on(&d, "back", "db", &[]);
    let ip = address(&d, "web", "front");
    for name in ["web", "WEB", "shared", &web[..12], "host-web", "web.front"] {
        assert!(resolve(&d, "app", name).contains(&ip), "{name}");
    }
    assert_eq!(resolve(&d, "app", "shared").len(), 2);
    assert!(resolve(&d, "app", "db").is_empty(), "on another network");
    let reverse = d.ok(&["exec", "app", "nslookup", &ip]);
    assert!(reverse.contains("name = web.front"), "{reverse}");
    let gateway = d.inspect("app", "{{.NetworkSettings.Networks.front.Gateway}}");
    assert_eq!(resolve(&d, "app", "host.docker.internal"), [gateway]);
    let file = d.ok(&["exec", "app", "cat", "/etc/resolv.conf"]);
    assert!(
        file.contains("nameserver 127.0.0.11\n") && file.contains("ndots:0"),
        "{file}"
    );
    let names = d.inspect("web", "{{json .NetworkSettings.Networks.front.DNSNames}}");
    assert_eq!(
        names,
        format!(r#"["web","shared","{}","host-web"]"#, &web[..12])
    );

    // Addresses take turns.
    let mut first: Vec<String> = (0..4)
        .map(|_| resolve(&d, "app", "shared").remove(0))
        .collect();
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 2, "both come first in turn");

    // A running one joins, under other names, and leaves.
    d.ok(&["network", "connect", "--alias", "store", "front", "db"]);
    let there = address(&d, "db", "front");
    assert_eq!(resolve(&d, "app", "store"), [there.as_str()]);
    assert_eq!(resolve(&d, "app", "db"), [there.as_str()]);
    assert_eq!(resolve(&d, "db", "web"), [ip.as_str()]);
    let hosts = d.ok(&["exec", "db", "cat", "/etc/hosts"]);
    assert!(hosts.contains(&format!("{there}\t")), "{hosts}");
    d.ok(&["network", "disconnect", "front", "db"]);
    assert!(resolve(&d, "app", "store").is_empty() && resolve(&d, "app", "db").is_empty());
    assert!(resolve(&d, "db", "web").is_empty());
    let hosts = d.ok(&["exec", "db", "cat", "/etc/hosts"]);
    assert!(!hosts.contains(&there), "{hosts}");

    // Another name, and an end.
    d.ok(&["rename", "web", "site"]);
    assert_eq!(resolve(&d, "app", "site"), [ip.as_str()]);
    assert!(resolve(&d, "app", "web").is_empty());
    let names = d.inspect("site", "{{json .NetworkSettings.Networks.front.DNSNames}}");
    assert!(names.starts_with(r#"["site","#), "{names}");
    d.ok(&["stop", "-t", "0", "site"]);
    assert!(resolve(&d, "app", "site").is_empty());
    d.ok(&["start", "site"]);
    assert_eq!(resolve(&d, "app", "site").len(), 1);
}

#[test]
fn names_come_back_with_the_daemon() {
    let Some(mut d) = Daemon::start() else { return };
    d.ok(&["network", "create", "net"]);
    on(&d, "net", "one", &[]);
    on(&d, "net", "two", &["--network-alias", "second"]);
    let ip = address(&d, "two", "net");
    d.crash();
    assert_eq!(resolve(&d, "one", "two"), [ip.as_str()]);
    assert_eq!(resolve(&d, "one", "second"), [ip.as_str()]);
    d.ok(&["network", "create", "more"]);
    d.ok(&["network", "connect", "more", "one"]);
    assert_eq!(resolve(&d, "one", "two"), [ip.as_str()]);
}

#[test]
fn the_default_network_has_no_names() {
    let Some(d) = Daemon::start() else { return };
    let line = ["run", "-d", "--name", "plain", "busybox", "sleep", "100"];
    d.ok(&line);
    let file = |name: &str| d.ok(&["exec", name, "cat", "/etc/resolv.conf"]);
    assert!(!file("plain").contains("127.0.0.11"));
    d.ok(&["network", "create", "net"]);
    on(&d, "net", "peer", &[]);
    // It gets names with its first network that has some.
    d.ok(&["network", "connect", "net", "plain"]);
    assert!(file("plain").contains("nameserver 127.0.0.11\n"));
    assert_eq!(resolve(&d, "plain", "peer").len(), 1);
    // A file that somebody has written stays.
    d.ok(&["run", "-d", "--name", "own", "busybox", "sleep", "100"]);
    d.ok(&[
        "exec", "own", "sh", "-c", "echo nameserver 192.0.2.1 >/etc/resolv.conf",
    ]);
    d.ok(&["network", "connect", "net", "own"]);
    assert_eq!(file("own"), "nameserver 192.0.2.1");
}

#[test]
fn ipv6_and_missing_data() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&[
        "network", "create", "--ipv6", "--subnet", "fd00:abcd::/64", "six",
    ]);
    on(&d, "six", "one", &[]);
    on(&d, "six", "two", &[]);
    let ip = d.inspect("two", "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}");
    let output = d.ok(&["exec", "one", "nslookup", "-type=aaaa", "two"]);
    assert!(output.contains(&ip), "{ip}: {output}");
    d.ok(&["exec", "one", "ping", "-6", "-c", "1", "-W", "5", "two"]);
    d.ok(&["network", "create", "four"]);
    on(&d, "four", "three", &[]);
    let output = d.docker(&["exec", "three", "nslookup", "-type=aaaa", "three"]);
    assert!(
        !output.stdout.contains("NXDOMAIN"),
        "a name without IPv6 is a name: {output}"
    );
}

#[test]
fn links_and_settings() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&["network", "create", "net"]);
    on(&d, "net", "server", &[]);
    on(
        &d,
        "net",
        "client",
        &[
            "--link", "server:backend", "--dns-search", "example.test", "--dns-option", "timeout:1",
        ],
    );
    let ip = address(&d, "server", "net");
    // With a dot: busybox tries search domains first, whatever `ndots` says.
    assert_eq!(resolve(&d, "client", "backend."), [ip.as_str()]);
    assert!(
        resolve(&d, "server", "backend").is_empty(),
        "its own name for it"
    );
    let file = d.ok(&["exec", "client", "cat", "/etc/resolv.conf"]);
    assert!(
        file.contains("search example.test\noptions timeout:1 ndots:0\n"),
        "{file}"
    );
}

/// A DNS server that answers every question with 203.0.113.7, and tells how many there were.
struct Upstream {
    asked: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Upstream {
    fn start(d: &Daemon, address: &str) -> Self {
        let add = ["addr", "add", &format!("{address}/32"), "dev", "lo"];
        d.inside("ip", &add).ok();
        let socket = d.netns().enter(|| UdpSocket::bind((address, 53))).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let upstream = Self {
            asked: Arc::default(),
            ended: Arc::default(),
        };
        let (asked, ended) = (upstream.asked.clone(), upstream.ended.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                asked.fetch_add(1, Ordering::Relaxed);
                // The question, without what follows it.
                let name = buffer[12..length]
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap();
                let end = 12 + name + 5;
                let mut reply = buffer[..end].to_vec();
                let wants_v4 = buffer[end - 4..end] == [0, 1, 0, 1];
                reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, wants_v4.into(), 0, 0, 0, 0]);
                if wants_v4 {
                    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 203, 0, 113, 7]);
                }
                socket.send_to(&reply, from).unwrap();
            }
        });
        upstream
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[test]
fn other_names_are_asked_of_others() {
    let Some(d) = Daemon::start() else { return };
    let upstream = Upstream::start(&d, "198.51.100.53");
    d.ok(&["network", "create", "open"]);
    d.ok(&["network", "create", "--internal", "closed"]);
    on(&d, "open", "outgoing", &["--dns", "198.51.100.53"]);
    on(&d, "closed", "inner", &["--dns", "198.51.100.53"]);
    on(&d, "closed", "other", &[]);
    assert_eq!(resolve(&d, "outgoing", "www.example.test"), ["203.0.113.7"]);
    let before = upstream.asked();
    assert!(before > 0);
    assert_eq!(resolve(&d, "outgoing", "outgoing").len(), 1);
    assert_eq!(upstream.asked(), before, "names of ours are nobody else's");
    assert_eq!(
        resolve(&d, "inner", "other").len(),
        1,
        "an internal network has names"
    );
    assert!(resolve(&d, "inner", "www.example.test").is_empty());
    assert_eq!(
        upstream.asked(),
        before,
        "nothing leaves an internal network"
    );
    d.ok(&["network", "connect", "open", "inner"]);
    assert_eq!(resolve(&d, "inner", "www.example.test"), ["203.0.113.7"]);
}

#[test]
fn port_53_stays_free() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&["network", "create", "net"]);
    // On the host, and inside of a container.
    let published = ["-p", "53:53", "-p", "53:53/udp"];
    on(&d, "net", "server", &published);
    on(&d, "net", "client", &[]);
    let inside = Netns::of(&d.inspect("server", "{{.State.Pid}}"));
    let sockets = inside.enter(|| {
        (
            UdpSocket::bind("0.0.0.0:53"),
            TcpListener::bind("0.0.0.0:53"),
        )
    });
    assert!(sockets.0.is_ok() && sockets.1.is_ok(), "{sockets:?}");
    assert_eq!(resolve(&d, "client", "server").len(), 1);
    assert_eq!(resolve(&d, "server", "client").len(), 1);
}
