//! Files in and out of containers.

use super::super::Subject;
use super::super::support::{bytes, refused, soon, stream, tar_of, untar};
use crate::Status;
use crate::archive::ExtractOptions;

/// Go's bits for a directory and a symbolic link.
const DIR: u32 = 1 << 31;
const LINK: u32 = 1 << 27;

impl Subject {
    async fn put(&self, id: &str, path: &str, tar: Vec<u8>) -> crate::Result<()> {
        let options = ExtractOptions::default();
        soon(
            "copying in",
            self.runtime.write_path(id, path, options, stream(&tar)),
        )
        .await
    }

    async fn get(&self, id: &str, path: &str) -> Vec<super::super::support::Entry> {
        let archive = soon("copying out", self.runtime.read_path(id, path)).await;
        let archive = archive.unwrap_or_else(|error| panic!("{path}: {error}"));
        untar(&bytes("copying out", archive.tar).await)
    }
}

pub(super) async fn stat(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s
        .create(s.sh("ln -s passwd /etc/link; ln -s /nowhere /etc/broken"))
        .await;
    let file = s.runtime.stat_path(&id, "/etc/passwd").await.unwrap();
    assert_eq!(
        (file.name.as_str(), file.mode, file.link_target.as_str()),
        ("passwd", 0o644, "")
    );
    assert!(file.size > 0);
    let dir = s.runtime.stat_path(&id, "/etc").await.unwrap();
    assert_eq!((dir.name.as_str(), dir.mode & DIR), ("etc", DIR));
    assert_eq!(s.runtime.stat_path(&id, "etc/").await.unwrap().name, "etc");
    assert_eq!(s.runtime.stat_path(&id, "/").await.unwrap().name, "/");
    let tmp = s.runtime.stat_path(&id, "/tmp").await.unwrap();
    assert_eq!(
        tmp.mode,
        DIR | 1 << 20 | 0o777,
        "the sticky bit, as Go has it"
    );
    s.start(&id).await;
    s.ended(&id).await;
    let link = s.runtime.stat_path(&id, "/etc/link").await.unwrap();
    assert_eq!((link.name.as_str(), link.mode & LINK), ("link", LINK));
    assert_eq!(link.link_target, "/etc/passwd");
}

pub(super) async fn out(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s
        .create(s.sh("mkdir -p /d/e; echo one > /d/f; echo two > /d/e/g; ln -s f /d/l"))
        .await;
    let passwd = s.get(&id, "/etc/passwd").await;
    assert_eq!(
        (passwd.len(), passwd[0].path.as_str(), passwd[0].kind),
        (1, "passwd", 'f')
    );
    assert!(passwd[0].content.starts_with(b"root:"));
    s.start(&id).await;
    s.ended(&id).await;
    let mut entries = s.get(&id, "/d").await;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let told: Vec<(&str, char)> = entries.iter().map(|e| (e.path.as_str(), e.kind)).collect();
    assert_eq!(
        told,
        [
            ("d", 'd'),
            ("d/e", 'd'),
            ("d/e/g", 'f'),
            ("d/f", 'f'),
            ("d/l", 'l')
        ]
    );
    assert_eq!(entries[3].content, b"one\n");
    // A link itself, where it is not asked for what it leads to.
    assert_eq!(s.get(&id, "/d/l").await[0].kind, 'l');
    let stat = s.runtime.read_path(&id, "/d").await.unwrap().stat;
    assert_eq!((stat.name.as_str(), stat.mode & DIR), ("d", DIR));
}

pub(super) async fn into(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s.create(s.sh("cat /tmp/in/f /tmp/g")).await;
    s.put(
        &id,
        "/tmp",
        tar_of(&[("in/", ""), ("in/f", "one\n"), ("g", "two\n")]),
    )
    .await
    .unwrap();
    assert_eq!(s.get(&id, "/tmp/in/f").await[0].content, b"one\n");
    let attached = s.attach(&id, false).await;
    s.start(&id).await;
    assert_eq!(
        super::super::attached::read(attached).await.stdout,
        "one\ntwo\n"
    );
    // Over what is there.
    s.put(&id, "/tmp/", tar_of(&[("g", "three\n")]))
        .await
        .unwrap();
    assert_eq!(s.get(&id, "/tmp/g").await[0].content, b"three\n");
}

