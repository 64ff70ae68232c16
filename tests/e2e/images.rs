//! `docker images tag rmi history save load image prune`.

use std::fs;

use coracle_tests::{Daemon, fixture};

fn tags(d: &Daemon, flags: &[&str]) -> String {
    let text = d.ok(&[&["images", "--format", "{{.Repository}}:{{.Tag}}"], flags].concat());
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

#[test]
fn lists_and_filters() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    assert_eq!(tags(&d, &["busybox"]), "busybox:latest");
    assert_eq!(tags(&d, &["configured"]).split(' ').count(), 7);
    assert_eq!(tags(&d, &["configured:e*"]), "configured:entry");
    assert_eq!(
        tags(&d, &["--filter", "reference=conf*:user"]),
        "configured:user"
    );
    assert_eq!(
        tags(&d, &["--filter", "label=org.example.one=1"]),
        "configured:labels"
    );
    assert_eq!(tags(&d, &["--filter", "dangling=true"]), "");
    assert_eq!(tags(&d, &["nothing"]), "");
    d.ok(&["tag", "busybox", "newer"]);
    let ids = d.ok(&["images", "-q", "--no-trunc", "busybox"]);
    assert_eq!(ids, d.ok(&["images", "-q", "--no-trunc", "newer"]));
    assert!(ids.starts_with("sha256:") && ids.len() == 71, "{ids}");
    assert_eq!(d.ok(&["images", "-q", "busybox"]).len(), 12);
    let size = d.ok(&["images", "--format", "{{.Size}}", "busybox"]);
    assert!(size.ends_with("MB"), "{size}");
    d.fails(1, &["images", "--filter", "nonsense=1"])
        .says("invalid filter");
}

#[test]
fn inspect_and_history() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    for (template, wanted) in [
        ("{{.Os}}", "linux"),
        ("{{json .RepoTags}}", "[\"busybox:latest\"]"),
        ("{{json .Config.Cmd}}", "[\"sh\"]"),
        ("{{.RootFS.Type}} {{len .RootFS.Layers}}", "layers 1"),
        ("{{.Created}}", "2024-01-01T00:00:00Z"),
    ] {
        assert_eq!(d.inspect("busybox", template), wanted, "{template}");
    }
    let id = d.inspect("busybox", "{{.Id}}");
    assert_eq!(d.inspect(&id, "{{json .RepoTags}}"), "[\"busybox:latest\"]");
    assert_eq!(d.inspect(&id[7..19], "{{.Id}}"), id);
    assert_eq!(
        d.inspect("configured:health", "{{.Config.Healthcheck.Retries}}"),
        "2"
    );
    assert_eq!(
        d.inspect("configured:stop", "{{.Config.StopSignal}}"),
        "SIGUSR1"
    );
    let history = d.ok(&[
        "history", "--no-trunc", "--format", "{{.CreatedBy}} {{.Size}}", "configured:entry",
    ]);
    assert_eq!(history.lines().count(), 2, "{history}");
    assert!(history.starts_with("fixture "), "{history}");
    d.fails(1, &["history", "none"]).says("No such image: none");
}

#[test]
fn tags_move_and_go() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    for name in [
        "one", "one:two", "registry.example:5000/deep/er/name:tag", "x/a.b-c__d/e:F_1.2-3",
    ] {
        d.ok(&["tag", "busybox", name]);
        d.ok(&["image", "inspect", name]);
    }
    d.fails(1, &["tag", "busybox", "UPPER"]).says("lowercase");
    d.fails(1, &["tag", "busybox", "a:b:c"])
        .says("invalid reference format");
    d.fails(1, &["tag", "none", "x"])
        .says("No such image: none");
    let before = d.inspect("one", "{{.Id}}");
    d.ok(&["tag", "configured:entry", "one"]);
    assert_ne!(d.inspect("one", "{{.Id}}"), before);
    let out = d.ok(&["rmi", "one:two"]);
    assert_eq!(out, "Untagged: one:two");
    let by_id = d.inspect("busybox", "{{.Id}}");
    d.fails(1, &["rmi", &by_id])
        .says("image is referenced in multiple repositories");
    let all = d.ok(&["rmi", "-f", &by_id]);
    assert!(
        all.contains("Untagged: busybox:latest") && all.contains(&format!("Deleted: {by_id}")),
        "{all}"
    );
    d.fails(1, &["rmi", "busybox"])
        .says("No such image: busybox");
}

#[test]
fn images_in_use_stay() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&["--name", "user"]);
    let short = &id[..12];
    d.fails(1, &["rmi", "busybox"])
        .says(&format!("container {short} is using its referenced image"));
    d.ok(&["stop", "-t", "0", "user"]);
    d.fails(1, &["rmi", "busybox"]).says("(must force)");
    d.ok(&["rmi", "-f", "busybox"]);
    d.ok(&["start", "user"]);
    assert_eq!(d.ok(&["exec", "user", "echo", "still"]), "still");
}

