//! `docker cp`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use coracle_tests::{Daemon, docker_major};

#[test]
fn out_and_in() {
    let Some(d) = Daemon::start() else { return };
    let here = d.dir().join("here");
    fs::create_dir_all(here.join("tree/sub")).unwrap();
    fs::write(here.join("file"), "content\n").unwrap();
    fs::set_permissions(here.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(here.join("tree/sub/deep"), "deep\n").unwrap();
    symlink("sub/deep", here.join("tree/link")).unwrap();
    let path = |name: &str| here.join(name).display().to_string();
    let stopped = d.ok(&[
        "create", "--name", "stopped", "busybox", "sh", "-c", "cat /in /tree/link",
    ]);
    d.sleeper(&["--name", "running"]);
    let missing = if docker_major() < 23 {
        "no such"
    } else {
        "could not find the file /none in"
    };
    for name in ["running", "stopped"] {
        let at = |inner: &str| format!("{name}:{inner}");
        d.ok(&["cp", &path("file"), &at("/in")]);
        d.ok(&["cp", &path("file"), &at("/tmp")]);
        d.ok(&["cp", &path("file"), &at("/tmp/")]);
        d.ok(&["cp", &path("tree"), &at("/tree")]);
        d.ok(&["cp", &path("tree/."), &at("/tmp")]);
        let back = format!("back-{name}");
        fs::create_dir(here.join(&back)).unwrap();
        d.ok(&["cp", &at("/in"), &path(&back)]);
        d.ok(&["cp", &at("/tmp/file"), &path(&format!("{back}/renamed"))]);
        d.ok(&["cp", &at("/tree"), &path(&back)]);
        d.ok(&["cp", &at("/tree/."), &path(&format!("{back}/merged"))]);
        d.ok(&[
            "cp",
            "-L",
            &at("/tree/link"),
            &path(&format!("{back}/followed")),
        ]);
        for (file, text) in [
            ("in", "content\n"),
            ("renamed", "content\n"),
            ("tree/sub/deep", "deep\n"),
            ("merged/link", "deep\n"),
            ("followed", "deep\n"),
        ] {
            assert_eq!(
                fs::read_to_string(here.join(&back).join(file)).unwrap(),
                text,
                "{name} {file}"
            );
        }
        assert_eq!(
            fs::metadata(here.join(&back).join("in")).unwrap().mode() & 0o777,
            0o640
        );
        assert!(here.join(&back).join("merged/link").is_symlink());
        d.fails(1, &["cp", &at("/none"), &path("x")]).says(missing);
        d.fails(1, &["cp", &path("file"), &at("/none/such/")]);
        d.fails(1, &["cp", &path("tree"), &at("/in")]);
    }
    d.ok(&["start", &stopped]);
    d.ok(&["wait", &stopped]);
    assert_eq!(d.ok(&["logs", &stopped]), "content\ndeep");
    d.fails(1, &["cp", &path("file"), "nobody:/x"])
        .says("No such container");
}

#[test]
fn as_a_stream() {
    let Some(d) = Daemon::start() else { return };
    d.sleeper(&["--name", "cc"]);
    d.ok(&["exec", "cc", "sh", "-c", "mkdir /a; echo 1 >/a/b"]);
    let tar = d.docker(&["cp", "cc:/a", "-"]).code(0).bytes;
    let file = d.dir().join("a.tar");
    fs::write(&file, &tar).unwrap();
    let listed = d.inside("tar", &["-tf", &file.display().to_string()]).ok();
    assert_eq!(listed, "a/\na/b");
    d.docker_in(&["cp", "-", "cc:/tmp"], &tar).code(0);
    assert_eq!(d.ok(&["exec", "cc", "cat", "/tmp/a/b"]), "1");
    assert_eq!(
        d.docker_in(&["cp", "-", "cc:/tmp"], b"no tar at all").code,
        1
    );
}

#[test]
fn owners_follow_the_flag() {
    let Some(d) = Daemon::start() else { return };
    d.sleeper(&["--name", "cc"]);
    let file = d.dir().join("owned");
    fs::write(&file, "").unwrap();
    std::os::unix::fs::chown(&file, Some(1234), Some(5678)).unwrap();
    let path = file.display().to_string();
    d.ok(&["cp", &path, "cc:/plain"]);
    d.ok(&["cp", "-a", &path, "cc:/archived"]);
    // Whatever the manual says, they are kept without the flag as well.
    let owners = d.ok(&["exec", "cc", "stat", "-c", "%u:%g", "/plain", "/archived"]);
    assert_eq!(owners, "1234:5678\n1234:5678");
}

#[test]
fn links_do_not_lead_out() {
    let Some(d) = Daemon::start() else { return };
    let secret = d.dir().join("secret");
    fs::write(&secret, "secret\n").unwrap();
    d.sleeper(&["--name", "cc"]);
    let outside = d.dir().display().to_string();
    d.ok(&[
        "exec",
        "cc",
        "sh",
        "-c",
        &format!(
            "ln -s {outside} /out; ln -s ../../../../../../../..{outside} /up; ln -s / /root/top"
        ),
    ]);
    for way in [
        "/out/secret",
        "/up/secret",
        &format!("/root/top{outside}/secret"),
        &format!("/../../../..{outside}/secret"),
    ] {
        let target = d.dir().join("got").display().to_string();
        d.fails(1, &["cp", &format!("cc:{way}"), &target]);
        assert!(!d.dir().join("got").exists(), "{way}");
    }
    d.fails(1, &["cp", &secret.display().to_string(), "cc:/out/planted"]);
    assert!(!d.dir().join("planted").exists());
}

#[test]
fn through_volumes_and_read_only_roots() {
    let Some(d) = Daemon::start() else { return };
    let file = d.dir().join("file");
    fs::write(&file, "x\n").unwrap();
    let path = file.display().to_string();
    d.sleeper(&[
        "--name", "cc", "--read-only", "-v", "vol:/vol", "--tmpfs", "/scratch",
    ]);
    d.ok(&["cp", &path, "cc:/vol/file"]);
    assert_eq!(d.sh(&["-v", "vol:/v"], "cat /v/file"), "x");
    d.fails(1, &["cp", &path, "cc:/file"]).says("read-only");
    d.ok(&["stop", "-t", "0", "cc"]);
    let back = d.dir().join("back").display().to_string();
    d.ok(&["cp", "cc:/vol/file", &back]);
}
