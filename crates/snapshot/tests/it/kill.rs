//! A process that is killed at any moment leaves whole layers and containers, or none.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use coracle_archive::Kind;
use coracle_snapshot::{Options, Snapshots, mount_detached};

use crate::common::{Image, Mounted, Tar, gzip, root};

/// Tells the test below that it is the one to be killed, and where to work.
const VICTIM: &str = "CORACLE_TEST_VICTIM";

fn image() -> Image {
    let layer = |n: usize| {
        let mut tar = Tar::new().dir(&format!("layer{n}"));
        for i in 0..100 {
            tar = tar.file(&format!("layer{n}/file{i}"), &format!("{n}-{i}"));
        }
        if n > 0 {
            tar = tar.link(&format!("linked{n}"), "layer0/file7", Kind::HardLink);
        }
        tar.end()
    };
    Image::new((0..4).map(layer).collect())
}

/// Works until somebody puts an end to it.
fn victim(dir: &Path) {
    let image = image();
    let packed: Vec<Vec<u8>> = image.tars.iter().map(|tar| gzip(tar)).collect();
    let snapshots = Snapshots::open(dir, Options::default()).unwrap();
    for round in 0.. {
        std::thread::scope(|scope| {
            for n in (0..packed.len()).rev() {
                let (snapshots, image, packed) = (&snapshots, &image, &packed);
                scope.spawn(move || {
                    let (chain, diff) = (&image.chain[n], &image.diffs[n]);
                    snapshots
                        .prepare_layer(chain, image.parent(n), diff, &packed[n][..])
                        .unwrap();
                });
            }
        });
        let id = format!("c{round}");
        let fs = snapshots.create_container(&id, &image.chain).unwrap();
        let m = Mounted(mount_detached(&fs, false).unwrap());
        m.write("layer1/file1", "changed");
        drop(m);
        snapshots.remove_container(&id).unwrap();
        for chain in &image.chain {
            snapshots.remove_layer(chain).unwrap();
        }
    }
}

#[test]
fn killed_at_any_moment() {
    if let Some(dir) = std::env::var_os(VICTIM) {
        return victim(Path::new(&dir));
    }
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image();
    let mut whole = 0;
    for round in 0..20u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::killed_at_any_moment"])
            .env(VICTIM, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Primes, so that the moments spread.
        std::thread::sleep(Duration::from_millis(20 + round * 37 % 113));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it died by itself");
        let snapshots = Snapshots::open(dir.path(), Options::default()).unwrap();
        snapshots.wait_idle();
        for place in ["ingest", "trash"] {
            let left = std::fs::read_dir(dir.path().join(place)).unwrap().count();
            assert_eq!(left, 0, "{place} after round {round}");
        }
        for layer in snapshots.layers() {
            whole += 1;
            let n = image
                .chain
                .iter()
                .position(|id| *id == layer.chain_id)
                .unwrap();
            let fs = dir
                .path()
                .join(format!("layers/sha256-{}/fs", layer.chain_id.hex()));
            for i in 0..100 {
                let path = fs.join(format!("layer{n}/file{i}"));
                assert_eq!(std::fs::read_to_string(path).unwrap(), format!("{n}-{i}"));
            }
        }
        // A container is there entirely, unless its layers were being removed already.
        for id in snapshots.containers().unwrap() {
            assert!(snapshots.usage(&id).is_ok(), "{id}");
            snapshots.remove_container(&id).unwrap();
        }
        image.prepare(&snapshots);
        let fs = snapshots.create_container("after", &image.chain).unwrap();
        let m = Mounted(mount_detached(&fs, true).unwrap());
        assert_eq!(
            (m.read("linked3"), m.read("layer2/file5")),
            ("0-7".into(), "2-5".into())
        );
        drop(m);
        snapshots.remove_container("after").unwrap();
        if round % 2 == 0 {
            for chain in &image.chain {
                snapshots.remove_layer(chain).unwrap();
            }
        }
        snapshots.wait_idle();
    }
    assert!(whole > 0, "always killed too early to tell anything");
}
