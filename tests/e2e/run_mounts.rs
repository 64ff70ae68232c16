//! `docker run`: binds, temporary file systems, mounts of any kind.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use coracle_tests::Daemon;

fn folder(d: &Daemon) -> (PathBuf, String) {
    let path = d.dir().join("shared");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), "from the host\n").unwrap();
    let text = path.display().to_string();
    (path, text)
}

#[test]
fn binds() {
    let Some(d) = Daemon::start() else { return };
    let (path, source) = folder(&d);
    let bind = format!("{source}:/shared");
    assert_eq!(
        d.sh(
            &["-v", &bind],
            "cat /shared/file; echo back >/shared/written"
        ),
        "from the host"
    );
    assert_eq!(fs::read_to_string(path.join("written")).unwrap(), "back\n");
    let read_only = format!("{bind}:ro");
    let output = d.docker(&[
        "run", "--rm", "-v", &read_only, "busybox", "touch", "/shared/x",
    ]);
    output.code(1).says("Read-only file system");
    let mount = format!("type=bind,source={source},target=/m,readonly");
    assert_eq!(
        d.sh(
            &["--mount", &mount],
            "cat /m/file; touch /m/x 2>/dev/null || echo refused"
        ),
        "from the host\nrefused"
    );
    // What is written has the container's user.
    d.sh(
        &["-u", "33:33", "-v", &format!("{source}:/s")],
        "touch /tmp/x",
    );
    d.sh(
        &["-v", &format!("{source}:/s")],
        "touch /s/owned; chown 33:33 /s/owned",
    );
    assert_eq!(fs::metadata(path.join("owned")).unwrap().uid(), 33);
}

#[test]
fn binds_of_one_file() {
    let Some(d) = Daemon::start() else { return };
    let (path, source) = folder(&d);
    let bind = format!("{source}/file:/etc/new/name.conf");
    assert_eq!(
        d.sh(
            &["-v", &bind],
            "cat /etc/new/name.conf; echo more >>/etc/new/name.conf"
        ),
        "from the host"
    );
    assert_eq!(
        fs::read_to_string(path.join("file")).unwrap(),
        "from the host\nmore\n"
    );
    // Over what is in the image, and over what the daemon puts there.
    assert_eq!(
        d.sh(
            &["-v", &format!("{source}/file:/etc/passwd:ro")],
            "head -n 1 /etc/passwd"
        ),
        "from the host"
    );
    assert_eq!(
        d.sh(
            &["-v", &format!("{source}/file:/etc/hosts:ro")],
            "head -n 1 /etc/hosts"
        ),
        "from the host"
    );
    // Over a directory it can't go.
    let over = d.docker(&[
        "run",
        "--rm",
        "-v",
        &format!("{source}/file:/tmp"),
        "busybox",
    ]);
    assert_ne!(over.code, 0, "{over}");
    over.says("trying to mount a directory onto a file");
}

#[test]
fn sources_that_are_not_there() {
    let Some(d) = Daemon::start() else { return };
    let missing = d.dir().join("missing/deep");
    let source = missing.display().to_string();
    let mount = format!("type=bind,source={source},target=/m");
    d.fails(125, &["run", "--rm", "--mount", &mount, "busybox"])
        .says(&format!("bind source path does not exist: {source}"));
    assert!(!missing.exists());
    // The short form makes them, as docker always has.
    d.sh(&["-v", &format!("{source}:/m")], "touch /m/x");
    assert!(missing.join("x").exists());
    d.fails(125, &["run", "--rm", "-v", "/tmp:relative", "busybox"])
        .says("relative");
    d.fails(125, &["run", "--rm", "-v", "/tmp:/", "busybox"])
        .says("destination can't be '/'");
    d.fails(
        125,
        &["run", "--rm", "-v", "/tmp:/x", "-v", "/etc:/x", "busybox"],
    )
    .says("Duplicate mount point");
    d.fails(125, &["run", "--rm", "-v", "/tmp:/x:nonsense", "busybox"])
        .says("nonsense");
}

