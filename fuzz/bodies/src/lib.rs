//! The bodies of the fuzz targets, each a function of bytes that panics if a promise is broken.
//!
//! **Owns** what is promised for hostile input of each parser, and samples to begin from. The
//! targets in `fuzz/fuzz_targets` run the bodies under libFuzzer; `tests/random.rs` runs them over
//! samples that it damages, so that every change is checked without a special toolchain.
//!
//! **Must not know** either of the two.
//!
//! **Invariants**: a body depends on its input only, and leaves nothing behind.
#![forbid(unsafe_code)]

mod kernel;
mod layer;
mod samples;

use bytes::{Bytes, BytesMut};
use coracle_log::{Driver, Item, LogConfig, ReadOptions};
use coracle_oci::{Document, ImageConfig, Index, Manifest, Reference};
use coracle_task::frame::{self, Data};
use futures_util::StreamExt;

pub use kernel::{kernel_image, kernel_package};
pub use layer::layer_unpack;
pub use samples::samples;

/// A body and its name.
pub type Body = (&'static str, fn(&[u8]));

/// All of them.
pub const BODIES: [Body; 9] = [
    ("dns_packet", dns_packet),
    ("reference", reference),
    ("layer_unpack", layer_unpack),
    ("manifest", manifest),
    ("seccomp_profile", seccomp_profile),
    ("log_line", log_line),
    ("task_frame", task_frame),
    ("kernel_image", kernel_image),
    ("kernel_package", kernel_package),
];

/// A directory in memory, if there is such a place: many thousand are made.
fn scratch() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// What parses as a reference is written as one that parses to the same.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for parsed in [
        Reference::parse_normalized(text),
        Reference::parse_named(text),
    ] {
        let Ok(parsed) = parsed else { continue };
        assert!(!parsed.domain().is_empty() && !parsed.path().is_empty());
        for part in parsed.path().split('/') {
            assert!(!part.is_empty() && part != "." && part != "..", "{text:?}");
        }
        let reads_as_itself = |written: String| {
            let again = Reference::parse_named(&written);
            assert_eq!(
                again.ok().as_ref(),
                Some(&parsed),
                "{text:?} as {written:?}"
            );
        };
        reads_as_itself(parsed.to_string());
        // As with Docker, the short form of `docker.io/docker.io/x` is another name's long one.
        let first = parsed.path().split('/').next().unwrap_or_default();
        if !first.contains('.') && first != "localhost" {
            reads_as_itself(parsed.familiar());
        }
    }
}

/// Documents of a registry parse or are refused; what parses can be walked.
pub fn manifest(data: &[u8]) {
    for kind in [
        None,
        Some(coracle_oci::media::OCI_MANIFEST),
        Some(coracle_oci::media::OCI_INDEX),
    ] {
        match Document::parse(data, kind) {
            Ok(Document::Manifest(manifest)) => walk(&manifest),
            Ok(Document::Index(index)) => drop(index.media_type().to_owned()),
            Err(_) => {}
        }
    }
    if let Ok(manifest) = Manifest::parse(data) {
        walk(&manifest);
    }
    let _ = Index::parse(data);
    if let Ok(config) = ImageConfig::parse(data) {
        let _ = config.platform();
    }
}

fn walk(manifest: &Manifest) {
    let _ = (manifest.is_image(), manifest.media_type());
    assert!(manifest.children().count() < 100_000);
}

/// A profile that parses compiles or is refused.
pub fn seccomp_profile(data: &[u8]) {
    let Ok(machine) = coracle_seccomp::Machine::host() else {
        return;
    };
    if let Ok(profile) = coracle_seccomp::parse_profile(data, &Default::default(), machine) {
        let _ = coracle_seccomp::compile_for(&profile, machine);
    }
}

/// A log with anything in it is read to its end, and no entry is longer than what is there.
pub fn log_line(data: &[u8]) {
    let (Ok(dir), Ok(runtime)) = (
        tempfile::tempdir(),
        tokio::runtime::Builder::new_current_thread().build(),
    ) else {
        return;
    };
    for driver in [Driver::JsonFile, Driver::Local] {
        let path = dir.path().join(driver.name());
        if std::fs::write(&path, data).is_err() {
            return;
        }
        let config = LogConfig {
            driver,
            path,
            max_size: None,
            max_file: 1,
            compress: false,
            attrs: Default::default(),
        };
        for tail in [None, Some(1), Some(3)] {
            let options = ReadOptions {
                since: None,
                until: None,
                tail,
                stdout: true,
                stderr: true,
                details: true,
            };
            let items = runtime.block_on(coracle_log::read(&config, options).collect::<Vec<_>>());
            let mut entries = 0;
            for item in items.into_iter().flatten() {
                if let Item::Entry(entry) = item {
                    assert!(entry.line.len() <= data.len());
                    entries += 1;
                }
            }
            assert!(
                tail.is_none_or(|most| entries <= most),
                "{entries} of {tail:?}"
            );
        }
    }
}

/// A packet to the DNS server gets an answer that its sender takes, or none.
pub fn dns_packet(data: &[u8]) {
    coracle_dns::fuzz(data);
}

/// Frames of a peer are taken whole or refused; data survives its encoding.
pub fn task_frame(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    while let Ok(Some(content)) = frame::take_frame(&mut buffer) {
        assert!(content.len() <= data.len());
        message(&content);
    }
    message(&Bytes::copy_from_slice(data));
}

fn message(content: &Bytes) {
    let _ = serde_json::from_slice::<coracle_task::Request>(content);
    let _ = serde_json::from_slice::<coracle_task::Reply>(content);
    let _ = serde_json::from_slice::<coracle_task::Hello>(content);
    if let Ok(decoded) = Data::decode(content.clone()) {
        let mut encoded = BytesMut::new();
        decoded.encode(&mut encoded);
        let again = frame::take_frame(&mut encoded)
            .ok()
            .flatten()
            .map(Data::decode);
        assert!(matches!(again, Some(Ok(again)) if again.payload() == decoded.payload()));
    }
}
