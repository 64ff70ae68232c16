use std::os::unix::fs::symlink;

use super::*;

fn named(name: &str) -> VolumeSpec {
    VolumeSpec {
        name: name.into(),
        ..Default::default()
    }
}

fn names(volumes: &Volumes) -> Vec<String> {
    volumes
        .list()
        .into_iter()
        .map(|volume| volume.name)
        .collect()
}

#[test]
fn a_volume_of_a_container_that_is_being_created_stays() {
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::default();
    let volumes = Volumes::open(dir.path()).unwrap();
    let (_, new, hold) = volumes.create_for("c1", named("data")).unwrap();
    assert!(new);
    let second = volumes.hold("c2", "data").unwrap();
    for hold in [hold, second] {
        let refused = volumes.remove(&containers, "data", true).unwrap_err();
        let wanted = format!("volume is in use - [{}", hold.container);
        assert!(refused.to_string().contains(&wanted), "{refused}");
    }
    assert!(volumes.remove(&containers, "data", false).unwrap());
    assert!(volumes.hold("c2", "data").is_err());
    assert!(!volumes.remove(&containers, "data", true).unwrap());
    // Its own hold is no obstacle for a creation that is undone.
    let (volume, _, _hold) = volumes.create_for("c1", named("")).unwrap();
    volumes.remove_unused(&containers, &volume.name, "c1");
    assert!(names(&volumes).is_empty());
    assert_eq!(fs::read_dir(dir.path().join("volumes")).unwrap().count(), 0);
}

#[test]
fn anonymous_volumes_go_with_their_container_even_late() {
    let dir = tempfile::tempdir().unwrap();
    let containers = Containers::default();
    let volumes = Volumes::open(dir.path()).unwrap();
    let make = |container: &str| {
        let (volume, _, _) = volumes.create_for(container, named("")).unwrap();
        volume.name
    };
    let (cut_short, kept) = (make("cut"), make("kept"));
    volumes.create_for("cut", named("named")).unwrap();
    let (own, _) = volumes.create(named("")).unwrap();
    let mount = MountRecord {
        anonymous: true,
        point: coracle_runtime::container::MountPoint {
            name: kept.clone(),
            ..Default::default()
        },
        ..Default::default()
    };
    volumes.disown([&mount]).unwrap();
    drop(volumes);
    fs::create_dir(dir.path().join("volumes/.removed")).unwrap();
    fs::create_dir(dir.path().join("volumes/unfinished")).unwrap();

    let dirs = |id: &str| Dirs::new(dir.path(), dir.path(), id);
    let volumes = Volumes::open(dir.path()).unwrap();
    // A container that can't be read may be the volume's.
    fs::create_dir_all(dirs("unreadable").root).unwrap();
    let config = dirs("unreadable").root.join("config.json");
    fs::write(&config, "garbage").unwrap();
    volumes.clear_away(&containers, dirs);
    assert!(names(&volumes).contains(&cut_short));
    fs::remove_file(config).unwrap();
    volumes.clear_away(&containers, dirs);
    let mut wanted = vec!["named".to_owned(), own.name, kept];
    wanted.sort();
    assert_eq!(names(&volumes), wanted);
    assert_eq!(fs::read_dir(dir.path().join("volumes")).unwrap().count(), 3);
}

#[test]
fn files_of_an_earlier_version_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let volume = dir.path().join("volumes/old");
    fs::create_dir_all(volume.join(DATA)).unwrap();
    let text = r#"{"version":1,"created":"2024-01-01T00:00:00Z","labels":{},"options":{},
        "anonymous":true}"#;
    fs::write(volume.join(FILE), text).unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    volumes.clear_away(&Containers::default(), |id| {
        Dirs::new(dir.path(), dir.path(), id)
    });
    assert_eq!(names(&volumes), ["old"]);
}

#[test]
fn no_link_leads_out_of_a_volume() {
    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::open(dir.path()).unwrap();
    volumes.create(named("data")).unwrap();
    let data = volumes.directory("data").unwrap();
    fs::create_dir_all(data.join("a/b")).unwrap();
    symlink("a/b", data.join("inside")).unwrap();
    symlink("/etc", data.join("absolute")).unwrap();
    symlink("../../..", data.join("a/up")).unwrap();
    for good in ["", "a/b", "inside", "a/../inside", "."] {
        volumes.open_part("data", good).unwrap();
    }
    for bad in ["absolute", "a/up", "..", "a/up/etc", "/etc", "a/../.."] {
        let error = volumes.open_part("data", bad).unwrap_err().to_string();
        assert!(error.contains("leads out of the volume"), "{bad}: {error}");
    }
    let error = volumes.open_part("data", "none").unwrap_err().to_string();
    assert!(error.contains("cannot access path \"none\""), "{error}");
    assert!(is_local("a/../b/.") && is_local(""));
    assert!(!is_local("a/../../b") && !is_local("/a") && !is_local(".."));
}
