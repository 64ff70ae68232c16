//! A container's tree: `docker diff export import commit`.

use std::fs;

use coracle_tests::{Daemon, wait_until};

#[test]
fn diff() {
    let Some(d) = Daemon::start() else { return };
    let script = "mkdir /new; echo 1 >/new/file; echo x >>/etc/group; rm /etc/shadow; mkdir /tmp/gone; rmdir /tmp/gone";
    for (name, flag) in [("ended", ""), ("runs", "; sleep 1000")] {
        d.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "-v",
            "/unseen",
            "busybox",
            "sh",
            "-c",
            &format!("{script}{flag}"),
        ]);
        std::thread::sleep(std::time::Duration::from_millis(500));
        let text = d.ok(&["diff", name]);
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        for line in [
            "A /new", "A /new/file", "C /etc", "C /etc/group", "D /etc/shadow",
        ] {
            assert!(lines.contains(&line), "{line} in {text}");
        }
        assert!(
            !text.contains("gone") && !text.contains("/proc") && !text.contains("/dev/"),
            "{text}"
        );
    }
    assert_eq!(d.ok(&["diff", &d.ok(&["create", "busybox"])]), "");
}

#[test]
fn export_and_import() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&[
        "run",
        "--name",
        "source",
        "-v",
        "/volume",
        "busybox",
        "sh",
        "-c",
        "echo mine >/file; ln /file /hard; echo v >/volume/v; rm /etc/shadow",
    ]);
    let file = d.dir().join("tree.tar").display().to_string();
    d.ok(&["export", "-o", &file, "source"]);
    let listed = d.inside("tar", &["-tf", &file]).ok();
    let has = |name: &str| listed.lines().any(|line| line == name);
    assert!(has("file") && has("bin/busybox") && has("tmp/"), "{listed}");
    assert!(
        !has("etc/shadow") && !has("volume/v") && !listed.contains(".wh."),
        "{listed}"
    );
    let changes = [
        "-c", "CMD [\"cat\",\"/file\"]", "-c", "ENV A=b", "-m", "a note",
    ];
    let id = d.ok(&[&["import"], &changes[..], &[&file, "imported:one"]].concat());
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(d.ok(&["run", "--rm", "imported:one"]), "mine");
    assert_eq!(
        d.ok(&["run", "--rm", "imported:one", "stat", "-c", "%h", "/file"]),
        "2"
    );
    assert_eq!(
        d.inspect("imported:one", "{{json .Config.Env}}"),
        "[\"A=b\"]"
    );
    assert!(d.ok(&["history", "imported:one"]).contains("a note"));
    let data = d.docker(&["export", "source"]).code(0).bytes;
    let piped = d.docker_in(&["import", "-", "imported:two"], &data).ok();
    assert!(piped.starts_with("sha256:"), "{piped}");
    assert_ne!(d.docker_in(&["import", "-"], b"no tar").code, 0);
    d.fails(1, &["export", "nobody"]).says("No such container");
    // A running one too.
    d.sleeper(&["--name", "runs"]);
    let running = d.dir().join("runs.tar").display().to_string();
    d.ok(&["export", "-o", &running, "runs"]);
    assert!(fs::metadata(running).unwrap().len() > 1_000_000);
}

#[test]
fn commit() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&[
        "run",
        "--name",
        "work",
        "-e",
        "FROM=run",
        "-v",
        "/volume",
        "busybox",
        "sh",
        "-c",
        "echo mine >/file; rm /etc/shadow; echo v >/volume/v; chown 33:33 /file",
    ]);
    let line = [
        "commit", "-a", "An Author", "-m", "made", "-c", "CMD [\"cat\",\"/file\"]", "-c",
        "USER 33", "-c", "LABEL a=b", "-c", "EXPOSE 80", "work", "made:v1",
    ];
    let id = d.ok(&line);
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(d.ok(&["run", "--rm", "made:v1"]), "mine");
    assert_eq!(
        d.ok(&[
            "run", "--rm", "made:v1", "sh", "-c", "id -u; stat -c %u:%g /file; ls /volume"
        ])
        .lines()
        .take(2)
        .collect::<Vec<_>>(),
        ["33", "33:33"]
    );
    assert_eq!(
        d.inspect("made:v1", "{{.Author}} {{.Comment}} {{.Config.Labels.a}}"),
        "An Author made b"
    );
    assert!(
        d.inspect("made:v1", "{{json .Config.Env}}")
            .contains("FROM=run")
    );
    assert_eq!(d.inspect("made:v1", "{{len .RootFS.Layers}}"), "2");
    d.fails(1, &["run", "--rm", "made:v1", "ls", "/etc/shadow"]);
    // A second layer on top, from a running container, paused meanwhile.
    d.ok(&[
        "run", "-d", "--name", "more", "-u", "0", "made:v1", "sh", "-c",
        "echo more >/more; sleep 1000",
    ]);
    wait_until("it is written", || {
        d.docker(&["exec", "more", "cat", "/more"]).stdout.trim() == "more"
    });
    d.ok(&["commit", "more", "made:v2"]);
    assert_eq!(d.inspect("more", "{{.State.Status}}"), "running");
    assert_eq!(d.inspect("made:v2", "{{len .RootFS.Layers}}"), "3");
    assert_eq!(
        d.ok(&["run", "--rm", "made:v2", "cat", "/more", "/file"]),
        "more\nmine"
    );
    // One without a name.
    assert!(d.ok(&["commit", "work"]).starts_with("sha256:"));
    assert!(
        d.ok(&["images", "-q", "--filter", "dangling=true"])
            .lines()
            .count()
            == 1
    );
    d.fails(1, &["commit", "-c", "NONSENSE 1", "work", "x"])
        .says("NONSENSE");
    d.fails(1, &["commit", "work", "UPPER"]).says("lowercase");
}
