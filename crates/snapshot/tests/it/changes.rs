//! `docker diff`.

use std::os::unix::fs::PermissionsExt;

use coracle_archive::Kind;
use coracle_snapshot::{ChangeKind, ContainerFs, changes};

use crate::common::{Image, Place, Tar, mounted, root};

fn image() -> Image {
    Image::new(vec![
        Tar::new()
            .dir("etc")
            .file("etc/passwd", "root")
            .dir("etc/conf.d")
            .file("etc/conf.d/a", "a")
            .file("etc/conf.d/b", "b")
            .dir("var")
            .dir("var/log")
            .file("var/log/old", "x")
            .file("file", "x")
            .link("link", "file", Kind::Symlink)
            .file("gone-above", "x")
            .end(),
        Tar::new()
            .file("var/log/new", "y")
            .file(".wh.gone-above", "")
            .end(),
    ])
}

fn run(act: impl FnOnce(&crate::common::Mounted)) -> Vec<String> {
    let place = Place::new();
    let image = image();
    image.prepare(&place.snapshots);
    let fs = place.snapshots.create_container("c", &image.chain).unwrap();
    let m = mounted(&fs);
    act(&m);
    drop(m);
    lines(&fs)
}

fn lines(fs: &ContainerFs) -> Vec<String> {
    let letter = |kind| match kind {
        ChangeKind::Modified => "C",
        ChangeKind::Added => "A",
        ChangeKind::Deleted => "D",
    };
    let all = changes(fs).unwrap();
    all.iter()
        .map(|c| format!("{} {}", letter(c.kind), c.path.display()))
        .collect()
}

#[test]
fn nothing_at_first() {
    if !root() {
        return;
    }
    assert!(run(|_| {}).is_empty());
}

#[test]
fn additions_changes_and_deletions() {
    if !root() {
        return;
    }
    let found = run(|m| {
        m.write("etc/passwd", "root, and more");
        std::fs::create_dir_all(m.at("opt/app/bin")).unwrap();
        m.write("opt/app/bin/x", "x");
        std::fs::remove_file(m.at("var/log/old")).unwrap();
        std::fs::remove_file(m.at("file")).unwrap();
        m.write("new", "n");
        m.write("temporary", "t");
        std::fs::remove_file(m.at("temporary")).unwrap();
        m.write("gone-above", "back again");
    });
    assert_eq!(
        found,
        [
            "C /etc",
            "C /etc/passwd",
            "D /file",
            "A /gone-above",
            "A /new",
            "A /opt",
            "A /opt/app",
            "A /opt/app/bin",
            "A /opt/app/bin/x",
            "C /var",
            "C /var/log",
            "D /var/log/old",
        ]
    );
}

#[test]
fn a_deleted_directory_is_one_line() {
    if !root() {
        return;
    }
    let found = run(|m| std::fs::remove_dir_all(m.at("etc/conf.d")).unwrap());
    assert_eq!(found, ["C /etc", "D /etc/conf.d"]);
}

#[test]
fn a_directory_made_anew_lost_its_children() {
    if !root() {
        return;
    }
    let found = run(|m| {
        std::fs::remove_dir_all(m.at("etc/conf.d")).unwrap();
        std::fs::create_dir(m.at("etc/conf.d")).unwrap();
        m.write("etc/conf.d/b", "another b");
        m.write("etc/conf.d/c", "c");
    });
    assert_eq!(
        found,
        [
            "C /etc",
            "C /etc/conf.d",
            "D /etc/conf.d/a",
            "C /etc/conf.d/b",
            "A /etc/conf.d/c"
        ]
    );
}

#[test]
fn kinds_that_change() {
    if !root() {
        return;
    }
    let found = run(|m| {
        std::fs::remove_file(m.at("file")).unwrap();
        std::fs::create_dir(m.at("file")).unwrap();
        m.write("file/inside", "x");
        std::fs::remove_dir_all(m.at("var/log")).unwrap();
        m.write("var/log", "a file");
        std::fs::remove_file(m.at("link")).unwrap();
        std::os::unix::fs::symlink("other", m.at("link")).unwrap();
    });
    assert_eq!(
        found,
        [
            "C /file",
            "A /file/inside",
            "C /link",
            "C /var",
            "C /var/log"
        ]
    );
}

#[test]
fn attributes_count_but_not_directory_times() {
    if !root() {
        return;
    }
    let found = run(|m| {
        std::fs::set_permissions(m.at("etc/conf.d"), PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(m.at("etc/passwd"), Some(5), None).unwrap();
        let now = std::time::SystemTime::now();
        std::fs::File::open(m.at("var"))
            .unwrap()
            .set_modified(now)
            .unwrap();
        // Copied up, and put back as it was.
        let file = std::fs::File::options()
            .append(true)
            .open(m.at("var/log/old"))
            .unwrap();
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_modified(then).unwrap();
    });
    assert_eq!(found, ["C /etc", "C /etc/conf.d", "C /etc/passwd"]);
}

#[test]
fn names_with_anything_in_them() {
    if !root() {
        return;
    }
    let found = run(|m| {
        m.write("a\nb", "x");
        m.write(".wh.fake", "x");
        std::fs::rename(m.at("etc/passwd"), m.at("etc/moved")).unwrap();
    });
    assert_eq!(
        found,
        [
            "A /.wh.fake",
            "A /a\nb",
            "C /etc",
            "A /etc/moved",
            "D /etc/passwd"
        ]
    );
}