#[test]
fn save_and_load() {
    let Some(mut d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    let file = d.dir().join("saved.tar").display().to_string();
    let ids = d.ok(&["images", "-q", "--no-trunc", "busybox"]);
    d.ok(&["tag", "busybox", "also:this"]);
    d.ok(&[
        "save", "-o", &file, "busybox", "also:this", "configured:user",
    ]);
    let listed = d.inside("tar", &["-tf", &file]).ok();
    for name in ["manifest.json", "index.json", "oci-layout"] {
        assert!(listed.lines().any(|line| line == name), "{listed}");
    }
    // Others read it, as a docker archive and as an OCI layout.
    let digest = |from: &str| {
        let text = d.inside("skopeo", &["inspect", "--config", from]).ok();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["rootfs"]["diff_ids"][0].clone()
    };
    let own = d.inspect("busybox", "{{index .RootFS.Layers 0}}");
    assert_eq!(
        digest(&format!("docker-archive:{file}:busybox:latest")),
        own.as_str()
    );
    let names = d.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    for name in names.lines() {
        d.ok(&["rmi", "-f", name]);
    }
    assert_eq!(tags(&d, &[]), "");
    let loaded = d.ok(&["load", "-i", &file]);
    for name in ["busybox:latest", "also:this", "configured:user"] {
        assert!(
            loaded.contains(&format!("Loaded image: {name}")),
            "{loaded}"
        );
    }
    assert_eq!(
        d.ok(&["images", "-q", "--no-trunc", "busybox"]),
        ids,
        "the same image"
    );
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "runs"]), "runs");
    // Through pipes; and it is all there after a crash.
    let data = d.docker(&["save", "busybox"]).code(0).bytes;
    d.ok(&["rmi", "-f", "busybox", "also:this"]);
    d.docker_in(&["load"], &data).code(0);
    d.crash();
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "runs"]), "runs");
    d.fails(1, &["save", "none"]).says("none");
    assert_eq!(d.docker_in(&["load"], b"no tar at all").code, 1);
}

#[test]
fn podman_reads_what_was_saved() {
    let Some(d) = Daemon::start() else { return };
    let file = d.dir().join("saved.tar").display().to_string();
    d.ok(&["save", "-o", &file, "busybox"]);
    let root = d.dir().join("podman");
    let at = |name: &str| root.join(name).display().to_string();
    let flags = [
        "--root",
        &at("root"),
        "--runroot",
        &at("run"),
        "--storage-driver",
        "vfs",
    ];
    let podman = |more: &[&str]| d.inside("podman", &[&flags[..], more].concat());
    let loaded = podman(&["load", "-q", "-i", &file]).ok();
    assert!(loaded.contains("busybox:latest"), "{loaded}");
    let saved = at("back.tar");
    podman(&[
        "save", "-q", "--format", "oci-archive", "-o", &saved, "docker.io/library/busybox:latest",
    ])
    .ok();
    d.ok(&["rmi", "busybox"]);
    d.ok(&["load", "-i", &saved]);
    assert_eq!(
        d.ok(&["run", "--rm", "busybox", "echo", "and back"]),
        "and back"
    );
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn load_reads_oci_layouts_and_compression() {
    let Some(d) = Daemon::having(&[]) else { return };
    let layout = fixture("busybox").join("oci.tar").display().to_string();
    assert!(
        d.ok(&["load", "-i", &layout])
            .contains("Loaded image: busybox:latest")
    );
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "runs"]), "runs");
    for tool in ["gzip", "zstd"] {
        d.ok(&["rmi", "busybox"]);
        let packed = d.inside(
            "sh",
            &[
                "-c",
                &format!("{tool} -c {layout} >{}/packed", d.dir().display()),
            ],
        );
        packed.ok();
        d.ok(&["load", "-i", &d.dir().join("packed").display().to_string()]);
        assert_eq!(tags(&d, &[]), "busybox:latest", "{tool}");
    }
}

#[test]
fn prune() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    d.ok(&["create", "--name", "user", "busybox"]);
    d.ok(&["tag", "configured:entry", "moving"]);
    d.ok(&["commit", "user"]);
    let pruned = d.ok(&["image", "prune", "-f"]);
    assert!(
        pruned.contains("deleted: sha256:") && pruned.contains("Total reclaimed space"),
        "{pruned}"
    );
    assert!(tags(&d, &[]).contains("moving"));
    d.ok(&[
        "image", "prune", "-a", "-f", "--filter", "label=org.example.one",
    ]);
    assert!(!tags(&d, &[]).contains("configured:labels"));
    d.ok(&["image", "prune", "-a", "-f"]);
    assert_eq!(tags(&d, &[]), "busybox:latest");
    d.ok(&["rm", "user"]);
    d.ok(&["image", "prune", "-a", "-f"]);
    let blobs = d.dir().join("data");
    let left = d.inside(
        "sh",
        &[
            "-c",
            &format!("find {} -path '*blobs*' -type f | wc -l", blobs.display()),
        ],
    );
    assert_eq!(left.ok(), "0", "nothing of them is left on disk");
}
