//! Images' disks, made and removed.

use super::*;

fn open(root: &Path) -> Disks {
    let store = Store::open(root.join("content")).unwrap();
    Disks::open(root, store).unwrap()
}

/// An image of one layer with this in a file.
fn image(disks: &Disks, data: &[u8]) -> Image {
    let mut tar = coracle_archive::TarWriter::new(Vec::new());
    let entry = coracle_archive::Entry {
        path: b"file".to_vec(),
        mode: 0o644,
        size: data.len() as u64,
        ..Default::default()
    };
    tar.entry(&entry).unwrap();
    tar.data(data).unwrap();
    let tar = tar.finish().unwrap();
    let store = &disks.inner.store;
    let made = store.import(&tar[..], coracle_store::Import::default(), None);
    store.image_by_id(&made.unwrap().id).unwrap()
}

fn files(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("disks")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(UNSYNCED)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let disks = open(dir.path());
    let image = image(&disks, &vec![7; 3 << 20]);
    let (one, two) = tokio::join!(disks.root_image(&image), disks.root_image(&image));
    let path = one.unwrap();
    assert_eq!(path, two.unwrap());
    assert_eq!(disks.inner.next.load(Ordering::Relaxed), 1);
    assert!(lock(&disks.inner.busy).is_empty());
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes[1024..1028], 0xe0f5_e1e2_u32.to_le_bytes());
    assert_eq!(disks.usage(), bytes.len() as u64);
    assert_eq!(disks.remove(&image.chain_id().unwrap()), bytes.len() as u64);
    assert_eq!(files(dir.path()), Vec::<String>::new());
    // The same bytes the next time.
    disks.root_image(&image).await.unwrap();
    assert!(fs::read(&path).unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disks = open(dir.path());
    let image = image(&disks, &[7; 3000]);
    let digest = &image.layers()[0].descriptor.digest;
    let blob = dir.path().join("content/blobs/sha256").join(digest.hex());
    let mut bytes = fs::read(&blob).unwrap();
    bytes[600] ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let error = disks.root_image(&image).await.unwrap_err();
    assert!(error.to_string().contains("digest"), "{error}");
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_waited_for_stops() {
    let dir = tempfile::tempdir().unwrap();
    let disks = open(dir.path());
    let image = image(&disks, &vec![7; 8 << 20]);
    for _ in 0..5 {
        let asked = disks.root_image(&image);
        let soon = std::time::Duration::from_micros(300);
        let _ = tokio::time::timeout(soon, asked).await;
    }
    let path = disks.root_image(&image).await.unwrap();
    assert!(fs::metadata(path).unwrap().len() > 8 << 20);
    // What was stopped has been removed, or is about to be.
    for _ in 0..500 {
        if files(dir.path()).len() == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{:?}", files(dir.path()));
}

#[test]
fn what_a_crash_left_goes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("disks");
    drop(open(dir.path()));
    let [lost, whole] = ["a", "b"].map(|text| Digest::sha256(text.as_bytes()));
    for id in [&lost, &whole] {
        fs::write(root.join(format!("{}.erofs", name(Some(id)))), "image").unwrap();
    }
    fs::write(
        root.join(format!("{}.unsynced", name(Some(&lost)))),
        "other",
    )
    .unwrap();
    fs::write(root.join(".x.7"), "half").unwrap();
    let disks = open(dir.path());
    assert_eq!(disks.usage(), 5);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    disks.retain(&|id| id == whole.as_ref());
    assert_eq!(disks.remove(&lost), 0);
    assert_eq!(disks.remove(&whole), 5);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn uuids_are_well_formed() {
    let id = Digest::sha256(b"x");
    assert_eq!(uuid(Some(&id)), uuid(Some(&id)));
    assert_ne!(random_uuid(), random_uuid());
    assert_eq!(uuid(None)[6], 0x80);
    assert_eq!(random_uuid()[6] >> 4, 4);
}

#[tokio::test]
async fn a_layer_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.ext4");
    assert!(new_layer(&path, 1).await.is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    new_layer(&path, 1 << 30).await.unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    new_layer(&path, 1 << 30).await.unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.len(), meta.modified().unwrap()), (1 << 30, before));
}
