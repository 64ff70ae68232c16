//! Names of containers on the host: `--host-dns`, `coracle system dns`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use coracle_tests::fixture::binary;
use coracle_tests::{Daemon, Output, output};

const SERVER: &str = "127.0.0.1:53";
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
const A: u8 = 1;
const AAAA: u8 = 28;

/// A question.
fn question(name: &str, kind: u8) -> Vec<u8> {
    let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend(label.bytes());
    }
    query.extend([0, 0, kind, 0, 1]);
    query
}

/// What the host is told by UDP: the code, and how many answers.
fn ask(d: &Daemon, name: &str, kind: u8) -> (u8, u8, Vec<u8>) {
    let socket = d.netns().enter(|| UdpSocket::bind("127.0.0.1:0")).unwrap();
    let limit = Some(Duration::from_secs(10));
    socket.set_read_timeout(limit).unwrap();
    socket.send_to(&question(name, kind), SERVER).unwrap();
    let mut reply = [0; 512];
    let length = socket.recv(&mut reply).unwrap();
    (reply[3] & 15, reply[7], reply[..length].to_vec())
}

/// The only address of a name.
fn address(d: &Daemon, name: &str) -> String {
    let (code, count, reply) = ask(d, name, A);
    assert_eq!((code, count), (0, 1), "{name}");
    let last: [u8; 4] = reply[reply.len() - 4..].try_into().unwrap();
    Ipv4Addr::from(last).to_string()
}

fn on(d: &Daemon, network: &str, name: &str) -> String {
    d.sleeper(&["--name", name, "--network", network]);
    let networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    d.inspect(name, networks)
}

