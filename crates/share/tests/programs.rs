//! Real programs on a share.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{able, fresh, sh};

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
