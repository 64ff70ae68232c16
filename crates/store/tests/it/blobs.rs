//! Content in and out, crashes, resumed downloads.

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::VerifyError;
use coracle_store::ErrorKind;
use coracle_store::Store;
use coracle_store::StoreError;

use crate::common::Fixture;

#[test]
fn what_goes_in_comes_out() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let descriptor = f.store.put_bytes(&lease, "text/plain", b"hello").unwrap();
    assert_eq!(f.store.read_small(&descriptor.digest, 5).unwrap(), b"hello");
    assert!(matches!(
        f.store.read_small(&descriptor.digest, 4),
        Err(StoreError::TooLarge {
            size: 5,
            limit: 4,
            ..
        })
    ));
    let none = Digest::sha256(b"none");
    assert_eq!(f.store.blob(&none).unwrap(), None);
    let error = f.store.open_blob(&none).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    // Again is fine, and so is another algorithm.
    f.store.put_bytes(&lease, "text/plain", b"hello").unwrap();
    let sha512 = Digest::of(coracle_oci::Algorithm::Sha512, b"hello");
    let mut ingest = f
        .store
        .ingest(
            &lease,
            Some(&Descriptor::new("text/plain", sha512.clone(), 5)),
        )
        .unwrap();
    ingest.write(b"hello").unwrap();
    ingest.commit().unwrap();
    assert_eq!(f.store.read_small(&sha512, 5).unwrap(), b"hello");
    assert!(f.files("ingest").is_empty());
}

#[test]
fn lies_are_refused_and_leave_nothing() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let expected = Descriptor::of("text/plain", b"hello");

    let mut long = f.store.ingest(&lease, Some(&expected)).unwrap();
    long.write(b"hello").unwrap();
    let error = long.write(b"!").unwrap_err();
    assert!(matches!(
        error,
        StoreError::Verify(VerifyError::TooLong { .. })
    ));
    drop(long);

    let mut short = f.store.ingest(&lease, Some(&expected)).unwrap();
    short.write(b"hell").unwrap();
    let error = short.commit().unwrap_err();
    assert!(matches!(
        error,
        StoreError::Verify(VerifyError::TooShort { .. })
    ));

    let mut other = f.store.ingest(&lease, Some(&expected)).unwrap();
    other.write(b"jello").unwrap();
    let error = other.commit().unwrap_err();
    assert!(matches!(
        error,
        StoreError::Verify(VerifyError::Digest { .. })
    ));
    assert_eq!(error.kind(), ErrorKind::Invalid);

    assert_eq!(f.store.blob(&expected.digest).unwrap(), None);
    assert!(f.files("ingest").is_empty());
    assert!(f.files("blobs/sha256").is_empty());
}

#[test]
fn damage_is_noticed() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let descriptor = f.store.put_bytes(&lease, "text/plain", b"hello").unwrap();
    let path = f.store.blob(&descriptor.digest).unwrap().unwrap().path;
    std::fs::write(path, b"jello").unwrap();
    assert!(matches!(
        f.store.read_small(&descriptor.digest, 10),
        Err(StoreError::Damaged(_))
    ));
}

#[test]
fn a_crash_leaves_only_stage_files_which_the_next_open_removes() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let expected = Descriptor::of("text/plain", b"hello world");
    let mut fresh = f.store.ingest(&lease, None).unwrap();
    fresh.write(b"gone").unwrap();
    let mut partial = f.store.resume(&lease, &expected).unwrap();
    partial.write(b"hello ").unwrap();
    // A crash runs no destructors; the kernel lets go of the locks.
    let root = f.store.root().to_owned();
    let staged = f.files("ingest");
    assert_eq!(staged.len(), 2);
    let copy = f.dir.path().join("copy");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .args([&root, &copy])
        .status()
        .unwrap();
    assert!(status.success());

    let store = Store::open(&copy).unwrap();
    let names: Vec<_> = std::fs::read_dir(copy.join("ingest")).unwrap().collect();
    assert_eq!(
        names.len(),
        1,
        "only the download that can be resumed is left"
    );
    let lease = store.lease();
    let mut partial = store.resume(&lease, &expected).unwrap();
    assert_eq!(partial.offset(), 6);
    partial.write(b"world").unwrap();
    partial.commit().unwrap();
    assert_eq!(
        store.read_small(&expected.digest, 100).unwrap(),
        b"hello world"
    );
    assert_eq!(std::fs::read_dir(copy.join("ingest")).unwrap().count(), 0);
}

