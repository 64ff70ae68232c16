//! `docker ps`: filters and formats.

use coracle_tests::Daemon;

#[test]
fn filters() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    d.ok(&["create", "--name", "made", "-l", "kind=a", "busybox"]);
    d.sleeper(&["--name", "runs", "-l", "kind=b", "-v", "vol:/v"]);
    d.sleeper(&["--name", "rests", "-l", "kind=b"]);
    d.ok(&["pause", "rests"]);
    d.fails(
        3,
        &["run", "--name", "ended", "busybox", "sh", "-c", "exit 3"],
    );
    d.ok(&["run", "--name", "other", "configured:labels", "true"]);
    let names = |flags: &[&str]| {
        let text = d.ok(&[&["ps", "--format", "{{.Names}}"], flags].concat());
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[]), "rests runs");
    assert_eq!(names(&["-a"]), "ended made other rests runs");
    assert_eq!(names(&["-l"]), "other");
    assert_eq!(names(&["-n", "2"]), "ended other");
    for (filter, wanted) in [
        ("status=created", "made"),
        ("status=paused", "rests"),
        ("status=running", "runs"),
        ("status=exited", "ended other"),
        ("exited=3", "ended"),
        ("label=kind", "made rests runs"),
        ("label=kind=b", "rests runs"),
        ("name=r", "other rests runs"),
        ("name=^runs$", "runs"),
        ("volume=vol", "runs"),
        ("ancestor=configured:labels", "other"),
        ("before=rests", "made runs"),
        ("since=rests", "ended other"),
        ("network=none", "rests runs"),
        ("is-task=true", ""),
    ] {
        assert_eq!(names(&["-a", "--filter", filter]), wanted, "{filter}");
    }
    assert_eq!(
        names(&["--filter", "status=exited"]),
        "ended other",
        "a state asks for all"
    );
    assert_eq!(
        names(&[
            "-a", "--filter", "status=created", "--filter", "status=paused"
        ]),
        "made rests"
    );
    assert_eq!(
        names(&[
            "-a", "--filter", "label=kind=b", "--filter", "status=running"
        ]),
        "runs"
    );
    d.fails(1, &["ps", "--filter", "nonsense=1"])
        .says("invalid filter");
    d.fails(1, &["ps", "--filter", "status=nonsense"])
        .says("nonsense");
    d.fails(1, &["ps", "--filter", "before=nobody"])
        .says("nobody");
}

#[test]
fn what_is_shown() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", "-l", "a=b", "busybox", "sleep",
        "1000",
    ]);
    let format = "{{.ID}}|{{.Image}}|{{.Command}}|{{.Ports}}|{{.Names}}|{{.State}}|{{.Labels}}|{{.Networks}}|{{.LocalVolumes}}";
    let shown = d.ok(&["ps", "--format", format]);
    let wanted = format!(
        "{}|busybox|\"sleep 1000\"|127.0.0.1:8080->80/tcp|web|running|a=b|bridge|0",
        &id[..12]
    );
    assert_eq!(shown, wanted);
    let status = d.ok(&["ps", "--format", "{{.Status}}"]);
    assert!(status.starts_with("Up "), "{status}");
    d.ok(&["exec", "web", "sh", "-c", "head -c 100000 /dev/zero >/big"]);
    let size = d.ok(&["ps", "-s", "--format", "{{.Size}}"]);
    assert!(size.starts_with("100kB (virtual "), "{size}");
    d.ok(&["stop", "-t", "0", "web"]);
    let status = d.ok(&["ps", "-a", "--format", "{{.Status}}"]);
    assert!(status.starts_with("Exited (137) "), "{status}");
    assert_eq!(d.ok(&["ps", "-aq", "--no-trunc"]), id);
    let table = d.ok(&["ps", "-a"]);
    assert!(
        table.starts_with("CONTAINER ID   IMAGE     COMMAND"),
        "{table}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&d.ok(&["ps", "-a", "--format", "{{json .}}"])).unwrap();
    assert_eq!(json["Names"], "web");
}
