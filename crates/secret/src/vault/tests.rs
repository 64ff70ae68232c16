use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::file::names;
use super::id::is_id;
use super::*;
use crate::entry::MAX_HEADER;

const WORDS: &[u8] = b"correct horse battery staple";

fn vault() -> (tempfile::TempDir, Vault) {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(dir.path().join("vault")).unwrap();
    (dir, vault)
}

fn make(vault: &Vault, name: &str, value: &[u8]) -> Entry {
    let made = vault.create(Kind::Secret, name, BTreeMap::new(), value);
    made.unwrap()
}

fn value(vault: &Vault, name: &str) -> Result<Vec<u8>> {
    let id = vault.find(Kind::Secret, name)?.id;
    Ok(vault.value(Kind::Secret, &id)?.to_vec())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn life() {
    let (_dir, vault) = vault();
    assert!(!vault.root.exists(), "an empty vault leaves nothing");
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let one = vault.create(Kind::Secret, "one", labels, WORDS).unwrap();
    make(&vault, "two", b"2");
    vault
        .create(Kind::Config, "one", BTreeMap::new(), b"config")
        .unwrap();
    let again = vault.create(Kind::Secret, "one", BTreeMap::new(), b"x");
    assert_eq!(again.unwrap_err().to_string(), "secret one already exists");

    let vault = Vault::open(&vault.root).unwrap();
    assert_eq!(vault.list(Kind::Secret).len(), 2);
    assert_eq!(vault.find(Kind::Secret, "one").unwrap(), one);
    assert_eq!(vault.find(Kind::Secret, &one.id).unwrap(), one);
    assert_eq!(vault.find(Kind::Secret, &one.id[..20]).unwrap(), one);
    assert_eq!(value(&vault, "one").unwrap(), WORDS);
    for (name, text) in [
        ("three", "secret three not found"),
        ("", "secret  not found"),
    ] {
        let missing = vault.find(Kind::Secret, name).unwrap_err();
        assert_eq!(missing.to_string(), text);
    }

    let labels = BTreeMap::from([("c".to_owned(), "d".to_owned())]);
    let changed = vault
        .relabel(Kind::Secret, "one", 1, labels.clone())
        .unwrap();
    assert_eq!((changed.version, &changed.labels), (2, &labels));
    let stale = vault.relabel(Kind::Secret, "one", 1, labels).unwrap_err();
    assert_eq!(stale.to_string(), "update out of sequence");
    assert_eq!(value(&vault, "one").unwrap(), WORDS);

    vault.remove(Kind::Secret, &one.id).unwrap();
    assert!(value(&vault, "one").is_err());
    let vault = Vault::open(&vault.root).unwrap();
    assert_eq!(vault.list(Kind::Secret).len(), 1);
    assert_eq!(vault.list(Kind::Config).len(), 1);
}

#[test]
fn sizes_and_names_are_bounded() {
    let (_dir, vault) = vault();
    for (kind, limit) in [
        (Kind::Secret, crate::MAX_SECRET),
        (Kind::Config, crate::MAX_CONFIG),
    ] {
        let make = |length| vault.create(kind, "x", BTreeMap::new(), &vec![7; length]);
        for length in [0, limit] {
            assert!(matches!(make(length), Err(Error::Invalid(_))), "{length}");
        }
        let made = make(limit - 1).unwrap();
        assert_eq!(vault.value(kind, &made.id).unwrap().len(), limit - 1);
    }
    let many = BTreeMap::from([("x".to_owned(), "y".repeat(MAX_HEADER))]);
    let made = vault.create(Kind::Secret, "long", many, b"x");
    assert!(matches!(made, Err(Error::Invalid(_))));
    assert!(
        vault
            .create(Kind::Secret, "-", BTreeMap::new(), b"x")
            .is_err()
    );
    assert_eq!(
        Vault::open(&vault.root).unwrap().list(Kind::Secret).len(),
        1
    );
}

#[test]
fn nothing_is_plain_and_nothing_is_open() {
    let (_dir, vault) = vault();
    let entry = make(&vault, "one", WORDS);
    vault
        .create(Kind::Config, "two", BTreeMap::new(), WORDS)
        .unwrap();
    let mut left = vec![vault.root.clone()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            assert_eq!(mode(&path), 0o700, "{}", path.display());
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        let plain = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(!WORDS.chunks(8).any(plain), "{}", path.display());
    }
    // Two writes of one value have nothing in common.
    let first = vault.load(Kind::Secret, &entry.id).unwrap();
    vault
        .relabel(Kind::Secret, "one", 1, BTreeMap::new())
        .unwrap();
    let second = vault.load(Kind::Secret, &entry.id).unwrap();
    assert_ne!(first.header.nonce, second.header.nonce);
    assert_ne!(first.sealed, second.sealed);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (_dir, vault) = vault();
    make(&vault, "one", WORDS);
    let (keys, key) = (vault.root.join("keys"), vault.root.join("keys/1.key"));
    for (path, wide, good) in [
        (&key, 0o640, 0o600),
        (&key, 0o604, 0o600),
        (&keys, 0o750, 0o700),
    ] {
        let set = |mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(wide);
        for problem in [
            value(&vault, "one").unwrap_err(),
            vault
                .create(Kind::Secret, "two", BTreeMap::new(), b"x")
                .unwrap_err(),
            vault.rotate().unwrap_err(),
        ] {
            assert!(matches!(problem, Error::Exposed { .. }), "{problem}");
            assert!(problem.to_string().contains("chmod"), "{problem}");
        }
        let reopened = Vault::open(&vault.root).unwrap();
        assert_eq!(reopened.list(Kind::Secret).len(), 1);
        set(good);
    }
    fs::rename(&key, vault.root.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(vault.root.join("elsewhere"), &key).unwrap();
    assert!(value(&vault, "one").is_err(), "a key is no link");
    if rustix::process::geteuid().is_root() {
        fs::remove_file(&key).unwrap();
        fs::rename(vault.root.join("elsewhere"), &key).unwrap();
        std::os::unix::fs::chown(&key, Some(1234), None).unwrap();
        let problem = value(&vault, "one").unwrap_err().to_string();
        assert!(problem.contains("belongs to user 1234"), "{problem}");
    }
}

#[test]
fn a_wrong_or_missing_key_opens_nothing() {
    let (_dir, vault) = vault();
    make(&vault, "one", WORDS);
    let key = vault.root.join("keys/1.key");
    fs::write(&key, [9; 32]).unwrap();
    assert!(matches!(value(&vault, "one"), Err(Error::Damaged { .. })));
    fs::write(&key, [9; 31]).unwrap();
    assert!(matches!(value(&vault, "one"), Err(Error::Io { .. })));
    fs::remove_file(&key).unwrap();
    let problem = value(&vault, "one").unwrap_err().to_string();
    assert!(problem.contains("key"), "{problem}");
}

#[test]
fn files_cant_be_swapped() {
    let (_dir, vault) = vault();
    let (one, two) = (make(&vault, "one", b"first"), make(&vault, "two", b"other"));
    let config = vault
        .create(Kind::Config, "one", BTreeMap::new(), b"third")
        .unwrap();
    let of = |entry: &Entry| vault.path(entry.kind, &entry.id);
    let (first, second) = (fs::read(of(&one)).unwrap(), fs::read(of(&two)).unwrap());
    fs::write(of(&one), &second).unwrap();
    assert!(matches!(value(&vault, "one"), Err(Error::Damaged { .. })));
    fs::write(of(&one), fs::read(of(&config)).unwrap()).unwrap();
    assert!(value(&vault, "one").is_err());
    // The one's header before the other's value.
    let split = |file: &[u8]| file.iter().position(|byte| *byte == b'\n').unwrap();
    let mixed = [&first[..split(&first)], &second[split(&second)..]].concat();
    fs::write(of(&one), mixed).unwrap();
    assert!(value(&vault, "one").is_err());
    // Another name, by its own header.
    let text = String::from_utf8_lossy(&first[..split(&first)]).replace("\"one\"", "\"won\"");
    fs::write(
        of(&one),
        [text.as_bytes(), &first[split(&first)..]].concat(),
    )
    .unwrap();
    assert!(value(&Vault::open(&vault.root).unwrap(), "won").is_err());
    fs::write(of(&one), first).unwrap();
    assert_eq!(value(&vault, "one").unwrap(), b"first");
}

#[test]
fn a_value_that_cant_be_opened_keeps_its_key() {
    let (_dir, vault) = vault();
    make(&vault, "one", b"1");
    let two = make(&vault, "two", b"2");
    let path = vault.path(Kind::Secret, &two.id);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(vault.rotate(), Err(Error::Unfinished(_))));
    assert_eq!(value(&vault, "one").unwrap(), b"1");
    assert_eq!(Keys::load(&vault.root).unwrap().older(), [1]);
    fs::write(&path, whole).unwrap();
    let vault = Vault::open(&vault.root).unwrap();
    assert_eq!(value(&vault, "two").unwrap(), b"2");
    assert!(Keys::load(&vault.root).unwrap().older().is_empty());
}

#[test]
fn rotation_leaves_one_new_key() {
    let (_dir, vault) = vault();
    assert_eq!(vault.rotate().unwrap(), 0);
    make(&vault, "one", WORDS);
    vault
        .create(Kind::Config, "two", BTreeMap::new(), b"2")
        .unwrap();
    let key = fs::read(vault.root.join("keys/1.key")).unwrap();
    assert_eq!(vault.rotate().unwrap(), 2);
    assert_eq!(names(&vault.root.join("keys")).unwrap(), ["2.key"]);
    assert_ne!(fs::read(vault.root.join("keys/2.key")).unwrap(), key);
    assert_eq!(value(&vault, "one").unwrap(), WORDS);
    let one = vault.find(Kind::Secret, "one").unwrap();
    assert_eq!(one.version, 1, "a new key is no new version");
}

/// Cut short after each of its steps, and opened again.
#[test]
fn rotation_cut_short_anywhere() {
    for cut in 0.. {
        let (_dir, vault) = vault();
        let all: Vec<String> = (0..4).map(|number| format!("s{number}")).collect();
        for name in &all {
            make(&vault, name, name.as_bytes());
        }
        vault.steps_left.store(cut, Ordering::Relaxed);
        let finished = vault.rotate().is_ok();
        // As it stands, without another open.
        vault.steps_left.store(i64::MAX, Ordering::Relaxed);
        for name in &all {
            assert_eq!(value(&vault, name).unwrap(), name.as_bytes(), "cut {cut}");
        }
        make(&vault, "late", b"late");
        let vault = Vault::open(&vault.root).unwrap();
        for name in &all {
            assert_eq!(value(&vault, name).unwrap(), name.as_bytes(), "cut {cut}");
        }
        assert_eq!(value(&vault, "late").unwrap(), b"late");
        let keys = Keys::load(&vault.root).unwrap();
        assert!(keys.older().is_empty(), "cut {cut}");
        for kind in Kind::ALL {
            let left = names(&vault.root.join(kind.directory())).unwrap();
            assert!(left.iter().all(|name| is_id(name)), "cut {cut}: {left:?}");
        }
        if finished {
            assert!(cut > 10, "there are more steps than {cut}");
            return;
        }
    }
}

/// A creation that is cut short leaves the whole secret, or none.
#[test]
fn creation_cut_short_anywhere() {
    for cut in 0.. {
        let (_dir, vault) = vault();
        vault.steps_left.store(cut, Ordering::Relaxed);
        let made = vault.create(Kind::Secret, "one", BTreeMap::new(), WORDS);
        let vault = Vault::open(&vault.root).unwrap();
        match value(&vault, "one") {
            Ok(value) => assert_eq!(value, WORDS),
            Err(Error::NotFound { .. }) => assert!(made.is_err()),
            Err(other) => panic!("cut {cut}: {other}"),
        }
        if made.is_ok() {
            return;
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 96, ..Default::default() })]

    /// One byte changed, anywhere, or the end cut off.
    #[test]
    fn no_changed_file_opens(at in 0_usize..400, bit in 0_u8..8, cut in proptest::bool::ANY) {
        let (_dir, vault) = vault();
        let entry = make(&vault, "one", WORDS);
        let path = vault.path(Kind::Secret, &entry.id);
        let mut bytes = fs::read(&path).unwrap();
        let at = at % bytes.len();
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << bit;
        }
        fs::write(&path, &bytes).unwrap();
        proptest::prop_assert!(vault.value(Kind::Secret, &entry.id).is_err());
        let reopened = Vault::open(&vault.root).unwrap();
        proptest::prop_assert!(reopened.value(Kind::Secret, &entry.id).is_err());
    }

    /// A file of anything.
    #[test]
    fn rubbish_is_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let (_dir, vault) = vault();
        let entry = make(&vault, "one", WORDS);
        fs::write(vault.path(Kind::Secret, &entry.id), &bytes).unwrap();
        let reopened = Vault::open(&vault.root).unwrap();
        proptest::prop_assert!(reopened.value(Kind::Secret, &entry.id).is_err());
    }

    #[test]
    fn any_value_comes_back(bytes in proptest::collection::vec(proptest::num::u8::ANY, 1..5000)) {
        let (_dir, vault) = vault();
        make(&vault, "one", &bytes);
        proptest::prop_assert_eq!(value(&Vault::open(&vault.root).unwrap(), "one").unwrap(), bytes);
    }
}
