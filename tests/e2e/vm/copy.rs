//! Files in and out, of containers that run and that don't.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coracle_tests::{Daemon, output};

use super::{Guest, cases, passes, run};

#[test]
fn copies() {
    run(cases![
        copies_while_running, copies_while_stopped, copies_are_the_users
    ]);
}

type Step = fn(&Place);

/// A container to copy to and from, and a directory of the host.
struct Place<'a> {
    d: &'a Daemon,
    id: &'a str,
    dir: PathBuf,
}

impl Place<'_> {
    fn host(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn guest(&self, path: &str) -> String {
        format!("{}:{path}", self.id)
    }

    #[track_caller]
    fn write(&self, name: &str, data: &[u8]) -> String {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, data).unwrap();
        path.display().to_string()
    }

    #[track_caller]
    fn copy(&self, from: &str, to: &str) {
        self.d.ok(&["cp", "-q", from, to]);
    }

    /// A file of the container.
    #[track_caller]
    fn read(&self, path: &str) -> Vec<u8> {
        let back = self.host("back");
        self.copy(&self.guest(path), &back);
        let data = fs::read(&back).unwrap();
        fs::remove_file(back).unwrap();
        data
    }
}

fn all(d: &Daemon, id: &str, kind: &str) {
    let steps: [(&str, Step); 16] = [
        ("container_stat", container_stat),
        ("container_copy_in", copy_in),
        (
            "container_copy_in_file_to_existing_directory", copy_in_to_directory,
        ),
        (
            "container_copy_in_file_to_missing_directory_fails", copy_in_to_nowhere,
        ),
        (
            "container_copy_in_directory_over_existing_file_fails", copy_in_over_file,
        ),
        ("container_copy_out", copy_out),
        ("container_copy_large_file", copy_large_file),
        ("container_copy_in_directory", copy_in_directory),
        ("container_copy_out_directory", copy_out_directory),
        ("container_copy_empty_file", copy_empty_file),
        ("container_copy_empty_directory", copy_empty_directory),
        ("container_copy_binary_file", copy_binary_file),
        ("container_copy_multiple_files", copy_multiple_files),
        ("container_copy_directory_round_trip", copy_round_trip),
        ("container_copy_file_permissions", copy_permissions),
        ("container_copy_large_directory", copy_large_directory),
    ];
    let mut failed = Vec::new();
    for (name, step) in steps {
        let dir = d.dir().join(format!("copy-{kind}/{name}"));
        fs::create_dir_all(&dir).unwrap();
        let place = Place { d, id, dir };
        if !passes(&format!("{name} ({kind})"), || step(&place)) {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn copies_while_running(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    all(d, &guest, "running");
    assert_eq!(guest.exec("cat /in"), "from the host");
}

fn copies_while_stopped(d: &Daemon) {
    let guest = Guest::of(
        d,
        d.ok(&["create", "--network", "none", "busybox", "cat", "/in"]),
    );
    all(d, &guest, "stopped");
    // What was copied is there when it runs.
    assert_eq!(d.ok(&["start", "-a", &guest]), "from the host");
    let place = Place {
        d,
        id: &guest,
        dir: d.dir().join("copy-stopped"),
    };
    assert_eq!(place.read("/in"), b"from the host");
}

/// With `-a` what is copied belongs to the container's user, as with dockerd.
fn copies_are_the_users(d: &Daemon) {
    let guest = Guest::new(d, &["--user", "1234:5678"]);
    let file = d.dir().join("users");
    fs::write(&file, "x").unwrap();
    let path = file.display().to_string();
    d.ok(&["cp", "-q", "-a", &path, &format!("{}:/tmp/users", &*guest)]);
    assert_eq!(guest.exec("stat -c %u:%g /tmp/users"), "1234:5678");
}

fn container_stat(p: &Place) {
    let reply = p.d.api(
        "HEAD",
        &format!("/containers/{}/archive?path=/etc/passwd", p.id),
        None,
    );
    assert_eq!(reply.status, 200);
    let none = p.d.api(
        "HEAD",
        &format!("/containers/{}/archive?path=/none", p.id),
        None,
    );
    assert_eq!(none.status, 404);
}

fn copy_in(p: &Place) {
    let file = p.write("file", b"from the host");
    p.copy(&file, &p.guest("/in"));
    assert_eq!(p.read("/in"), b"from the host");
}

fn copy_in_to_directory(p: &Place) {
    let file = p.write("named", b"x");
    p.copy(&file, &p.guest("/tmp"));
    assert_eq!(p.read("/tmp/named"), b"x");
}

/// Docker's `cp` makes no directories on the way.
fn copy_in_to_nowhere(p: &Place) {
    let file = p.write("file", b"x");
    p.d.fails(1, &["cp", &file, &p.guest("/missing/deep/file")]);
    p.d.fails(1, &["cp", &file, &p.guest("/missing/")]);
}

fn copy_in_over_file(p: &Place) {
    p.write("dir/file", b"x");
    p.d.fails(1, &["cp", &p.host("dir"), &p.guest("/etc/passwd")]);
}

fn copy_out(p: &Place) {
    let text = String::from_utf8(p.read("/etc/passwd")).unwrap();
    assert!(text.starts_with("root:x:0:0"), "{text}");
    p.d.fails(1, &["cp", &p.guest("/none"), &p.host("none")]);
}

fn copy_large_file(p: &Place) {
    let data: Vec<u8> = (0..8_u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let file = p.write("large", &data);
    p.copy(&file, &p.guest("/large"));
    assert!(p.read("/large") == data);
}

fn copy_in_directory(p: &Place) {
    p.write("dir/one", b"1");
    p.write("dir/deep/two", b"2");
    p.copy(&p.host("dir"), &p.guest("/dir"));
    assert_eq!(p.read("/dir/deep/two"), b"2");
    // What is there already gets it inside.
    p.copy(&p.host("dir"), &p.guest("/dir"));
    assert_eq!(p.read("/dir/dir/one"), b"1");
}

fn copy_out_directory(p: &Place) {
    p.copy(&p.guest("/etc"), &p.host("etc"));
    for name in ["passwd", "group", "shadow"] {
        assert!(p.dir.join("etc").join(name).exists(), "{name}");
    }
}

fn copy_empty_file(p: &Place) {
    let file = p.write("empty", b"");
    p.copy(&file, &p.guest("/empty"));
    assert_eq!(p.read("/empty"), b"");
}

fn copy_empty_directory(p: &Place) {
    fs::create_dir(p.dir.join("void")).unwrap();
    p.copy(&p.host("void"), &p.guest("/void"));
    p.copy(&p.guest("/void"), &p.host("again"));
    assert_eq!(fs::read_dir(p.dir.join("again")).unwrap().count(), 0);
}

fn copy_binary_file(p: &Place) {
    let data: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let file = p.write("binary", &data);
    p.copy(&file, &p.guest("/binary"));
    assert!(p.read("/binary") == data);
}

fn copy_multiple_files(p: &Place) {
    for number in 0..5 {
        let file = p.write(&format!("f{number}"), number.to_string().as_bytes());
        p.copy(&file, &p.guest("/var/"));
    }
    for number in 0..5 {
        assert_eq!(
            p.read(&format!("/var/f{number}")),
            number.to_string().as_bytes()
        );
    }
}

fn copy_round_trip(p: &Place) {
    p.write("trip/a", b"a");
    p.write("trip/b/c", b"c");
    std::os::unix::fs::symlink("a", p.dir.join("trip/link")).unwrap();
    p.copy(&p.host("trip"), &p.guest("/trip"));
    p.copy(&p.guest("/trip"), &p.host("back"));
    let same = output::run(
        std::process::Command::new("diff").args([
            "-r",
            "--no-dereference",
            &p.host("trip"),
            &p.host("back"),
        ]),
        b"",
    );
    same.ok();
}

fn copy_permissions(p: &Place) {
    let file = p.write("mode", b"x");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).unwrap();
    p.copy(&file, &p.guest("/mode"));
    p.copy(&p.guest("/mode"), &p.host("back"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&p.dir.join("back")), 0o751);
}

fn copy_large_directory(p: &Place) {
    for number in 0..300 {
        p.write(&format!("many/{}/{number}", number % 7), b"x");
    }
    p.copy(&p.host("many"), &p.guest("/many"));
    p.copy(&p.guest("/many"), &p.host("back"));
    let count = |number: u32| {
        fs::read_dir(p.dir.join(format!("back/{number}")))
            .unwrap()
            .count()
    };
    assert_eq!((0..7).map(count).sum::<usize>(), 300);
}
