//! The test images, as `fixtures/make` gives them: `cargo test -- --ignored`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use coracle_archive::Decompressor;
use coracle_disk::{ErofsOptions, write_erofs};

use crate::common::must_equal;
use crate::mounts::run;

fn fixture(name: &str) -> PathBuf {
    let make = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/make");
    let (good, text) = run(make.to_str().unwrap(), &[name]);
    assert!(good, "{text}");
    PathBuf::from(text.lines().last().unwrap())
}

/// An image's layers, uncompressed, bottom first.
fn layers(name: &str) -> Vec<Vec<u8>> {
    let layout = fixture(name).join("oci");
    let json = |path: PathBuf| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let blob = |digest: &serde_json::Value| {
        layout
            .join("blobs")
            .join(digest.as_str().unwrap().replace(':', "/"))
    };
    let index = json(layout.join("index.json"));
    let manifest = json(blob(&index["manifests"][0]["digest"]));
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            let mut data = Vec::new();
            let file = File::open(blob(&layer["digest"])).unwrap();
            Decompressor::new(file)
                .unwrap()
                .read_to_end(&mut data)
                .unwrap();
            data
        })
        .collect()
}

#[test]
#[ignore = "makes the test images"]
fn odd() {
    must_equal(&layers("odd"));
}

#[test]
#[ignore = "makes the test images"]
fn many_files() {
    must_equal(&layers("many-files"));
}

#[test]
#[ignore = "makes the test images"]
fn sparse() {
    must_equal(&layers("sparse"));
}

/// Whatever is in them, nothing panics, and what unpacking refuses is refused.
#[test]
#[ignore = "makes the test images"]
fn hostile() {
    let dir = fixture("hostile");
    let scratch = tempfile::tempdir().unwrap();
    let out = File::create(scratch.path().join("image")).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "tar") {
            continue;
        }
        // Images in these archives are layouts: every file in them is tried as a layer.
        let (good, names) = run("tar", &["-tf", path.to_str().unwrap()]);
        let members = names.lines().filter(|name| good && !name.ends_with('/'));
        for member in members {
            run(
                "tar",
                &[
                    "-C",
                    scratch.path().to_str().unwrap(),
                    "-xf",
                    path.to_str().unwrap(),
                    "--transform=s,.*,member,",
                    "--",
                    member,
                ],
            );
            let Ok(data) = fs::read(scratch.path().join("member")) else {
                // A link, or a name that tar doesn't take.
                continue;
            };
            let mut open = |_: usize| {
                let source = Decompressor::new(std::io::Cursor::new(data.clone()));
                Ok(Box::new(source.map_err(std::io::Error::other)?) as Box<dyn Read>)
            };
            let written = write_erofs(&out, 1, &mut open, &ErofsOptions::default());
            let mut plain = Vec::new();
            let whole =
                Decompressor::new(&data[..]).is_ok_and(|mut d| d.read_to_end(&mut plain).is_ok());
            if whole && plain.len() < 1 << 20 {
                must_equal(&[plain]);
            } else {
                assert!(written.is_err(), "{member}");
            }
            let _ = fs::remove_file(scratch.path().join("member"));
        }
    }
}
