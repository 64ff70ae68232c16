//! Everything once more as root of a user namespace only, as the rootless daemon is.

use std::process::Command;

use coracle_archive::{Kind, OverlayAttrs};
use coracle_snapshot::{Options, Snapshots, changes, diff_tar, mount_detached};

use crate::common::{Image, Mounted, Tar, mounted, root};

/// Says to the test below that it runs in the namespace.
const INSIDE: &str = "CORACLE_TEST_USER_NAMESPACE";

#[test]
fn in_a_user_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if !root() {
        return;
    }
    // Not root outside either, so that nothing works by accident.
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
    let exe = std::env::current_exe().unwrap();
    let copy = dir.path().join("test");
    std::fs::copy(exe, &copy).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["unshare", "--user", "--map-root-user", "--mount"])
        .arg(&copy)
        .args(["--exact", "rootless::in_a_user_namespace", "--nocapture"])
        .env(INSIDE, dir.path())
        .env("TMPDIR", dir.path())
        .output();
    match output {
        Err(_) => println!("skipped: needs setpriv and unshare"),
        Ok(output) => {
            let text =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            if text.contains("unshare failed") || text.contains("unshare: ") {
                println!("skipped: no user namespaces for users here");
                return;
            }
            assert!(
                output.status.success() && text.contains("ran inside"),
                "{text}"
            );
        }
    }
}

fn inside() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        rootless: true,
        ..Options::default()
    };
    let snapshots = Snapshots::open(dir.path(), options).unwrap();
    let device = coracle_archive::Entry {
        path: b"null".to_vec(),
        kind: Kind::CharDevice,
        device: (1, 3),
        mode: 0o666,
        ..Default::default()
    };
    let image = Image::new(vec![
        Tar::new()
            .entry(device, b"")
            .file("gone", "x")
            .dir("opq")
            .file("opq/old", "x")
            .dir("d")
            .file("d/a", "x")
            .end(),
        Tar::new()
            .file(".wh.gone", "")
            .file("opq/.wh..wh..opq", "")
            .file("opq/new", "y")
            .end(),
    ]);
    image.prepare(&snapshots);
    let fs = snapshots.create_container("c", &image.chain).unwrap();
    assert_eq!(fs.attrs, OverlayAttrs::User);
    let m = mounted(&fs);
    assert!(!m.at("gone").exists() && !m.at("opq/old").exists() && !m.at("null").exists());
    assert_eq!(m.read("opq/new"), "y");
    std::fs::remove_dir_all(m.at("d")).unwrap();
    std::fs::create_dir(m.at("d")).unwrap();
    m.write("d/b", "new");
    std::fs::remove_file(m.at("opq/new")).unwrap();
    drop(m);
    let found: Vec<String> = changes(&fs)
        .unwrap()
        .iter()
        .map(|c| format!("{:?} {}", c.kind, c.path.display()))
        .collect();
    assert_eq!(
        found,
        [
            "Modified /d",
            "Deleted /d/a",
            "Added /d/b",
            "Modified /opq",
            "Deleted /opq/new"
        ]
    );
    let mut tar = Vec::new();
    diff_tar(&fs, &mut tar).unwrap();
    let text = String::from_utf8_lossy(&tar);
    assert!(text.contains("opq/.wh.new") && text.contains("d/.wh..wh..opq"));
    let m = Mounted(mount_detached(&fs, true).unwrap());
    assert_eq!(m.read("d/b"), "new");
    drop(m);
    snapshots.remove_container("c").unwrap();
    snapshots.wait_idle();
    println!("ran inside");
}
