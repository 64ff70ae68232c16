//! What `docker cp` asks for.

use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use coracle_archive::copy::{ExtractOptions, PathStat, extract_into, read, stat};
use coracle_archive::{Error, Limits, Owners, TarReader};

use crate::common::{Place, Raw, Tar, owner, root};

fn tree() -> Place {
    let place = Place::new();
    std::fs::create_dir_all(place.at("etc/conf.d")).unwrap();
    std::fs::write(place.at("etc/passwd"), "root").unwrap();
    std::fs::set_permissions(place.at("etc/passwd"), PermissionsExt::from_mode(0o4640)).unwrap();
    std::fs::write(place.at("etc/conf.d/a"), "a").unwrap();
    symlink("/etc", place.at("link")).unwrap();
    symlink("../../../etc/passwd", place.at("etc/pw")).unwrap();
    symlink("/nowhere/x", place.at("broken")).unwrap();
    place
}

fn look(place: &Place, path: &str) -> Result<PathStat, Error> {
    let root = std::fs::File::open(place.root()).unwrap();
    stat(root.as_fd(), Path::new(path))
}

#[test]
fn stat_as_docker_does() {
    let place = tree();
    let found = look(&place, "/etc/passwd").unwrap();
    assert_eq!((found.name.to_str().unwrap(), found.size), ("passwd", 4));
    assert_eq!(found.mode, (1 << 23) | 0o640);
    assert_eq!(found.link_target, Path::new(""));
    let found = look(&place, "etc").unwrap();
    assert!(found.is_dir());
    // A link isn't followed, but said where it leads; a trailing slash follows it.
    let found = look(&place, "link").unwrap();
    assert_eq!(found.mode & (1 << 27), 1 << 27);
    assert_eq!(found.link_target, Path::new("/etc"));
    assert_eq!(
        look(&place, "etc/pw").unwrap().link_target,
        Path::new("/etc/passwd")
    );
    assert_eq!(
        look(&place, "broken").unwrap().link_target,
        Path::new("/nowhere/x")
    );
    let found = look(&place, "link/").unwrap();
    assert!(found.is_dir() && found.name == "link");
    let found = look(&place, "link/.").unwrap();
    assert!(found.is_dir() && found.name == ".");
    assert_eq!(look(&place, "/").unwrap().name, "/");
    assert_eq!(look(&place, "../../../etc/passwd").unwrap().size, 4);
    assert!(matches!(
        look(&place, "etc/passwd/"),
        Err(Error::NotADirectory { .. })
    ));
    assert!(matches!(
        look(&place, "etc/passwd/x"),
        Err(Error::NotADirectory { .. })
    ));
    assert!(matches!(look(&place, "nope"), Err(Error::NotFound { .. })));
    assert!(matches!(
        look(&place, "broken/x"),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn read_as_docker_does() {
    let place = tree();
    let names = |path: &str| {
        let root = std::fs::File::open(place.root()).unwrap();
        let source = read(root.as_fd(), Path::new(path)).unwrap();
        let mut tar = Vec::new();
        source.write_to(&mut tar).unwrap();
        let mut reader = TarReader::new(&tar[..], Limits::default());
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            names.push(String::from_utf8(entry.path).unwrap());
        }
        names
    };
    assert_eq!(names("etc/passwd"), ["passwd"]);
    assert_eq!(
        names("etc"),
        [
            "etc/",
            "etc/conf.d/",
            "etc/conf.d/a",
            "etc/passwd",
            "etc/pw"
        ]
    );
    assert_eq!(names("etc/conf.d/."), ["./", "./a"]);
    assert_eq!(names("link"), ["link"]);
    assert_eq!(
        names("link/"),
        [
            "link/",
            "link/conf.d/",
            "link/conf.d/a",
            "link/passwd",
            "link/pw"
        ]
    );
    assert_eq!(names("/")[..2], ["/", "/broken"]);
}

fn extract(place: &Place, path: &str, tar: &[u8], strict: bool) -> Result<(), Error> {
    let root = std::fs::File::open(place.root()).unwrap();
    let opts = ExtractOptions {
        limits: Limits::default(),
        owners: Owners::Fixed {
            uid: owner(),
            gid: rustix::process::getegid().as_raw(),
        },
        no_overwrite_dir_non_dir: strict,
        devices: true,
    };
    extract_into(root.as_fd(), Path::new(path), tar, &opts)
}

#[test]
fn extract_as_docker_does() {
    let place = tree();
    let mode = std::fs::metadata(place.at("etc")).unwrap().mode();
    let tar = Tar::default()
        .raw(Raw::new("./", b'5').mode(0o700))
        .file("passwd", "new")
        .raw(Raw::new("conf.d/", b'5').mode(0o700))
        .file("conf.d/b", "b")
        .hardlink("conf.d/c", "conf.d/b")
        .file(".wh.passwd", "just a name")
        .file("new/deep/file", "x")
        .end();
    // The last component may be a link.
    extract(&place, "/link", &tar, true).unwrap();
    assert_eq!(place.read("etc/passwd"), "new");
    assert_eq!(place.read("etc/conf.d/a"), "a");
    assert_eq!(place.read("etc/conf.d/c"), "b");
    assert_eq!(place.read("etc/.wh.passwd"), "just a name");
    assert_eq!(place.read("etc/new/deep/file"), "x");
    assert_eq!(
        std::fs::metadata(place.at("etc/conf.d")).unwrap().mode() & 0o7777,
        0o700
    );
    // The destination itself keeps its mode.
    assert_eq!(std::fs::metadata(place.at("etc")).unwrap().mode(), mode);
    place.check_outside();
}

#[test]
fn types_are_kept_if_asked_for() {
    let place = tree();
    let tar = Tar::default().file("conf.d", "a file").end();
    assert!(matches!(
        extract(&place, "etc", &tar, true),
        Err(Error::DirectoryInTheWay { .. })
    ));
    assert!(place.at("etc/conf.d/a").exists());
    extract(&place, "etc", &tar, false).unwrap();
    assert_eq!(place.read("etc/conf.d"), "a file");
    let tar = Tar::default().dir("passwd").end();
    assert!(matches!(
        extract(&place, "etc", &tar, true),
        Err(Error::NonDirectoryInTheWay { .. })
    ));
    extract(&place, "etc", &tar, false).unwrap();
    assert!(place.at("etc/passwd").is_dir());
}

#[test]
fn bad_destinations() {
    let place = tree();
    let tar = Tar::default().file("x", "x").end();
    assert!(matches!(
        extract(&place, "etc/passwd", &tar, true),
        Err(Error::NotADirectory { .. })
    ));
    assert!(matches!(
        extract(&place, "nope", &tar, true),
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        extract(&place, "broken", &tar, true),
        Err(Error::NotFound { .. })
    ));
    let tar = Tar::default().file("../x", "x").end();
    assert!(matches!(
        extract(&place, "etc", &tar, true),
        Err(Error::Breakout { .. })
    ));
    let tar = Tar::default().hardlink("x", "../passwd").end();
    assert!(matches!(
        extract(&place, "etc/conf.d", &tar, true),
        Err(Error::Breakout { .. })
    ));
    place.check_outside();
}

/// A container that turns directories into links to the host while something is copied into it.
#[test]
fn racing_links_never_lead_out() {
    let place = Place::new();
    std::fs::create_dir_all(place.at("d/real")).unwrap();
    let mut tar = Tar::default();
    for i in 0..20 {
        tar = tar
            .raw(Raw::new(format!("d/real/sub{i}/"), b'5').mode(0o777))
            .file(&format!("d/real/sub{i}/precious"), "evil")
            .raw(Raw::new("d/real/precious", b'0').mode(0o777).data("evil"))
            .raw(Raw::new("d/real/", b'5').mode(0o777));
    }
    let tar = tar.end();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (real, away) = (place.at("d/real"), place.at("d/away"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if std::fs::rename(&real, &away).is_ok() {
                    let _ = symlink(place.outside(), &real);
                    let _ = std::fs::remove_file(&real);
                    let _ = std::fs::rename(&away, &real);
                }
            }
        });
        let start = std::time::Instant::now();
        while start.elapsed() < std::time::Duration::from_secs(1) {
            let _ = extract(&place, "/", &tar, false);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    place.check_outside();
}

#[test]
fn owners_of_the_archive_are_kept_by_default() {
    if !root() {
        return;
    }
    let place = tree();
    let dir = std::fs::File::open(place.root()).unwrap();
    let opts = ExtractOptions {
        limits: Limits::default(),
        owners: Owners::Archived,
        no_overwrite_dir_non_dir: true,
        devices: true,
    };
    let tar = Tar::default()
        .raw(Raw::new("f", b'0').owner(1000, 1001).data("x"))
        .end();
    extract_into(dir.as_fd(), Path::new("/etc"), &tar[..], &opts).unwrap();
    let meta = std::fs::metadata(place.at("etc/f")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1000, 1001));
}
