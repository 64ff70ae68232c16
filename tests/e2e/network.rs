//! `docker run`: networks and published ports.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::Duration;

use coracle_tests::netns::Netns;
use coracle_tests::{Daemon, wait_until};

use crate::cli::coracle;

/// Fetches a page from inside of the daemon's network namespace.
fn get(d: &Daemon, address: &str) -> Option<String> {
    d.netns().enter(|| {
        let mut stream =
            TcpStream::connect_timeout(&address.parse().ok()?, Duration::from_secs(5)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    })
}

/// A web server that answers with its name.
fn serve(d: &Daemon, name: &str, flags: &[&str]) -> String {
    let script =
        format!("mkdir -p /w && echo page-{name} >/w/index.html && exec httpd -f -p 80 -h /w");
    d.ok(&[
        &["run", "-d", "--name", name],
        flags,
        &["busybox", "sh", "-c", &script],
    ]
    .concat())
}

fn serves(d: &Daemon, address: &str, name: &str) {
    let mut last = None;
    wait_until(&format!("{address} answers as {name}"), || {
        last = get(d, address);
        last.as_ref()
            .is_some_and(|page| page.contains(&format!("page-{name}")))
    });
}

/// Docker's client only asks for it from API 1.48 on; ours does.
#[test]
fn a_network_without_ipv4() {
    let Some(mut d) = Daemon::start() else { return };
    let create = ["network", "create", "--ipv4=false"];
    coracle(&d, &[&create[..], &["six"]].concat())
        .code(1)
        .says("IPv4 or IPv6 must be enabled");
    let four = ["--ipv6", "--subnet", "10.213.8.0/24", "six"];
    coracle(&d, &[&create[..], &four].concat())
        .code(1)
        .says("IPv4 is disabled");
    let six = ["--ipv6", "--subnet", "fd00:88::/64", "six"];
    coracle(&d, &[&create[..], &six].concat()).ok();
    let shown = ["network", "ls", "--filter", "name=six", "--format"];
    let shown = coracle(&d, &[&shown[..], &["{{.IPv4}} {{.IPv6}}"]].concat());
    assert_eq!(shown.ok(), "false true");

    let on = ["--network", "six"];
    serve(&d, "web", &[&on[..], &["-p", "8080:80"]].concat());
    let networks =
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}|{{.GlobalIPv6Address}}{{end}}";
    let address = d.inspect("web", networks);
    assert!(address.starts_with("|fd00:88::"), "{address}");
    let address = address.trim_start_matches('|');
    let client = |d: &Daemon, script| {
        let run = ["run", "--rm", "--network", "six", "busybox", "sh", "-c"];
        d.ok(&[&run[..], &[script]].concat())
    };
    // The host's IPv4 leads there as well, by the proxy.
    for host in [&format!("[{address}]:80"), "[::1]:8080", "127.0.0.1:8080"] {
        serves(&d, host, "web");
    }
    // By its name; there is such a name, but no IPv4 address of it.
    let page = client(
        &d,
        "wget -q -O - http://web/; nslookup -type=a web; ip -4 route; cat /etc/hosts",
    );
    assert!(
        page.starts_with("page-web") && page.contains("fd00:88::"),
        "{page}"
    );
    assert!(
        !page.contains("NXDOMAIN") && !page.contains("172."),
        "{page}"
    );
    // One network of each kind.
    d.sleeper(&["--name", "both", "--network", "six"]);
    d.ok(&["network", "connect", "bridge", "both"]);
    let routes = d.ok(&["exec", "both", "sh", "-c", "ip route; ip -6 route"]);
    assert!(routes.contains("default via 172."), "{routes}");
    assert!(routes.contains("default via fd00:88::1"), "{routes}");
    d.ok(&["network", "disconnect", "bridge", "both"]);
    let routes = d.ok(&["exec", "both", "sh", "-c", "ip route; ip -6 route"]);
    assert!(!routes.contains("172."), "{routes}");

    d.kill();
    d.spawn();
    serves(&d, "127.0.0.1:8080", "web");
    let page = client(&d, "wget -q -O - http://web/");
    assert!(page.starts_with("page-web"), "{page}");
    d.ok(&["rm", "-f", "web", "both"]);
    d.ok(&["network", "rm", "six"]);
}