#[test]
fn propagation() {
    let Some(d) = Daemon::start() else { return };
    let (_, source) = folder(&d);
    let fields = |option: &str| {
        d.sh(
            &["-v", &format!("{source}:/p{option}")],
            "grep ' /p ' /proc/self/mountinfo",
        )
    };
    assert!(!fields("").contains("shared:"), "{}", fields(""));
    assert!(!fields(":rprivate").contains("master:"));
    // A mount made on the host later is seen by a slave only. This is a private one's parent, so
    // that what can be said here is what was asked for.
    assert_eq!(
        d.ok(&[
            "run",
            "--rm",
            "-v",
            &format!("{source}:/p:ro,rslave"),
            "busybox",
            "cat",
            "/p/file"
        ]),
        "from the host"
    );
}

#[test]
fn temporary_file_systems() {
    let Some(d) = Daemon::start() else { return };
    let options = d.sh(
        &["--tmpfs", "/t:size=1m,mode=1770,uid=33"],
        "grep ' /t ' /proc/mounts; stat -c %a:%u /t",
    );
    for word in [
        "tmpfs /t tmpfs", "noexec", "nosuid", "nodev", "size=1024k", "1770:33",
    ] {
        assert!(options.contains(word), "{word}: {options}");
    }
    let mount = "type=tmpfs,target=/m,tmpfs-size=2097152,tmpfs-mode=700";
    let options = d.sh(
        &["--mount", mount],
        "grep ' /m ' /proc/mounts; stat -c %a /m",
    );
    assert!(
        options.contains("size=2048k") && options.ends_with("700"),
        "{options}"
    );
    assert_eq!(
        d.sh(
            &["--tmpfs", "/run:exec"],
            "cp /bin/busybox /run/echo && /run/echo ran"
        ),
        "ran"
    );
    // What the image has there is hidden, and nothing of it is kept.
    assert_eq!(d.sh(&["--tmpfs", "/etc/x"], "ls /etc/x | wc -l"), "0");
}

#[test]
fn mounts_are_shown() {
    let Some(d) = Daemon::start() else { return };
    let (_, source) = folder(&d);
    let id = d.ok(&[
        "create",
        "-v",
        &format!("{source}:/a:ro"),
        "-v",
        "named:/b",
        "--tmpfs",
        "/c",
        "-v",
        "/d",
        "busybox",
    ]);
    let text = d.inspect(
        &id,
        "{{range .Mounts}}{{.Type}} {{.Destination}} {{.RW}}\n{{end}}",
    );
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["bind /a false", "volume /b true", "volume /d true"]);
    // docker's client keeps them in a map: they come in any order.
    let binds = d.inspect(&id, "{{range .HostConfig.Binds}}{{.}}\n{{end}}");
    let mut binds: Vec<&str> = binds.lines().collect();
    binds.sort_unstable();
    assert_eq!(binds, [format!("{source}:/a:ro").as_str(), "named:/b"]);
}

#[test]
fn the_daemons_files() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "-h", "boat", "--domainname", "example.org", "--dns", "192.0.2.1",
        "--dns-search", "example.com", "--dns-option", "ndots:3", "--add-host", "db:192.0.2.9",
        "--add-host", "six:2001:db8::1", "busybox", "sleep", "100",
    ]);
    let hosts = d.ok(&["exec", &id, "cat", "/etc/hosts"]);
    let ip = d.inspect(&id, "{{.NetworkSettings.IPAddress}}");
    for line in [
        "127.0.0.1\tlocalhost",
        "192.0.2.9\tdb",
        "2001:db8::1\tsix",
        &format!("{ip}\tboat.example.org boat"),
    ] {
        assert!(
            hosts.lines().any(|other| other == line),
            "{line:?} in {hosts}"
        );
    }
    let resolv = d.ok(&["exec", &id, "cat", "/etc/resolv.conf"]);
    for line in [
        "nameserver 192.0.2.1", "search example.com", "options ndots:3",
    ] {
        assert!(
            resolv.lines().any(|other| other == line),
            "{line:?} in {resolv}"
        );
    }
    assert_eq!(
        d.ok(&["exec", &id, "sh", "-c", "cat /etc/hostname; hostname"]),
        "boat\nboat"
    );
    // They can be written, and stay written over a restart.
    d.ok(&["exec", &id, "sh", "-c", "echo 192.0.2.7 own >>/etc/hosts"]);
    assert!(
        d.ok(&["exec", &id, "cat", "/etc/hosts"])
            .contains("192.0.2.7 own")
    );
    let gateway = d.sh(
        &["--add-host", "host:host-gateway", "--network", "bridge"],
        "grep '[0-9]\thost$' /etc/hosts",
    );
    assert!(gateway.starts_with("172."), "{gateway}");
}
