//! Files with holes, whose archives no writer here makes.

use crate::common::{Tar, check, image, must_equal};
use crate::mounts::{Mounted, root};

const BLOCK: usize = 512;

/// A header block, with the fields that matter.
fn header(name: &str, kind: u8, size: usize) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000144\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn padded(mut data: Vec<u8>) -> Vec<u8> {
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

/// A file in GNU's format 1.0, of segments and what all of them hold.
fn sparse(name: &str, size: u64, segments: &[(u64, usize)]) -> Vec<u8> {
    let mut map = format!("{}\n", segments.len());
    let mut data = Vec::new();
    for (n, (offset, len)) in segments.iter().enumerate() {
        map.push_str(&format!("{offset}\n{len}\n"));
        data.extend((0..*len).map(|at| ((n * 31 + at) % 250) as u8 + 1));
    }
    let contents = [padded(map.into_bytes()), data].concat();
    let records: Vec<u8> = [
        ("GNU.sparse.major", "1".to_owned()),
        ("GNU.sparse.minor", "0".to_owned()),
        ("GNU.sparse.name", name.to_owned()),
        ("GNU.sparse.realsize", size.to_string()),
    ]
    .iter()
    .flat_map(|(key, value)| {
        let rest = format!(" {key}={value}\n");
        let mut len = rest.len() + 1;
        len = rest.len() + len.to_string().len();
        len = rest.len() + len.to_string().len();
        format!("{len}{rest}").into_bytes()
    })
    .collect();
    let size = contents.len();
    [
        header("pax", b'x', records.len()),
        padded(records),
        header("sparse", b'0', size),
        padded(contents),
    ]
    .concat()
}

fn tar(files: &[Vec<u8>]) -> Vec<u8> {
    [files.concat(), Tar::new().end()].concat()
}

#[test]
fn holes_everywhere() {
    must_equal(&[tar(&[
        sparse("empty", 0, &[]),
        sparse("hole", 5000, &[]),
        sparse("end", 100_000, &[(99_999, 1)]),
        sparse("start", 100_000, &[(0, 1)]),
        sparse(
            "odd",
            1_000_003,
            &[(4095, 2), (8192, 4096), (12_288, 1), (500_000, 70_000)],
        ),
        sparse(
            "dense",
            30_000,
            &[(0, 10_000), (10_000, 10_000), (20_001, 9_000)],
        ),
        sparse(
            "many",
            40 << 20,
            &(0..400).map(|n| (n * 100_003, 7)).collect::<Vec<_>>(),
        ),
    ])]);
}

#[test]
fn larger_than_any_memory() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let size = 16u64 << 40;
    let layer = tar(&[sparse("huge", size, &[(1 << 40, 10), (size - 5, 5)])]);
    image(&[layer], &path).unwrap();
    check_metadata(&path);
    let real = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&path).unwrap()) * 512;
    assert!(real < 1 << 20, "{real}");
    let mounted = Mounted::image(&path, "erofs", false);
    let file = std::fs::File::open(mounted.at("huge")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), size);
    let mut at = [0; 12];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut at, (1 << 40) - 1).unwrap();
    assert_eq!(at, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0]);
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut at, size - 12).unwrap();
    assert_eq!(at, [0, 0, 0, 0, 0, 0, 0, 32, 33, 34, 35, 36]);
}

/// Its contents would take too long to be read.
fn check_metadata(image: &std::path::Path) {
    let (good, text) = crate::mounts::run("fsck.erofs", &[image.to_str().unwrap()]);
    assert!(good, "{text}");
}

#[test]
fn sizes_that_lie() {
    let dir = tempfile::tempdir().unwrap();
    for size in [(16u64 << 40) + 1, i64::MAX as u64] {
        let error = image(
            &[tar(&[sparse("f", size, &[(5, 5)])])],
            &dir.path().join("image"),
        );
        assert!(
            matches!(error, Err(coracle_disk::Error::FileTooLarge { .. })),
            "{size}: {error:?}"
        );
    }
    must_equal(&[tar(&[sparse("f", 9, &[(5, 5)])])]);
    must_equal(&[tar(&[sparse("f", 100, &[(5, 5), (7, 5)])])]);
    let whole = dir.path().join("image");
    image(&[tar(&[sparse("f", 100, &[(5, 5)])])], &whole).unwrap();
    check(&whole).unwrap();
}