#[test]
fn the_bridge() {
    let Some(d) = Daemon::start() else { return };
    serve(&d, "one", &[]);
    let ip = d.inspect("one", "{{.NetworkSettings.IPAddress}}");
    let gateway = d.inspect("one", "{{.NetworkSettings.Gateway}}");
    assert!(ip.starts_with("172."), "{ip}");
    serves(&d, &format!("{ip}:80"), "one");
    let page = d.ok(&[
        "run",
        "--rm",
        "busybox",
        "wget",
        "-q",
        "-O",
        "-",
        &format!("http://{ip}/"),
    ]);
    assert_eq!(page, "page-one", "from another container");
    let route = d.ok(&["exec", "one", "ip", "route"]);
    assert!(
        route.contains(&format!("default via {gateway} dev eth0")),
        "{route}"
    );
    let bridge = d.inspect(
        "one",
        "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}",
    );
    assert_eq!(bridge, "bridge");
    d.ok(&["rm", "-f", "one"]);
    let links = d.inside("ip", &["-o", "link"]).ok();
    wait_until("no interface is left", || {
        !d.inside("ip", &["-o", "link"]).ok().contains("veth")
    });
    assert!(links.contains("lo:"));
}

#[test]
fn addresses_are_given_back() {
    let Some(d) = Daemon::flags(&["--bip", "10.99.0.1/30"]) else {
        return;
    };
    // There is one only.
    for _ in 0..3 {
        let seen = d.ok(&["run", "--rm", "busybox", "hostname", "-i"]);
        assert_eq!(seen, "10.99.0.2");
    }
    let id = d.ok(&["run", "-d", "busybox", "sleep", "1000"]);
    d.fails(125, &["run", "--rm", "busybox", "true"])
        .says("address");
    d.ok(&["stop", "-t", "0", &id]);
    d.ok(&["run", "--rm", "busybox", "true"]);
    d.fails(125, &["run", "--rm", "--ip", "10.99.0.2", "busybox"])
        .says("user");
}

#[test]
fn none_host_and_anothers() {
    let Some(d) = Daemon::start() else { return };
    assert_eq!(d.sh(&["--network", "none"], "ls /sys/class/net"), "lo");
    let own = d.inside("readlink", &["/proc/self/ns/net"]).ok();
    assert_eq!(
        d.sh(&["--network", "host"], "readlink /proc/self/ns/net"),
        own
    );
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(d.sh(&["--network", "host"], "hostname"), host.trim());
    serve(&d, "server", &[]);
    wait_until("the server answers in the same namespace", || {
        let line = [
            "run", "--rm", "--network", "container:server", "busybox", "wget", "-q", "-O", "-",
            "http://127.0.0.1/",
        ];
        d.docker(&line).stdout.trim() == "page-server"
    });
    let name = d.sh(&["--network", "container:server"], "hostname");
    assert_eq!(name, d.inspect("server", "{{.Config.Hostname}}"));
    for flags in [
        ["-p", "80:80"],
        ["-h", "x"],
        ["--dns", "192.0.2.1"],
        ["--add-host", "a:192.0.2.1"],
    ] {
        let line = [
            "run", "--rm", "--network", "container:server", flags[0], flags[1], "busybox",
        ];
        d.fails(125, &line).says("conflicting options");
    }
}