#[test]
fn downloads_are_resumed() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let expected = Descriptor::of("text/plain", b"hello world");

    let mut first = f.store.resume(&lease, &expected).unwrap();
    assert_eq!(first.offset(), 0);
    first.write(b"hello").unwrap();
    let busy = f.store.resume(&lease, &expected).err().unwrap();
    assert!(matches!(busy, StoreError::Busy(_)));
    drop(first);

    let f = f.reopen();
    let lease = f.store.lease();
    let mut second = f.store.resume(&lease, &expected).unwrap();
    assert_eq!(second.offset(), 5);
    second.write(b" wor").unwrap();
    // Too short is kept: the connection broke.
    second.commit().unwrap_err();
    let mut third = f.store.resume(&lease, &expected).unwrap();
    assert_eq!(third.offset(), 9);
    third.restart().unwrap();
    assert_eq!(third.offset(), 0);
    third.write(b"hello world").unwrap();
    third.commit().unwrap();
    assert!(f.store.blob(&expected.digest).unwrap().is_some());
    assert!(f.files("ingest").is_empty());
}

#[test]
fn a_spoilt_download_starts_anew() {
    let f = Fixture::new();
    let lease = f.store.lease();
    let expected = Descriptor::of("text/plain", b"hello world");
    let mut first = f.store.resume(&lease, &expected).unwrap();
    first.write(b"jello").unwrap();
    drop(first);
    let mut second = f.store.resume(&lease, &expected).unwrap();
    second.write(b" world").unwrap();
    let error = second.commit().unwrap_err();
    assert!(matches!(
        error,
        StoreError::Verify(VerifyError::Digest { .. })
    ));
    assert_eq!(f.store.resume(&lease, &expected).unwrap().offset(), 0);
    // Nothing but an empty file was there, and that is gone too.
    assert!(f.files("ingest").is_empty());

    // Longer than it can be.
    let name = format!("sha256-{}", expected.digest.hex());
    std::fs::write(
        f.store.root().join("ingest").join(name),
        b"hello world and more",
    )
    .unwrap();
    assert_eq!(f.store.resume(&lease, &expected).unwrap().offset(), 0);
}

#[test]
fn the_same_content_from_many_threads() {
    let f = Fixture::new();
    let bytes = vec![7u8; 100_000];
    let expected = Descriptor::of("text/plain", &bytes);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (store, bytes, expected) = (&f.store, &bytes, &expected);
            scope.spawn(move || {
                let lease = store.lease();
                let ingest = match number % 2 {
                    0 => store.resume(&lease, expected),
                    _ => store.ingest(&lease, Some(expected)),
                };
                let mut ingest = match ingest {
                    Err(StoreError::Busy(_)) => return,
                    other => other.unwrap(),
                };
                let from = usize::try_from(ingest.offset()).unwrap();
                for chunk in bytes[from..].chunks(1000) {
                    ingest.write(chunk).unwrap();
                }
                ingest.commit().unwrap();
            });
        }
    });
    assert_eq!(
        f.store.read_small(&expected.digest, 1 << 20).unwrap(),
        bytes
    );
    assert!(f.files("ingest").is_empty());
}

#[test]
fn one_process_at_a_time() {
    let f = Fixture::new();
    let error = Store::open(f.store.root()).err().unwrap();
    assert!(matches!(error, StoreError::Locked(_)));
    f.reopen();
}

#[test]
fn other_layouts_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"2.0.0"}"#,
    )
    .unwrap();
    assert!(matches!(
        Store::open(dir.path()),
        Err(StoreError::Layout(..))
    ));
    std::fs::write(dir.path().join("oci-layout"), "?").unwrap();
    assert!(matches!(
        Store::open(dir.path()),
        Err(StoreError::Layout(..))
    ));
}
