//! `docker pull push login` against Debian's docker-registry.

use coracle_tests::{Daemon, Registry};

fn id(d: &Daemon, name: &str) -> String {
    d.inspect(name, "{{.Id}}")
}

#[test]
fn push_pull_and_run() {
    let Some(d) = Daemon::start() else { return };
    let registry = Registry::start(&d);
    let name = registry.name("team/busybox:v1");
    d.ok(&["tag", "busybox", &name]);
    let pushed = d.ok(&["push", &name]);
    assert!(pushed.contains("v1: digest: sha256:"), "{pushed}");
    let digest = pushed
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"))
        .unwrap()
        .to_owned();
    assert!(d.ok(&["push", &name]).contains(&digest), "again: the same");
    let own = id(&d, "busybox");
    d.ok(&["rmi", "busybox", &name]);
    let pulled = d.ok(&["pull", &name]);
    assert!(pulled.contains(&format!("Digest: {digest}")), "{pulled}");
    assert!(
        pulled.contains(&format!("Status: Downloaded newer image for {name}")),
        "{pulled}"
    );
    assert_eq!(id(&d, &name), own);
    assert!(d.ok(&["pull", &name]).contains("Image is up to date"));
    assert_eq!(d.ok(&["run", "--rm", &name, "echo", "runs"]), "runs");
    let by_digest = format!("{}@{digest}", registry.name("team/busybox"));
    assert_eq!(
        d.inspect(&name, "{{json .RepoDigests}}"),
        format!("[\"{by_digest}\"]")
    );
    d.ok(&["rmi", &name]);
    d.ok(&["pull", "-q", &by_digest]);
    assert_eq!(id(&d, &by_digest), own);
    d.ok(&["rmi", &by_digest]);
    // Run pulls by itself, and says so on standard error.
    let run = d.docker(&["run", "--rm", &name, "echo", "pulled"]).code(0);
    assert_eq!(run.stdout, "pulled\n");
    run.says("Unable to find image");
    // What we pushed others can read.
    let seen = d.inside(
        "skopeo",
        &[
            "inspect",
            "--tls-verify=false",
            "--format",
            "{{.Digest}}",
            &format!("docker://{name}"),
        ],
    );
    assert_eq!(seen.ok(), digest);
}

#[test]
fn podman_pulls_what_was_pushed() {
    let Some(d) = Daemon::start() else { return };
    let registry = Registry::start(&d);
    let name = registry.name("busybox:pushed");
    d.ok(&["tag", "busybox", &name]);
    d.ok(&["push", "-q", &name]);
    let at = |name: &str| d.dir().join("podman").join(name).display().to_string();
    let flags = [
        "--root",
        &at("root"),
        "--runroot",
        &at("run"),
        "--storage-driver",
        "vfs",
    ];
    let pulled = d.inside(
        "podman",
        &[&flags[..], &["pull", "-q", "--tls-verify=false", &name]].concat(),
    );
    assert_eq!(format!("sha256:{}", pulled.ok()), id(&d, "busybox"));
}

#[test]
fn errors() {
    let Some(d) = Daemon::start() else { return };
    let registry = Registry::start(&d);
    d.fails(1, &["pull", &registry.name("none")])
        .says("not found");
    registry.put(&d, "busybox", "busybox:latest");
    d.fails(1, &["pull", &registry.name("busybox:none")])
        .says("not found");
    let zero = "0".repeat(64);
    d.fails(
        1,
        &["pull", &registry.name(&format!("busybox@sha256:{zero}"))],
    )
    .says("not found");
    d.fails(1, &["pull", "127.0.0.1:1/x"])
        .says("connection refused");
    d.fails(1, &["pull", "UPPER"]).says("lowercase");
    d.fails(1, &["push", &registry.name("none")])
        .says("does not exist");
    assert_eq!(
        d.ok(&["images", "-q"]).lines().count(),
        1,
        "nothing half made"
    );
}