#[test]
fn published_on_loopback() {
    let Some(d) = Daemon::start() else { return };
    serve(
        &d,
        "web",
        &["-p", "127.0.0.1:8080:80", "-p", "8081:80", "-p", "80"],
    );
    serves(&d, "127.0.0.1:8080", "web");
    serves(&d, "127.0.0.1:8081", "web");
    assert!(
        d.ok(&["port", "web", "80/tcp"])
            .lines()
            .any(|line| line == "127.0.0.1:8080")
    );
    let ports = d.ok(&["port", "web"]);
    let random = ports
        .lines()
        .filter_map(|line| line.rsplit(':').next()?.parse::<u16>().ok())
        .find(|port| ![8080, 8081].contains(port))
        .unwrap_or_else(|| panic!("{ports}"));
    serves(&d, &format!("127.0.0.1:{random}"), "web");
    // From outside: by the bridge's own address.
    let gateway = d.inspect("web", "{{.NetworkSettings.Gateway}}");
    serves(&d, &format!("{gateway}:8081"), "web");
    let text = d.ok(&["ps", "--format", "{{.Ports}}"]);
    assert!(
        text.contains("127.0.0.1:8080->80/tcp") && text.contains("0.0.0.0:8081->80/tcp"),
        "{text}"
    );
    d.fails(
        125,
        &[
            "run", "-d", "--name", "late", "-p", "8081:80", "busybox", "sleep", "9",
        ],
    )
    .says("port is already allocated");
    d.ok(&["stop", "-t", "0", "web"]);
    assert!(
        get(&d, "127.0.0.1:8081").is_none(),
        "closed with the container"
    );
    d.ok(&["start", "web"]);
    serves(&d, "127.0.0.1:8081", "web");
}

#[test]
fn published_on_ipv6_loopback() {
    let Some(d) = Daemon::start() else { return };
    serve(&d, "six", &["-p", "8086:80"]);
    serves(&d, "127.0.0.1:8086", "six");
    serves(&d, "[::1]:8086", "six");
}

#[test]
fn ranges_and_all_exposed() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    let id = d.ok(&[
        "run", "-d", "-p", "9000-9002:80-82", "busybox", "sleep", "100",
    ]);
    assert_eq!(
        d.ok(&["port", &id, "81"]).lines().next(),
        Some("0.0.0.0:9001")
    );
    // One free port of a range.
    let one = d.ok(&["run", "-d", "-p", "9002-9005:80", "busybox", "sleep", "100"]);
    assert_eq!(
        d.ok(&["port", &one, "80"]).lines().next(),
        Some("0.0.0.0:9003")
    );
    let all = d.ok(&["run", "-d", "-P", "configured:ports", "sleep", "100"]);
    let ports = d.ok(&["port", &all]);
    assert!(
        ports.contains("80/tcp -> 0.0.0.0:") && ports.contains("53/udp -> 0.0.0.0:"),
        "{ports}"
    );
    let exposed = d.ok(&["create", "--expose", "7000-7001", "busybox"]);
    assert_eq!(d.inspect(&exposed, "{{len .Config.ExposedPorts}}"), "2");
}

#[test]
fn datagrams() {
    let Some(d) = Daemon::start() else { return };
    let line = [
        "run", "-d", "-p", "127.0.0.1:5353:53/udp", "busybox", "sleep", "100",
    ];
    let pid = d.inspect(&d.ok(&line), "{{.State.Pid}}");
    // A server inside of the container's network, of which nothing else is needed.
    let server = Netns::of(&pid)
        .enter(|| UdpSocket::bind("0.0.0.0:53"))
        .unwrap();
    let client = d.netns().enter(|| UdpSocket::bind("127.0.0.1:0")).unwrap();
    for socket in [&server, &client] {
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
    }
    let mut buffer = [0; 64];
    wait_until("a datagram goes there and back", || {
        client.send_to(b"ping", "127.0.0.1:5353").unwrap();
        let Ok((4, from)) = server.recv_from(&mut buffer) else {
            return false;
        };
        server.send_to(b"pong", from).unwrap();
        matches!(client.recv(&mut buffer), Ok(4)) && &buffer[..4] == b"pong"
    });
}

#[test]
fn networks_are_listed() {
    let Some(d) = Daemon::start() else { return };
    let names = d.ok(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]);
    for line in ["bridge bridge", "host host", "none null"] {
        assert!(names.lines().any(|other| other == line), "{line}: {names}");
    }
    let id = d.ok(&["run", "-d", "--name", "member", "busybox", "sleep", "100"]);
    let shown = d.ok(&[
        "network",
        "inspect",
        "bridge",
        "-f",
        "{{range $id, $c := .Containers}}{{$id}} {{$c.Name}} {{$c.IPv4Address}}{{end}}",
    ]);
    assert!(shown.starts_with(&format!("{id} member 172.")), "{shown}");
    d.fails(1, &["network", "rm", "bridge"]).says("pre-defined");
    d.fails(1, &["network", "inspect", "nowhere"])
        .says("nowhere");
}

