//! `docker run --link` on the default bridge.

use coracle_tests::Daemon;

/// The line of a hosts file that begins a container's names with an alias.
fn line(hosts: &str, alias: &str) -> Option<String> {
    let mut lines = hosts.lines().map(|line| line.replace('\t', " "));
    lines.find(|line| line.split(' ').nth(1) == Some(alias))
}

fn bridged(d: &Daemon, flags: &[&str]) -> String {
    d.sleeper(&[&["--network", "bridge"], flags].concat())
}

fn hosts(d: &Daemon, name: &str) -> String {
    d.ok(&["exec", name, "cat", "/etc/hosts"])
}

fn address(d: &Daemon, name: &str) -> String {
    d.inspect(name, "{{.NetworkSettings.IPAddress}}")
}

#[test]
fn another_by_names_and_variables() {
    let Some(d) = Daemon::start() else { return };
    let db = [
        "--name", "db", "-h", "dbhost", "-e", "FOO=bar", "-e", "HOME=/x",
    ];
    bridged(
        &d,
        &[&db[..], &["--expose", "5432", "--expose", "80/udp"]].concat(),
    );
    bridged(
        &d,
        &[
            "--name", "web", "--link", "db:data-base", "-e", "DATA_BASE_PORT_5432_TCP_PROTO=own",
        ],
    );
    let ip = address(&d, "db");
    let found = line(&hosts(&d, "web"), "data-base");
    assert_eq!(found.unwrap(), format!("{ip} data-base dbhost db"));
    d.ok(&["exec", "web", "ping", "-c", "1", "dbhost"]);
    let env = d.ok(&["exec", "web", "env"]);
    for wanted in [
        &format!("DATA_BASE_PORT=udp://{ip}:80"),
        &format!("DATA_BASE_PORT_80_UDP_ADDR={ip}"),
        &format!("DATA_BASE_PORT_5432_TCP=tcp://{ip}:5432"),
        "DATA_BASE_PORT_5432_TCP_PROTO=own",
        "DATA_BASE_NAME=/web/data-base",
        "DATA_BASE_ENV_FOO=bar",
    ] {
        assert!(env.lines().any(|line| line == wanted), "{wanted} in {env}");
    }
    assert!(!env.contains("DATA_BASE_ENV_HOME"), "{env}");
    assert_eq!(
        d.inspect("web", "{{json .HostConfig.Links}}"),
        "[\"/db:/web/data-base\"]"
    );
    assert_eq!(d.inspect("db", "{{json .HostConfig.Links}}"), "null");
    assert_eq!(d.inspect("/web/data-base", "{{.Name}}"), "/db");
    let names = d.ok(&["ps", "--no-trunc", "--format", "{{.Names}}"]);
    assert_eq!(names, "web\ndb,web/data-base");
    // Over its end and another address, for those that run and for those that start again.
    d.ok(&["stop", "-t", "0", "db"]);
    bridged(&d, &["--name", "taker", "--link", "web"]);
    d.fails(1, &["exec", "web", "true"])
        .mentions("Cannot link to a non running container: /db AS /web/data-base");
    d.ok(&["start", "db"]);
    let moved = address(&d, "db");
    assert_ne!(moved, ip);
    let env = d.ok(&["exec", "web", "env"]);
    assert!(
        env.contains(&format!("DATA_BASE_PORT_5432_TCP_ADDR={moved}")),
        "{env}"
    );
    let found = line(&hosts(&d, "web"), "data-base");
    assert_eq!(found.unwrap(), format!("{moved} data-base dbhost db"));
    d.ok(&["rename", "db", "store"]);
    d.ok(&["rename", "web", "front"]);
    assert_eq!(
        d.inspect("front", "{{json .HostConfig.Links}}"),
        "[\"/store:/front/data-base\"]"
    );
    d.ok(&["restart", "-t", "0", "front"]);
    let found = line(&hosts(&d, "front"), "data-base");
    assert_eq!(found.unwrap(), format!("{moved} data-base dbhost store"));
    let env = d.ok(&["exec", "front", "env"]);
    assert!(
        env.contains(&format!("DATA_BASE_PORT=udp://{moved}:80")),
        "{env}"
    );
    // Removal.
    d.fails(1, &["rm", "--link", "front"])
        .mentions("cannot remove the default link name");
    d.fails(1, &["rm", "--link", "/front/other"])
        .mentions("No such container: front/other");
    d.ok(&["rm", "--link", "/front/data-base"]);
    assert_eq!(line(&hosts(&d, "front"), "data-base"), None);
    assert_eq!(d.inspect("front", "{{json .HostConfig.Links}}"), "null");
    d.ok(&["restart", "-t", "0", "front"]);
    assert!(!d.ok(&["exec", "front", "env"]).contains("DATA_BASE_NAME"));
}

#[test]
fn links_outlive_the_daemon() {
    let Some(mut d) = Daemon::start() else { return };
    bridged(&d, &["--name", "db"]);
    bridged(&d, &["--name", "web", "--link", "db"]);
    let ip = address(&d, "db");
    d.crash();
    assert_eq!(
        d.inspect("web", "{{json .HostConfig.Links}}"),
        "[\"/db:/web/db\"]"
    );
    d.ok(&["stop", "-t", "0", "db"]);
    bridged(&d, &["--name", "taker"]);
    d.ok(&["start", "db"]);
    let moved = address(&d, "db");
    assert_ne!(moved, ip);
    let found = line(&hosts(&d, "web"), "db").unwrap();
    assert!(found.starts_with(&format!("{moved} db ")), "{found}");
    // What is gone can't be reached, and is shown as it was called.
    d.ok(&["rm", "-f", "db"]);
    assert_eq!(
        d.inspect("web", "{{json .HostConfig.Links}}"),
        "[\"/db:/web/db\"]"
    );
    d.fails(1, &["restart", "-t", "0", "web"])
        .mentions("Cannot link to a non running container: /db AS /web/db");
}

#[test]
fn those_that_lead_nowhere() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&["create", "--name", "still", "busybox", "true"]);
    d.ok(&["network", "create", "own"]);
    d.sleeper(&["--name", "apart", "--network", "own"]);
    d.sleeper(&["--name", "joined", "--network", "container:apart"]);
    let run = ["run", "--rm", "--name", "new"];
    for (flags, words) in [
        (
            &["--link", "nope:x"][..],
            "could not get container for nope: No such container: nope",
        ),
        (
            &["--link", "still:x"],
            "Cannot link to a non running container: /still AS /new/x",
        ),
        (
            &["--link", "apart:x"],
            "Cannot link to /apart, as it does not belong to the default network",
        ),
        (
            &["--link", "joined:x"],
            "Cannot link to /apart, as it does not belong to the default network",
        ),
        (
            &["--link", "apart", "--network", "host"],
            "conflicting options: host type networking can't be used with links",
        ),
        (
            &["--link", "apart", "--network", "container:apart"],
            "conflicting options: container type network can't be used with links",
        ),
        (&["--link", "apart:a b"], "bad format for links: apart:a b"),
    ] {
        let args = [&run[..], flags, &["busybox", "true"]].concat();
        d.fails(125, &args).mentions(words);
    }
    let seen = d.ok(&[
        "run", "--rm", "--network", "none", "--link", "still:x", "busybox", "env",
    ]);
    assert!(!seen.contains("X_NAME"), "{seen}");
}
