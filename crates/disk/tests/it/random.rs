//! Random layers: written and unpacked they are the same tree, or the same error.

use coracle_archive::{Entry, Kind, Time};
use proptest::prelude::*;

use crate::common::{Tar, compare, entry, image};
use crate::mounts::root;

#[derive(Debug, Clone)]
struct Step {
    kind: u8,
    path: String,
    other: String,
    size: usize,
    mode: u32,
    attribute: u8,
}

/// Few names, so that they meet.
fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[a-c]", 1..4).prop_map(|parts| parts.join("/"))
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0usize..100, 3000usize..5000, 60_000usize..70_000];
    let mode = prop_oneof![Just(0o644u32), Just(0o755), Just(0o4711), 0u32..0o10000];
    (0u8..16, path(), path(), size, mode, 0u8..8).prop_map(
        |(kind, path, other, size, mode, attribute)| Step {
            kind,
            path,
            other,
            size,
            mode,
            attribute,
        },
    )
}

fn layer(steps: &[Step]) -> Vec<u8> {
    let mut tar = Tar::new();
    for (n, step) in steps.iter().enumerate() {
        let xattrs = match step.attribute {
            0 => vec![(b"user.x".to_vec(), b"shared".to_vec())],
            1 => vec![(b"trusted.y".to_vec(), vec![n as u8; 300])],
            _ => Vec::new(),
        };
        let made = |kind| Entry {
            xattrs: xattrs.clone(),
            uid: u32::from(step.attribute) * 40_000,
            mtime: Time {
                secs: 1000 + n as i64,
                nanos: n as u32,
            },
            ..entry(&step.path, kind, step.mode)
        };
        let link = |kind| Entry {
            link: step.other.clone().into_bytes(),
            ..made(kind)
        };
        let (parent, base) = step.path.rsplit_once('/').unwrap_or(("", &step.path));
        let data = vec![n as u8 + 1; step.size];
        tar = match step.kind {
            0..5 => tar.entry(made(Kind::File), &data),
            5..8 => tar.entry(made(Kind::Directory), b""),
            8 => tar.entry(link(Kind::Symlink), b""),
            9 | 10 => tar.entry(link(Kind::HardLink), b""),
            11 | 12 => tar.file(&format!("{parent}/.wh.{base}"), b""),
            13 => tar.file(&format!("{}/.wh..wh..opq", step.path), b""),
            14 => tar.entry(made(Kind::Fifo), b""),
            _ => tar.entry(
                Entry {
                    device: (n as u32 % 3, 5),
                    ..made(Kind::CharDevice)
                },
                b"",
            ),
        };
    }
    tar.end()
}

/// Most random steps contradict one before. Those that do are left out, but for a few.
fn fitting(layers: &[Vec<Step>]) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let mut tars: Vec<Vec<u8>> = Vec::new();
    for steps in layers {
        let mut taken: Vec<Step> = Vec::new();
        tars.push(layer(&taken));
        for step in steps {
            taken.push(step.clone());
            let with = layer(&taken);
            let before = std::mem::replace(tars.last_mut().unwrap(), with);
            let keep = step.attribute == 7 && step.size % 7 == 0;
            if !keep && image(&tars, &path).is_err() {
                taken.pop();
                *tars.last_mut().unwrap() = before;
            }
        }
    }
    tars
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_same_as_unpacked(layers in proptest::collection::vec(
        proptest::collection::vec(step(), 0..14), 1..5,
    )) {
        if root() {
            let tars = fitting(&layers);
            if let Err(text) = compare(&tars) {
                return Err(TestCaseError::fail(text));
            }
        }
    }
}