#[test]
fn what_leaves_is_masqueraded() {
    let Some(d) = Daemon::start() else { return };
    // A second namespace stands for the world outside.
    let script = "ip link add out type veth peer name world && ip addr add 198.51.100.1/24 dev out && ip link set out up";
    d.inside("sh", &["-ec", script]).ok();
    let world = Netns::new();
    let pid = world.enter(|| {
        std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap()
    });
    let mut pid = pid;
    d.inside(
        "ip",
        &["link", "set", "world", "netns", &pid.id().to_string()],
    )
    .ok();
    world.enter(|| {
        let up = std::process::Command::new("sh")
            .args([
                "-ec",
                "ip addr add 198.51.100.2/24 dev world && ip link set world up",
            ])
            .status()
            .unwrap();
        assert!(up.success());
    });
    // There is no route back to the containers' subnet, so an answer means masquerading.
    let seen = d.docker(&[
        "run", "--rm", "busybox", "ping", "-c", "1", "-W", "5", "198.51.100.2",
    ]);
    let _ = pid.kill();
    let _ = pid.wait();
    seen.code(0);
}

#[test]
fn link_local_addresses() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&["network", "create", "--subnet", "10.77.0.0/24", "seven"]);
    let flags = [
        "--network", "seven", "--link-local-ip", "169.254.10.5", "--link-local-ip",
    ];
    d.sleeper(&[&["--name", "one"], &flags[..], &["fe80::99"]].concat());
    let seen = d.ok(&["exec", "one", "ip", "-o", "addr", "show", "eth0"]);
    for address in [
        "inet 10.77.0.2/24", "inet 169.254.10.5/16", "inet6 fe80::99/64",
    ] {
        assert!(seen.contains(address), "{address} in {seen}");
    }
    let asked = "{{json .NetworkSettings.Networks.seven.IPAMConfig.LinkLocalIPs}}";
    assert_eq!(d.inspect("one", asked), "[\"169.254.10.5\",\"fe80::99\"]");
    // To one that runs, and over its next start.
    d.sleeper(&["--name", "two", "--network", "bridge"]);
    d.ok(&[
        "network", "connect", "--link-local-ip", "169.254.44.4", "seven", "two",
    ]);
    assert_eq!(d.inspect("two", asked), "[\"169.254.44.4\"]");
    d.ok(&[
        "exec", "two", "ping", "-c", "1", "-I", "eth1", "169.254.10.5",
    ]);
    d.ok(&["restart", "-t", "0", "two"]);
    let seen = d.ok(&["exec", "two", "ip", "-o", "addr"]);
    assert!(seen.contains("inet 169.254.44.4/16"), "{seen}");
    for (bad, words) in [
        ("10.1.2.3", "invalid link local IP address: 10.1.2.3"),
        ("x", "invalid link-local IP address: x"),
    ] {
        let flags = [
            "run", "--rm", "--network", "seven", "--link-local-ip", bad, "busybox", "true",
        ];
        d.fails(125, &flags).mentions(words);
        let flags = ["network", "connect", "--link-local-ip", bad, "seven", "two"];
        d.ok(&["network", "disconnect", "seven", "two"]);
        d.fails(1, &flags).mentions(words);
        d.ok(&["network", "connect", "seven", "two"]);
    }
}

/// Docker's clients are told that it is forbidden, as ever; the native API's, who is in the way.
#[test]
fn one_in_use_is_not_removed() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&["network", "create", "busy"]);
    d.sleeper(&["--name", "user", "--network", "busy"]);
    let text = d.api("DELETE", "/networks/busy", None).error(403);
    assert!(text.contains("has active endpoints"), "{text}");
    let reply = d.api("DELETE", "/api/v1/networks/busy", None);
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert_eq!(reply.json()["error"], "invalidState");
    assert!(reply.text().contains("in use by user"), "{}", reply.text());
    assert_eq!(d.api("DELETE", "/api/v1/networks/bridge", None).status, 403);
    d.ok(&["rm", "-f", "user"]);
    assert_eq!(d.api("DELETE", "/api/v1/networks/busy", None).status, 204);
}
