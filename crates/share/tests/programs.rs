//! Real programs on a share.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::os::unix::fs::MetadataExt as _;

use common::{Share, able, fresh, own_mounts, sh};
use coracle_share::ServeOptions;

/// Says only what differs.
fn same(is: &str, expected: &str) {
    let wrong: Vec<_> = is
        .lines()
        .zip(expected.lines())
        .filter(|(a, b)| a != b)
        .take(5)
        .collect();
    assert!(
        wrong.is_empty() && is.lines().count() == expected.lines().count(),
        "{wrong:#?}"
    );
}

#[test]
fn files_are_made_read_and_removed() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    sh(
        &share.target,
        "echo hello > a; mkdir -p d/e; cp a d/e/b; ln -s ../a d/l; ln a hard; mv a c",
    );
    assert_eq!(
        sh(&share.source, "cat c hard d/e/b; readlink d/l"),
        "hello\nhello\nhello\n../a\n"
    );
    assert_eq!(
        sh(&share.target, "find . | sort"),
        sh(&share.source, "find . | sort")
    );
    sh(&share.target, "rm -rf *; test -z \"$(ls -A)\"");
    assert_eq!(std::fs::read_dir(&share.source).unwrap().count(), 0);
    share.end();
}

#[test]
fn a_tree_is_copied_with_all_that_belongs_to_it() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    let tree = tempfile::tempdir().unwrap();
    sh(
        tree.path(),
        "mkdir -p a/b/c; for i in $(seq 200); do echo $i > a/b/file$i; done
         chmod 4755 a/b/file1; chown 1000:1001 a/b/file2; ln a/b/file3 a/b/c/hard
         ln -s /etc/passwd a/link; ln -s nowhere a/dangling; mkfifo a/fifo
         mknod a/null c 1 3; mknod a/block b 7 200
         touch -d 2001-02-03T04:05:06.789 a/b/file4; touch -h -d 2002-01-01 a/link
         dd if=/dev/urandom of=a/big bs=1M count=5 2>/dev/null; truncate -s 10M a/hole
         chmod 1777 a/b/c; chmod 2750 a/b",
    );
    let from = tree.path().display();
    sh(&share.target, &format!("cp -a {from}/a ."));
    let list = "find a -printf '%p %y %m %U:%G %s %n %T@ %l\n' | grep -v ' d ' | sort; \
                find a -type d -printf '%p %m %U:%G %T@\n' | sort; \
                find a -type f | sort | xargs md5sum; stat -c '%t %T' a/null a/block";
    let expected = sh(tree.path(), list);
    same(&sh(&share.source, list), &expected);
    same(&sh(&share.target, list), &expected);
    // And back through a pipe of tar, as volumes are backed up.
    sh(
        &share.target,
        "mkdir t; tar --format=posix -cf - a | tar -C t -xpf -; test $(find t/a | wc -l) -gt 200",
    );
    same(&sh(&share.at("t"), list), &expected);
    sh(&share.target, "rm -rf a t");
    share.end();
}

#[test]
fn git_works() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    let script = "export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
        git init -q r; cd r; git config user.name n; git config user.email e@x
        git config gc.auto 0
        for i in $(seq 100); do echo $i > f$i; done
        git add .; git commit -qm one; echo more >> f1; git commit -qam two
        git checkout -q -b other HEAD~1; git checkout -q -; git gc -q; git fsck --strict
        test -z \"$(git status --porcelain)\"; git log --oneline | wc -l";
    if std::process::Command::new("git")
        .arg("--version")
        .output()
        .is_ok()
    {
        assert_eq!(sh(&share.target, script).trim(), "2");
        let home = "export HOME=$PWD; git config --global --add safe.directory '*'; cd r; ";
        sh(
            &share.source,
            &format!("{home} git fsck --strict; git status --porcelain"),
        );
    }
    share.end();
}

#[test]
fn big_files_arrive_whole() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    sh(
        &share.source,
        "dd if=/dev/urandom of=one bs=1M count=64 2>/dev/null; truncate -s 67108865 one",
    );
    sh(
        &share.target,
        "cp one two; cmp one two; cat one | dd of=three bs=777k 2>/dev/null",
    );
    sh(&share.source, "cmp one two; cmp one three");
    // Holes stay holes, and are found.
    sh(
        &share.target,
        "truncate -s 1G hole; echo end >> hole; cp --sparse=always hole copy",
    );
    sh(
        &share.source,
        "cmp hole copy; test $(du -k copy | cut -f1) -lt 1000",
    );
    sh(
        &share.target,
        "fallocate -l 8M full; fallocate -p -o 1M -l 1M full",
    );
    assert_eq!(
        std::fs::metadata(share.on_host("full")).unwrap().blocks(),
        7 << 11
    );
    share.end();
}

#[test]
fn a_large_directory_lists_whole_while_it_changes() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    sh(
        &share.source,
        "for i in $(seq 5000); do echo > name-that-is-not-short-$i; done",
    );
    assert_eq!(sh(&share.target, "ls -f | wc -l").trim(), "5002");
    assert_eq!(sh(&share.target, "ls -lU | wc -l").trim(), "5001");
    sh(
        &share.target,
        "ls -f | grep 7$ | xargs rm; test $(ls | wc -l) = 4500",
    );
    sh(
        &share.target,
        "find . -name '*5' -delete; test $(find . -type f | wc -l) = 4000",
    );
    assert_eq!(std::fs::read_dir(&share.source).unwrap().count(), 4000);
    share.end();
}

#[test]
fn few_descriptors_are_enough() {
    if !able() {
        return;
    }
    own_mounts();
    let source = tempfile::tempdir().unwrap();
    let mut options = ServeOptions::default();
    options.max_files = 32;
    options.parallel = 2;
    let share = Share::new(source.path(), options);
    let deep = (0..80)
        .map(|_| "directory-with-a-name")
        .collect::<Vec<_>>()
        .join("/");
    sh(
        &share.target,
        &format!(
            "for i in $(seq 50); do mkdir d$i; for j in 1 2 3; do echo $i.$j > d$i/$j; done; done
             mkdir -p {deep}; echo deep > {deep}/f
             for i in $(seq 50); do mv d$i e$i; done
             for i in $(seq 50); do test $(cat e$i/2) = $i.2; chmod 600 e$i/3; done
             test $(cat {deep}/f) = deep; find . | wc -l; rm -rf *"
        ),
    );
    // More open files than there may be are refused, and nothing else breaks.
    let files: Vec<_> = (0..40)
        .map(|i| std::fs::File::create(share.at(&format!("{i}"))))
        .collect();
    let open = files.iter().filter(|file| file.is_ok()).count();
    assert!((8..=16).contains(&open), "{open}");
    let errors: Vec<_> = files
        .iter()
        .filter_map(|file| file.as_ref().err())
        .collect();
    assert!(
        errors
            .iter()
            .all(|e| e.raw_os_error() == Some(libc::ENFILE)),
        "{errors:?}"
    );
    assert_eq!(std::fs::read_dir(&share.source).unwrap().count(), open);
    drop(files);
    share.end();
}
