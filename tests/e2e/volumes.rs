//! `docker volume`, and volumes in containers.

use coracle_tests::{Daemon, wait_until};

#[test]
fn named_ones_outlive_containers() {
    let Some(d) = Daemon::start() else { return };
    d.sh(&["-v", "kept:/data"], "echo one >/data/file");
    assert_eq!(d.sh(&["-v", "kept:/other:ro"], "cat /other/file"), "one");
    assert_eq!(d.ok(&["volume", "ls", "-q"]), "kept");
    let point = d.ok(&["volume", "inspect", "-f", "{{.Mountpoint}}", "kept"]);
    assert_eq!(
        std::fs::read_to_string(format!("{point}/file")).unwrap(),
        "one\n"
    );
    let user = d.sleeper(&["-v", "kept:/data"]);
    d.fails(1, &["volume", "rm", "kept"])
        .says(&format!("volume is in use - [{user}]"));
    d.ok(&["rm", "-f", "-v", &user]);
    assert_eq!(
        d.ok(&["volume", "ls", "-q"]),
        "kept",
        "rm -v spares named ones"
    );
    assert_eq!(d.ok(&["volume", "rm", "kept"]), "kept");
    d.fails(1, &["volume", "rm", "kept"]).says("no such volume");
    d.ok(&["volume", "rm", "-f", "kept"]);
}

#[test]
fn an_images_content_seeds_them() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    let run = |flags: &[&str], script: &str| {
        d.ok(&[
            &["run", "--rm"],
            flags,
            &["configured:volume", "sh", "-c", script],
        ]
        .concat())
    };
    let seen = "cat /data/seed; stat -c %u:%g /data /data/seed";
    assert_eq!(run(&[], seen), "from the image\n33:33\n33:33");
    assert_eq!(
        run(&["-v", "seeded:/data"], seen),
        "from the image\n33:33\n33:33"
    );
    run(&["-v", "seeded:/data"], "echo changed >/data/seed");
    assert_eq!(run(&["-v", "seeded:/data"], "cat /data/seed"), "changed");
    assert_eq!(run(&["-v", "bare:/data:nocopy"], "ls /data | wc -l"), "0");
    let bind = format!("{}:/data", d.dir().join("empty").display());
    assert_eq!(run(&["-v", &bind], "ls /data | wc -l"), "0");
}

#[test]
fn anonymous_ones_go_with_their_container() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    let count = || d.ok(&["volume", "ls", "-q"]).lines().count();
    d.ok(&[
        "run", "--rm", "-v", "/anonymous", "configured:volume", "true",
    ]);
    wait_until("--rm removes them", || count() == 0);
    let kept = d.ok(&["create", "configured:volume"]);
    assert_eq!(count(), 1);
    d.ok(&["rm", &kept]);
    assert_eq!(count(), 1, "rm alone keeps them");
    let removed = d.ok(&["create", "configured:volume"]);
    d.ok(&["rm", "-v", &removed]);
    assert_eq!(count(), 1);
    assert!(
        d.ok(&["volume", "prune", "-f"])
            .contains("Total reclaimed space")
    );
    assert_eq!(count(), 0);
}

#[test]
fn volumes_from_another_container() {
    let Some(d) = Daemon::start() else { return };
    d.sleeper(&["--name", "source", "-v", "/one", "-v", "two:/two"]);
    d.ok(&[
        "exec", "source", "sh", "-c", "echo 1 >/one/f; echo 2 >/two/f",
    ]);
    assert_eq!(
        d.sh(&["--volumes-from", "source"], "cat /one/f /two/f"),
        "1\n2"
    );
    assert_eq!(
        d.sh(
            &["--volumes-from", "source:ro"],
            "touch /one/x 2>/dev/null || echo refused"
        ),
        "refused"
    );
}

#[test]
fn the_commands() {
    let Some(d) = Daemon::start() else { return };
    assert_eq!(d.ok(&["volume", "create", "--label", "a=b", "one"]), "one");
    assert_eq!(
        d.ok(&["volume", "create", "one"]),
        "one",
        "making it again is no error"
    );
    let generated = d.ok(&["volume", "create"]);
    assert_eq!(generated.len(), 64);
    assert_eq!(
        d.ok(&["volume", "ls", "-q", "--filter", "label=a=b"]),
        "one"
    );
    assert_eq!(d.ok(&["volume", "ls", "-q", "--filter", "name=on"]), "one");
    assert_eq!(
        d.ok(&["volume", "ls", "-q", "--filter", "dangling=true"])
            .lines()
            .count(),
        2
    );
    let shown = d.ok(&[
        "volume", "inspect", "-f", "{{.Driver}} {{.Scope}} {{.Labels.a}}", "one",
    ]);
    assert_eq!(shown, "local local b");
    d.fails(1, &["volume", "create", "-d", "nfs", "x"])
        .says("nfs");
    d.fails(1, &["volume", "create", "no/slashes"])
        .says("includes invalid characters");
    d.fails(1, &["volume", "inspect", "none"])
        .says("no such volume");
    // Of those without a name only, unless all are asked for, which clients before 23 do.
    assert!(d.ok(&["volume", "prune", "-f"]).contains(&generated));
    let all = ["volume", "prune", "-f", "--filter", "all=true"];
    d.ok(&all);
    assert_eq!(d.ok(&["volume", "ls", "-q"]), "");
}
