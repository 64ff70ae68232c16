//! Networks of machines, and published ports.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use coracle_tests::http::Reply;
use coracle_tests::{Daemon, wait_until};
use serde_json::json;

use super::{Guest, cases, run};

#[test]
fn networks() {
    run(cases![
        container_networking_enabled, container_networking_disabled,
        container_interface_custom_mtu, container_networking_enabled_ipv6, container_ipv6_address,
        container_ipv6_default_route, container_ipv6_dual_stack,
        container_ipv6_gateway_outside_subnet, container_ipv6_only_default_route,
        container_ipv6_only_gateway_outside_subnet, container_networks_of_two_kinds,
        container_names, container_dns, container_published_port, container_two_networks,
        container_connect_and_disconnect, container_legacy_links, container_link_local_addresses,
        container_names_beside_a_published_dns,
    ]);
}

/// Fetches a page from inside of the daemon's network namespace.
fn get(d: &Daemon, address: &str) -> Option<String> {
    d.netns().enter(|| {
        let address = address.parse().ok()?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    })
}

/// A web server that answers with `page-NAME`.
fn serve<'a>(d: &'a Daemon, name: &str, flags: &[&str]) -> Guest<'a> {
    let script =
        format!("mkdir -p /w && echo page-{name} >/w/index.html && exec httpd -f -p 80 -h /w");
    Guest::sh(d, &[&["--name", name], flags].concat(), &script)
}

fn address(d: &Daemon, id: &str) -> String {
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    d.inspect(id, template)
}

#[track_caller]
fn reaches(guest: &Guest, host: &str, name: &str) {
    // One that was just started may need a moment until it listens.
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do timeout 5 wget -q -O - http://{host}/ && exit; sleep 0.5; done 2>&1"
    );
    let seen = guest.exec(&script);
    // Its refusals until then are told as well.
    let last = seen.lines().last().unwrap_or_default();
    assert_eq!(last, format!("page-{name}"), "{host}: {seen}");
}

/// In a machine as in a process, and from each to the other.
fn container_legacy_links(d: &Daemon) {
    let db = Guest::new(
        d,
        &[
            "--network", "bridge", "--name", "linked-db", "-e", "FOO=bar", "--expose", "81",
        ],
    );
    let process = [
        "--network", "bridge", "--runtime", "process", "--link", "linked-db:the-db",
    ];
    let peer = d.sleeper(&process);
    let guest = Guest::new(
        d,
        &[
            "--network", "bridge", "--name", "linked-web", "--link", "linked-db:the-db",
        ],
    );
    let see = |ip: &str| {
        let script = "grep the-db /etc/hosts; env | grep ^THE_DB_ENV; ping -c 1 the-db >/dev/null && echo there";
        let expected = format!(
            "{ip}\tthe-db {} linked-db\nTHE_DB_ENV_FOO=bar\nthere",
            &db[..12]
        );
        assert_eq!(guest.exec(script), expected);
        assert_eq!(d.ok(&["exec", &peer, "sh", "-c", script]), expected);
    };
    let before = address(d, &db);
    see(&before);
    assert!(
        guest
            .exec("env")
            .contains(&format!("THE_DB_PORT=tcp://{before}:81"))
    );
    d.ok(&["stop", "-t", "0", &db]);
    let taker = d.sleeper(&["--network", "bridge", "--runtime", "process"]);
    d.ok(&["start", &db]);
    let after = address(d, &db);
    assert_ne!(after, before);
    see(&after);
    d.ok(&["rm", "--link", "linked-web/the-db"]);
    assert!(!guest.exec("cat /etc/hosts").contains("the-db"));
    d.ok(&["rm", "-f", &peer, &taker]);
}

fn container_link_local_addresses(d: &Daemon) {
    d.ok(&["network", "create", "vm-link"]);
    let one = ["--network", "vm-link", "--link-local-ip", "169.254.10.5"];
    let one = Guest::new(d, &one);
    let two = Guest::new(d, &["--network", "bridge"]);
    d.ok(&[
        "network", "connect", "--link-local-ip", "169.254.10.6", "vm-link", &two,
    ]);
    assert!(one.exec("ip -o addr").contains("inet 169.254.10.5/16"));
    let seen = two.exec("ip -o addr; ping -c 1 -I eth1 169.254.10.5");
    assert!(seen.contains("inet 169.254.10.6/16"), "{seen}");
    drop((one, two));
    d.ok(&["network", "rm", "vm-link"]);
}

/// A container has published port 53 of all addresses, before and after machines ask there for names.
fn container_names_beside_a_published_dns(d: &Daemon) {
    d.ok(&["network", "create", "vm-dns"]);
    let publish = [
        "--runtime", "process", "--network", "bridge", "-p", "53:53/udp", "-p", "53:53/tcp",
    ];
    let other = d.sleeper(&publish);
    let on = ["--network", "vm-dns", "--name"];
    let named = Guest::new(d, &[&on[..], &["dns-named"]].concat());
    let asking = Guest::new(d, &[&on[..], &["dns-asking"]].concat());
    let ip = address(d, &named);
    let ask = || {
        let seen = asking.exec("nslookup dns-named 2>&1");
        assert!(seen.contains(&ip), "{ip} in {seen}");
    };
    ask();
    // Nobody shares a port with it.
    let again = [&["run", "--rm"], &publish[..], &["busybox", "true"]].concat();
    d.fails(125, &again).mentions("port is already allocated");
    d.ok(&["rm", "-f", &other]);
    ask();
    let other = d.sleeper(&publish);
    ask();
    d.ok(&["rm", "-f", &other]);
    drop((named, asking));
    d.ok(&["network", "rm", "vm-dns"]);
}

