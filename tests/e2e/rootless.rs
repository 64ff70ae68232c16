//! An ordinary user's daemon: in namespaces of its own, with slirp4netns.

pub(crate) mod user;

use std::fs;

use coracle_tests::{fixture, leak, wait_until};
use rustix::process::Signal;

use self::user::{Rootless, User, is_alive};

#[test]
fn an_ordinary_users_daemon() {
    let user = User {
        id: 61_234,
        subordinate: Some(500_000),
        flags: &[],
        programs: Vec::new(),
    };
    let Some(mut d) = Rootless::start(user) else {
        return;
    };
    let image = fixture("busybox").join("docker.tar");
    d.ok(&["load", "-q", "-i", &image.to_string_lossy()]);

    // The user is root inside, and the ids above are the subordinate ones.
    let seen = d.ok(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "id -u; touch /x; chown 33:33 /x; stat -c %u /x; cat /proc/self/uid_map",
    ]);
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(
        words,
        ["0", "33", "0", "61234", "1", "1", "500000", "65536"],
        "{seen}"
    );

    // Ports are published where the user is, on IPv4 alone.
    d.docker(&["create", "-p", "[::1]:8090:80", "busybox"])
        .code(1)
        .says("IPv6");
    let web = d.ok(&[
        "run", "-d", "--name", "web", "-p", "8088:80", "-p", "127.0.0.1:8089:80", "busybox", "sh",
        "-c", "echo rootless >/index.html; exec httpd -f -h / -p 80",
    ]);
    assert_eq!(
        d.ok(&["port", "web"]),
        "80/tcp -> 0.0.0.0:8088\n80/tcp -> 127.0.0.1:8089"
    );
    for address in ["127.0.0.1:8088", "127.0.0.1:8089"] {
        wait_until(address, || d.get(address).as_deref() == Some("rootless\n"));
    }
    d.docker(&["run", "--rm", "-p", "8088:80", "busybox", "true"])
        .code(125)
        .says("port is already allocated");
    assert_eq!(d.ok(&["exec", "web", "id", "-u"]), "0");

    // Containers and namespaces outlive the daemon, and slirp4netns is replaced.
    let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]);
    let (holder, slirp) = (d.helper("holder"), d.helper("slirp"));
    assert!(is_alive(holder) && is_alive(slirp), "{holder} {slirp}");
    d.kill();
    d.spawn();
    assert_eq!((d.helper("holder"), d.helper("slirp")), (holder, slirp));
    assert_eq!(d.get("127.0.0.1:8088").as_deref(), Some("rootless\n"));
    d.kill();
    leak::kill(slirp, Signal::KILL);
    wait_until("slirp4netns is gone", || !is_alive(slirp));
    assert_eq!(d.get("127.0.0.1:8088"), None);
    d.spawn();
    assert_eq!(d.helper("holder"), holder);
    assert_ne!(d.helper("slirp"), slirp);
    assert_eq!(d.ok(&["inspect", "-f", "{{.State.Pid}}", "web"]), pid);
    assert_eq!(d.ok(&["exec", "web", "echo", "still"]), "still");
    for address in ["127.0.0.1:8088", "127.0.0.1:8089"] {
        assert_eq!(d.get(address).as_deref(), Some("rootless\n"), "{address}");
    }

    among_themselves(&d);
    names(&d);

    // Everything goes: what the daemon made with it, slirp4netns with the namespaces' holder.
    d.ok(&["rm", "-f", "-v", &web]);
    assert_eq!(d.get("127.0.0.1:8088"), None);
    d.end();
}

/// Containers in each other's namespaces, and what ends them without a control group.
fn among_themselves(d: &Rootless) {
    let run = ["run", "-d", "--network", "none", "--name"];
    d.ok(&[
        &run[..],
        &["one", "--ipc", "shareable", "busybox", "sleep", "1000"],
    ]
    .concat());
    d.ok(&["exec", "one", "touch", "/dev/shm/ones"]);
    let flags = [
        "run", "--rm", "--network", "none", "--ipc", "container:one", "--pid", "container:one",
    ];
    let script = "ls /dev/shm; ps -o args";
    let seen = d.ok(&[&flags[..], &["busybox", "sh", "-c", script]].concat());
    assert!(
        seen.starts_with("ones\n") && seen.contains("sleep 1000"),
        "{seen}"
    );

    let script = "(trap '' TERM; sleep 1001; true) & setsid sleep 1002 & sleep 1003; true";
    for pid in ["container:one", "host"] {
        let flags = ["guest", "--pid", pid, "busybox", "sh", "-c", script];
        d.ok(&[&run[..], &flags].concat());
        wait_until("it runs", || sleeping(d) == 3);
        d.ok(&["kill", "guest"]);
        wait_until("what it started is gone", || sleeping(d) == 0);
        assert_eq!(
            d.ok(&["inspect", "-f", "{{.State.ExitCode}}", "guest"]),
            "137"
        );
        d.ok(&["rm", "guest"]);
    }

    for flags in [&[][..], &["--init"], &["-u", "1000"]] {
        let sleep = [&run[..], &["guest"], flags, &["busybox", "sleep", "1001"]].concat();
        d.ok(&sleep);
        let pid = d.ok(&["inspect", "-f", "{{.State.Pid}}", "guest"]);
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let shim = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        leak::kill(shim.unwrap().trim().parse().unwrap(), Signal::KILL);
        wait_until("it is gone", || {
            !is_alive(pid.parse().unwrap()) && sleeping(d) == 0
        });
        d.ok(&["rm", "-f", "guest"]);
    }
    d.ok(&["rm", "-f", "one"]);
}

/// Containers find each other.
fn names(d: &Rootless) {
    d.ok(&["network", "create", "net"]);
    for name in ["ours", "peer"] {
        let run = ["run", "-d", "--network", "net", "--name", name];
        d.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat());
    }
    d.ok(&["exec", "ours", "ping", "-c", "1", "-W", "5", "peer"]);
    d.ok(&["rm", "-f", "ours", "peer"]);
    d.ok(&["network", "rm", "net"]);
}

/// How many of the sleeping processes of the test above there are.
fn sleeping(d: &Rootless) -> usize {
    let line = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    d.processes()
        .iter()
        .filter(|pid| line(pid).starts_with("sleep\u{0}100"))
        .filter(|pid| !line(pid).starts_with("sleep\u{0}1000"))
        .count()
}