pub(super) async fn while_it_runs(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s.launch(s.sh("echo one > /tmp/f; echo ready; while [ ! -f /tmp/go ]; do sleep 0.02; done; cat /tmp/go")).await;
    s.until_logged(&id, "ready").await;
    assert_eq!(s.get(&id, "/tmp/f").await[0].content, b"one\n");
    s.put(&id, "/tmp", tar_of(&[("go", "went\n")]))
        .await
        .unwrap();
    assert_eq!(s.ended(&id).await, 0);
    s.until_logged(&id, "went\n").await;
}

pub(super) async fn wrong_paths(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s.create(s.spec(&["true"])).await;
    let r = &s.runtime;
    for path in ["/nosuch", "/nosuch/below", "/etc/nosuch"] {
        refused!(
            r.stat_path(&id, path).await,
            NotFound,
            "could not find the file"
        );
        refused!(
            r.read_path(&id, path).await,
            NotFound,
            "could not find the file"
        );
        refused!(
            s.put(&id, path, tar_of(&[("f", "")])).await,
            NotFound,
            "could not find the file"
        );
    }
}

pub(super) async fn into_what_is_no_directory(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s.create(s.spec(&["true"])).await;
    refused!(
        s.put(&id, "/etc/passwd", tar_of(&[("f", "")])).await,
        InvalidArgument,
        "extraction point is not a directory"
    );
}

pub(super) async fn directories_and_others_do_not_replace_each_other(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s.create(s.spec(&["true"])).await;
    s.put(&id, "/tmp", tar_of(&[("d/", ""), ("f", "")]))
        .await
        .unwrap();
    let options = ExtractOptions {
        no_overwrite_dir_non_dir: true,
        ..ExtractOptions::default()
    };
    for (name, words) in [("d", "directory"), ("f/", "non-directory")] {
        let tar = tar_of(&[(name, "")]);
        let result = s
            .runtime
            .write_path(&id, "/tmp", options, stream(&tar))
            .await;
        refused!(result, InvalidArgument, words);
    }
}

/// Nothing in an archive reaches outside of where it is extracted.
pub(super) async fn hostile_archives(s: Subject) {
    if !s.can.archive {
        return;
    }
    let id = s.create(s.spec(&["true"])).await;
    refused!(
        s.put(
            &id,
            "/tmp",
            b"this is no archive, whatever it says".repeat(40)
        )
        .await,
        InvalidArgument
    );
    let whole = tar_of(&[("f", &"x".repeat(5000))]);
    refused!(
        s.put(&id, "/tmp", whole[..3000].to_vec()).await,
        InvalidArgument
    );
    let mut outside = tar_of(&[("aa/escaped", "x")]);
    outside[..2].copy_from_slice(b"..");
    // The header's sum no longer fits: make it fit.
    let sum: u32 = outside[..512]
        .iter()
        .enumerate()
        .map(|(n, byte)| {
            if (148..156).contains(&n) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    outside[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let _ = s.put(&id, "/tmp", outside).await;
    refused!(s.runtime.stat_path(&id, "/escaped").await, NotFound);
    assert_eq!(s.status(&id).await, Status::Created);
}

pub(super) async fn read_only_roots_are_not_written(s: Subject) {
    if !s.can.archive {
        return;
    }
    let mut spec = s.spec(&["true"]);
    spec.host.readonly_rootfs = true;
    let id = s.create(spec).await;
    let result = s.put(&id, "/tmp", tar_of(&[("f", "")])).await;
    refused!(result, Forbidden, "read-only");
    assert!(
        !s.get(&id, "/etc/passwd").await.is_empty(),
        "reading is free"
    );
}

pub(super) async fn export(s: Subject) {
    if !s.can.archive {
        return;
    }
    let (id, _) = s.run(s.sh("echo mine > /own; rm /etc/group")).await;
    let tar = soon("export", s.runtime.export_container(&id))
        .await
        .unwrap();
    let entries = untar(&bytes("export", tar).await);
    let find = |path: &str| {
        entries
            .iter()
            .find(|entry| entry.path.trim_start_matches("./").trim_start_matches('/') == path)
    };
    assert_eq!(find("own").unwrap().content, b"mine\n");
    assert!(find("etc/passwd").is_some() && find("etc/group").is_none());
    assert!(find("bin/sh").is_some());
}