fn container_networking_enabled(d: &Daemon) {
    let guest = Guest::new(d, &["--network", "bridge"]);
    let own = address(d, &guest);
    let gateway = d.inspect(&guest, "{{.NetworkSettings.Gateway}}");
    let seen = guest.exec("ip -4 -o addr show eth0; ip route; cat /sys/class/net/eth0/address");
    assert!(seen.contains(&format!("inet {own}/16")), "{seen}");
    assert!(seen.contains(&format!("default via {gateway}")), "{seen}");
    let template = "{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}";
    assert!(seen.ends_with(&d.inspect(&guest, template)), "{seen}");
    guest.exec(&format!("ping -c 1 -W 5 {gateway}"));
    d.inside("busybox", &["ping", "-c", "1", "-W", "5", &own])
        .ok();
}

fn container_networking_disabled(d: &Daemon) {
    assert_eq!(d.sh(&[], "ls /sys/class/net; ip route"), "lo");
}

fn container_interface_custom_mtu(d: &Daemon) {
    let option = "com.docker.network.driver.mtu=1400";
    d.ok(&["network", "create", "-o", option, "vm-mtu"]);
    assert_eq!(
        d.sh(&["--network", "vm-mtu"], "cat /sys/class/net/eth0/mtu"),
        "1400"
    );
    d.ok(&["network", "rm", "vm-mtu"]);
}

/// A network of both versions, with a neighbour there.
struct DualStack<'a> {
    d: &'a Daemon,
    name: &'static str,
}

impl<'a> DualStack<'a> {
    fn new(d: &'a Daemon, name: &'static str, subnet: &str) -> Self {
        d.ok(&["network", "create", "--ipv6", "--subnet", subnet, name]);
        Self { d, name }
    }
}

impl Drop for DualStack<'_> {
    fn drop(&mut self) {
        self.d.docker(&["network", "rm", self.name]);
    }
}

fn container_networking_enabled_ipv6(d: &Daemon) {
    let network = DualStack::new(d, "vm-six", "fd00:77::/64");
    let one = serve(d, "vm-six-one", &["--network", network.name]);
    let template = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
    let six = d.inspect(&one, template);
    assert!(six.starts_with("fd00:77::"), "{six}");
    let two = Guest::new(d, &["--network", network.name]);
    let own = d.inspect(&two, template);
    assert!(two.exec("ip -6 -o addr show eth0").contains(&own));
    reaches(&two, &format!("[{six}]"), "vm-six-one");
    reaches(&two, &address(d, &one), "vm-six-one");
}

fn container_ipv6_address(d: &Daemon) {
    let network = DualStack::new(d, "vm-six-own", "fd00:79::/64");
    let flags = ["--network", network.name, "--ip6", "fd00:79::beef"];
    let seen = d.sh(&flags, "ip -6 -o addr show eth0");
    assert!(seen.contains("inet6 fd00:79::beef/64"), "{seen}");
}

fn container_ipv6_default_route(d: &Daemon) {
    let network = DualStack::new(d, "vm-six-route", "fd00:7a::/64");
    let flags = ["--network", network.name];
    let seen = d.sh(&flags, "ip -6 route; ping -6 -c 1 -W 5 fd00:7a::1");
    assert!(seen.contains("default via fd00:7a::1 dev eth0"), "{seen}");
    assert!(seen.contains(" 0% packet loss"), "{seen}");
}