#[test]
fn the_host_finds_containers() {
    let Some(mut d) = Daemon::flags(&["--host-dns", SERVER]) else {
        return;
    };
    d.ok(&["network", "create", "front"]);
    d.ok(&["network", "create", "back"]);
    let web = on(&d, "front", "web");
    let plain = on(&d, "bridge", "plain");
    assert_eq!(address(&d, "web.coracle"), web);
    assert_eq!(address(&d, "WEB.front.Coracle"), web);
    assert_eq!(address(&d, "plain.coracle"), plain);
    assert_eq!(ask(&d, "web.coracle", AAAA).0, 0, "a name without IPv6");
    assert_eq!(ask(&d, "web.coracle", AAAA).1, 0);

    // On two networks it has an address on each.
    d.ok(&["network", "connect", "--alias", "store", "back", "web"]);
    assert_eq!(ask(&d, "web.coracle", A).1, 2);
    assert_eq!(address(&d, "web.front.coracle"), web);
    let second = d.inspect("web", "{{.NetworkSettings.Networks.back.IPAddress}}");
    assert_eq!(address(&d, "web.back.coracle"), second);
    assert_eq!(address(&d, "store.back.coracle"), second);

    // As the host's own programs ask, both ways: by the C library.
    let resolv_conf = d.dir().join("resolv.conf");
    fs::write(&resolv_conf, "nameserver 127.0.0.1\n").unwrap();
    let getent = |name: &str| {
        let script = format!(
            "mount --bind {} /etc/resolv.conf && getent ahostsv4 {name}",
            resolv_conf.display()
        );
        d.inside("unshare", &["--mount", "sh", "-c", &script])
    };
    let found = getent("plain.coracle").ok();
    assert!(found.starts_with(&plain), "{found}");
    getent("nobody.coracle").code(2);

    // By TCP.
    let mut stream = d.netns().enter(|| TcpStream::connect(SERVER)).unwrap();
    let query = question("plain.coracle", A);
    let length = u16::try_from(query.len()).unwrap().to_be_bytes();
    stream.write_all(&[&length, &query[..]].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!((reply[3] & 15, reply[7]), (0, 1));

    // Nothing but containers, and nobody else is asked.
    for name in ["nobody.coracle", "store.coracle", "web.nowhere.coracle"] {
        assert_eq!(ask(&d, name, A).0, NXDOMAIN, "{name}");
    }
    for name in ["web", "example.com", "localhost"] {
        assert_eq!(ask(&d, name, A).0, REFUSED, "{name}");
    }

    // Names come back with the daemon, and go with their containers.
    d.crash();
    assert_eq!(address(&d, "web.front.coracle"), web);
    d.ok(&["rename", "plain", "simple"]);
    assert_eq!(address(&d, "simple.coracle"), plain);
    assert_eq!(ask(&d, "plain.coracle", A).0, NXDOMAIN);
    d.ok(&["stop", "-t", "0", "simple"]);
    assert_eq!(ask(&d, "simple.coracle", A).0, NXDOMAIN);
    d.ok(&["rm", "-f", "web"]);
    assert_eq!(ask(&d, "web.coracle", A).0, NXDOMAIN);
}

/// Runs `coracle` where `/etc` is empty and `systemctl` is this script.
fn coracle(d: &Daemon, systemctl: &str, script: &str) -> Output {
    let bin = d.dir().join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("systemctl"), format!("#!/bin/sh\n{systemctl}\n")).unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(bin.join("systemctl"), executable).unwrap();
    let coracle = binary("coracle");
    let script = format!(
        "mount -t tmpfs none /etc && PATH={}:$PATH && coracle() {{ {} \"$@\"; }} && {script}",
        bin.display(),
        coracle.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    command.env("DOCKER_HOST", d.host());
    command.env("DOCKER_CONFIG", d.dir().join("config"));
    output::run(&mut command, b"")
}

#[test]
fn the_hosts_resolver_is_told() {
    let Some(mut d) = Daemon::start() else { return };
    let off = coracle(&d, "exit 0", "coracle system dns create").code(1);
    assert!(off.stderr.contains("--host-dns 127.0.0.1:2053"), "{off}");
    d.more_flags(&[
        "--host-dns", "127.0.0.1:2053", "--host-dns-domain", "box.test",
    ]);
    d.crash();
    let log = d.dir().join("systemctl.log");
    let systemctl = format!("echo \"$*\" >>{}", log.display());
    let told = coracle(
        &d,
        &systemctl,
        "coracle system dns create && cat /etc/systemd/resolved.conf.d/coracle.conf \
         && coracle system dns list && coracle system dns delete \
         && ls /etc/systemd/resolved.conf.d && ! coracle system dns delete",
    );
    let shown = told.code(0).stdout;
    for line in [
        "box.test", "DNS=127.0.0.1:2053", "Domains=~box.test",
        "box.test   127.0.0.1:2053   yes       systemd-resolved",
    ] {
        assert!(shown.lines().any(|other| other == line), "{line}: {shown}");
    }
    assert!(shown.ends_with("systemd-resolved\n"), "no file: {shown}");
    let log = fs::read_to_string(log).unwrap();
    let reloads = log.matches("reload-or-restart systemd-resolved.service");
    assert_eq!(reloads.count(), 2, "{log}");

    // Where it doesn't run, the user gets the lines.
    let by_hand = coracle(&d, "exit 3", "coracle system dns create").code(1);
    assert!(
        by_hand
            .stdout
            .contains("\nserver=/box.test/127.0.0.1#2053\n"),
        "{by_hand}"
    );
    let info = d.api("GET", "/v1.47/info", None).json();
    assert_eq!(info["HostDNS"]["Domain"], "box.test", "{info}");
}

#[test]
fn a_port_that_is_taken_is_a_warning() {
    let Some(mut d) = Daemon::start() else { return };
    let _taken = d.netns().enter(|| UdpSocket::bind(SERVER)).unwrap();
    d.more_flags(&["--host-dns", SERVER]);
    d.crash();
    assert!(d.log().contains("no names of containers on the host"));
    let warnings = d.docker(&["info"]).code(0).stderr;
    assert!(
        warnings.contains("cannot listen on 127.0.0.1:53"),
        "{warnings}"
    );
    let refused = coracle(&d, "exit 0", "coracle system dns create").code(1);
    assert!(refused.stderr.contains("cannot listen"), "{refused}");

    let mut elsewhere = d.command();
    elsewhere.args(["--validate", "--host-dns-domain", "x"]);
    let others = ["--validate", "--host-dns", "0.0.0.0:53"];
    let mut open = Command::new(binary("coracled"));
    output::run(open.args(others), b"")
        .code(1)
        .says("no loopback address");
    output::run(&mut elsewhere, b"").code(0);
}
