//! SIGKILL at any moment: what was there is whole, what was not is gone.

use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_store::Origin;
use coracle_store::Store;

use crate::common::put_image;
use crate::common::reference;

const VICTIM: &str = "CORACLE_STORE_TEST_VICTIM";
const ROUNDS: u64 = 20;
/// Rounds at the most, where a busy host keeps the victim from doing anything in the usual ones.
const MOST_ROUNDS: u64 = 7 * ROUNDS;

/// Not a test of its own: what the other one kills.
#[test]
fn victim() {
    let Ok(root) = std::env::var(VICTIM) else {
        return;
    };
    let store = Store::open(root).unwrap();
    for round in 0u64.. {
        let lease = store.lease();
        let own = format!("{} {round}", std::process::id());
        let target = put_image(&store, &lease, &["shared", &own], "linux/amd64");
        let name = reference(&format!("image:{}", round % 5));
        store
            .set_image(Some(&name), &target, None, Origin::Registry)
            .unwrap();
        store
            .tag(
                &format!("image:{}", round % 5),
                &reference(&format!("tag:{round}")),
            )
            .unwrap();
        let expected = Descriptor::of("text/plain", own.as_bytes());
        store
            .resume(&lease, &expected)
            .unwrap()
            .write(&own.as_bytes()[..3])
            .unwrap();
        drop(lease);
        store
            .prune(round % 7 == 0, &|_| true, &|_| Vec::new())
            .unwrap();
        store.gc(&Vec::new).unwrap();
    }
}

#[test]
fn killed_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let mut images = 0;
    for round in 0..MOST_ROUNDS {
        if round >= ROUNDS && images > 0 {
            break;
        }
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::victim"])
            .env(VICTIM, &root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over a few of its rounds; over more and more of them until something was done.
        let spread = 180 << (round / ROUNDS);
        std::thread::sleep(Duration::from_millis(20 + round * 37 % spread));
        assert!(
            victim.try_wait().unwrap().is_none(),
            "the victim failed by itself"
        );
        victim.kill().unwrap();
        victim.wait().unwrap();
        images += check(&root);
    }
    assert!(images > 0, "nothing had ever been done");
}

/// Returns how many images there are.
fn check(root: &std::path::Path) -> usize {
    let store = Store::open(root).unwrap();
    let images = store.images();
    for image in &images {
        assert!(store.is_complete(&image.descriptor).unwrap());
        for name in &image.references {
            assert!(store.is_complete(&store.target(name).unwrap()).unwrap());
        }
    }
    for entry in std::fs::read_dir(root.join("ingest")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with("sha256-"), "{name}");
    }
    for entry in std::fs::read_dir(root.join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        assert_eq!(
            Digest::sha256(&bytes).hex(),
            entry.file_name().to_str().unwrap()
        );
    }
    // No index was set aside: collecting works.
    store.gc(&Vec::new).unwrap();
    images.len()
}