fn container_ipv6_dual_stack(d: &Daemon) {
    let network = DualStack::new(d, "vm-six-dual", "fd00:7b::/64");
    let flags = ["--network", network.name];
    let seen = d.sh(&flags, "ip -o addr show eth0; ip route; ip -6 route");
    for part in ["inet ", "inet6 fd00:7b::", "default via fd00:7b::1"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
    assert_eq!(seen.matches("default via").count(), 2, "{seen}");
}

/// Docker doesn't have them.
fn container_ipv6_gateway_outside_subnet(d: &Daemon) {
    let line = [
        "network", "create", "--ipv6", "--subnet", "fd00:7c::/64", "--gateway", "fd00:7d::1",
        "vm-six-outside",
    ];
    d.fails(1, &line)
        .mentions("no matching subnet for gateway fd00:7d::1");
}

/// A network without IPv4, which Docker's client only asks for from API 1.48 on.
fn ipv6_only(d: &Daemon, name: &str, subnet: &str, gateway: &str) -> Reply {
    let subnets = [json!({"subnet": subnet, "gateway": gateway})];
    let spec = json!({"name": name, "ipv4": false, "ipv6": true, "subnets": subnets});
    d.api("POST", "/api/v1/networks", Some(&spec))
}

fn container_ipv6_only_default_route(d: &Daemon) {
    let name = "vm-only-six";
    let reply = ipv6_only(d, name, "fd00:7e::/64", "fd00:7e::1");
    assert_eq!(reply.status, 201, "{reply:?}");
    let network = DualStack { d, name };
    let web = serve(d, "vm-only-web", &["--network", name]);
    let client = Guest::new(d, &["--network", name]);
    let seen = client.exec("ip -o addr show eth0; ip route; ip -6 route");
    assert!(seen.contains("default via fd00:7e::1 dev eth0"), "{seen}");
    assert!(!seen.contains("inet "), "{seen}");
    assert_eq!(seen.matches("default via").count(), 1, "{seen}");
    client.exec("ping -6 -c 1 -W 5 fd00:7e::1");
    // Names are asked of the gateway.
    reaches(&client, "vm-only-web", "vm-only-web");
    drop((client, web, network));
}

fn container_ipv6_only_gateway_outside_subnet(d: &Daemon) {
    let reply = ipv6_only(d, "vm-only-outside", "fd00:7f::/64", "fd00:80::1");
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(
        reply.text().contains("contain the IP address fd00:80::1"),
        "{reply:?}"
    );
}

fn container_networks_of_two_kinds(d: &Daemon) {
    let vm = serve(d, "vm-kind", &[]);
    let other = serve(d, "vm-other", &[]);
    let process = serve(d, "process-kind", &["--runtime", "process"]);
    for (from, to, name) in [
        (&vm, &process, "process-kind"),
        (&process, &vm, "vm-kind"),
        (&other, &vm, "vm-kind"),
    ] {
        let to = address(d, to);
        from.exec(&format!("ping -c 1 -W 5 {to}"));
        reaches(from, &to, name);
    }
    // More than fits one packet.
    other.exec("head -c 3000000 /dev/urandom >/w/big");
    let to = address(d, &other);
    let script = format!("wget -q -O - http://{to}/big | md5sum");
    assert_eq!(vm.exec(&script), other.exec("md5sum </w/big"));
    assert_eq!(process.exec(&script), other.exec("md5sum </w/big"));
}

fn container_names(d: &Daemon) {
    d.ok(&["network", "create", "vm-names"]);
    let flags = ["--network", "vm-names"];
    let one = serve(
        d,
        "vm-named",
        &[&flags[..], &["--network-alias", "alias"]].concat(),
    );
    let two = serve(
        d,
        "process-named",
        &[&flags[..], &["--runtime", "process"]].concat(),
    );
    reaches(&two, "vm-named", "vm-named");
    reaches(&two, "alias", "vm-named");
    reaches(&one, "process-named", "process-named");
    drop((one, two));
    d.ok(&["network", "rm", "vm-names"]);
}

fn container_dns(d: &Daemon) {
    let flags = [
        "--network", "bridge", "--dns", "10.9.8.7", "--dns-search", "shore.test",
    ];
    let text = d.sh(&flags, "cat /etc/resolv.conf");
    assert!(text.contains("nameserver 10.9.8.7"), "{text}");
    assert!(text.contains("search shore.test"), "{text}");
}

fn container_published_port(d: &Daemon) {
    let guest = serve(d, "vm-port", &["-p", "127.0.0.1:8088:80"]);
    assert_eq!(d.ok(&["port", &guest]), "80/tcp -> 127.0.0.1:8088");
    let answers = || get(d, "127.0.0.1:8088").is_some_and(|page| page.contains("page-vm-port"));
    wait_until("it answers", answers);
    d.ok(&["restart", "-t", "0", &guest]);
    wait_until("it answers again", answers);
    d.ok(&["kill", &guest]);
    assert!(get(d, "127.0.0.1:8088").is_none());
}

fn container_two_networks(d: &Daemon) {
    d.ok(&["network", "create", "vm-a"]);
    d.ok(&["network", "create", "vm-b"]);
    let line = ["create", "--network", "vm-a", "busybox", "sleep", "1000"];
    let guest = Guest::of(d, d.ok(&line));
    d.ok(&["network", "connect", "vm-b", &guest]);
    d.ok(&["start", &guest]);
    assert_eq!(guest.exec("ip -4 -o addr | grep -c eth"), "2");
    drop(guest);
    d.ok(&["network", "rm", "vm-a", "vm-b"]);
}

/// While it runs: network cards come and go.
fn container_connect_and_disconnect(d: &Daemon) {
    d.ok(&["network", "create", "vm-later"]);
    let guest = Guest::new(d, &["--network", "bridge"]);
    let one = serve(
        d,
        "vm-later-one",
        &["--network", "vm-later", "--runtime", "process"],
    );
    d.ok(&["network", "connect", "vm-later", &guest]);
    reaches(&guest, &address(d, &one), "vm-later-one");
    d.ok(&["network", "disconnect", "vm-later", &guest]);
    wait_until("the card is gone", || {
        guest.exec("ls /sys/class/net | grep -c eth") == "1"
    });
    drop((guest, one));
    d.ok(&["network", "rm", "vm-later"]);
}