#[test]
fn platforms() {
    let Some(d) = Daemon::having(&[]) else { return };
    let registry = Registry::start(&d);
    registry.put(&d, "platforms", "platforms:latest");
    let name = registry.name("platforms");
    d.ok(&["pull", "-q", &name]);
    let own = d.ok(&["version", "--format", "{{.Server.Arch}}"]);
    assert_eq!(d.ok(&["run", "--rm", &name]), own);
    d.ok(&["pull", "-q", "--platform", "linux/arm/v7", &name]);
    assert_eq!(d.inspect(&name, "{{.Architecture}}"), "arm");
    let other = d.fails(1, &["pull", "--platform", "linux/mips64", &name]);
    other.says("no matching manifest for linux/mips64");
}

#[test]
fn all_tags() {
    let Some(d) = Daemon::having(&[]) else { return };
    let registry = Registry::start(&d);
    for tag in ["configured:user", "configured:entry"] {
        registry.put(&d, "configured", tag);
    }
    d.ok(&["pull", "-q", "-a", &registry.name("configured")]);
    assert_eq!(d.ok(&["images", "-q"]).lines().count(), 2);
    d.ok(&[
        "tag",
        &registry.name("configured:user"),
        &registry.name("pushed:one"),
    ]);
    d.ok(&[
        "tag",
        &registry.name("configured:entry"),
        &registry.name("pushed:two"),
    ]);
    d.ok(&["push", "-q", "-a", &registry.name("pushed")]);
    let tags = d
        .inside(
            "skopeo",
            &[
                "list-tags",
                "--tls-verify=false",
                &format!("docker://{}", registry.name("pushed")),
            ],
        )
        .ok();
    assert!(tags.contains("one") && tags.contains("two"), "{tags}");
}

#[test]
fn login() {
    let Some(d) = Daemon::start() else { return };
    let registry = Registry::guarded(&d);
    let name = registry.name("busybox");
    d.ok(&["tag", "busybox", &name]);
    d.fails(1, &["push", &name]);
    d.fails(
        1,
        &["login", "-u", "user", "-p", "wrong", registry.address()],
    )
    .says("unauthorized");
    let ok = d
        .docker_in(
            &[
                "login",
                "-u",
                "user",
                "--password-stdin",
                registry.address(),
            ],
            b"secret",
        )
        .ok();
    assert!(ok.contains("Login Succeeded"), "{ok}");
    d.ok(&["push", "-q", &name]);
    d.ok(&["rmi", &name]);
    d.ok(&["pull", "-q", &name]);
    d.ok(&["logout", registry.address()]);
    d.ok(&["rmi", &name]);
    d.fails(1, &["pull", &name]);
}

#[test]
fn a_mirror_is_asked_first() {
    let Some(d) = Daemon::flags(&["--registry-mirror", "http://127.0.0.1:5000"]) else {
        return;
    };
    let registry = Registry::start(&d);
    let name = registry.name("library/mirrored");
    d.ok(&["tag", "busybox", &name]);
    d.ok(&["push", "-q", &name]);
    d.ok(&["rmi", &name]);
    d.ok(&["pull", "-q", "mirrored"]);
    assert_eq!(
        d.inspect("mirrored", "{{json .RepoTags}}"),
        "[\"busybox:latest\",\"mirrored:latest\"]"
    );
}

#[test]
fn odd_images_come_through_a_registry() {
    let Some(d) = Daemon::having(&[]) else { return };
    let registry = Registry::start(&d);
    for tag in [
        "odd:zstd", "odd:plain", "odd:layers", "odd:hardlinks", "odd:names",
    ] {
        registry.put(&d, "odd", tag);
        assert_eq!(
            d.ok(&["run", "--rm", "--network", "none", &registry.name(tag)]),
            "good",
            "{tag}"
        );
    }
    // And back out, unharmed.
    for tag in ["odd:zstd", "odd:plain"] {
        let again = registry.name(&tag.replace("odd", "again"));
        d.ok(&["tag", &registry.name(tag), &again]);
        d.ok(&["push", "-q", &again]);
        d.ok(&["rmi", "-f", &again, &registry.name(tag)]);
        assert_eq!(
            d.docker(&["run", "--rm", "--network", "none", &again]).ok(),
            "good",
            "{tag}"
        );
    }
}
