//! Writes the disk images that a container in a virtual machine has:
//!
//! ```text
//! cargo run --release -p coracle-disk --example images -- erofs LAYOUT OUT
//! cargo run --release -p coracle-disk --example images -- ext4 OUT MEBIBYTES [JOURNAL MEBIBYTES]
//! ```
//! LAYOUT is the directory of an OCI layout with one image. Prints the seconds that it took.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use coracle_archive::Decompressor;
use coracle_disk::{ErofsOptions, Ext4Options, format_ext4, write_erofs};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let start = Instant::now();
    match args.as_slice() {
        ["erofs", layout, out] => {
            let layers = layers(Path::new(layout))?;
            let file = File::create(out)?;
            let mut open = |layer: usize| {
                let path = layers.get(layer).ok_or(std::io::ErrorKind::NotFound)?;
                let reader = Decompressor::new(File::open(path)?).map_err(std::io::Error::other)?;
                Ok(Box::new(reader) as Box<dyn std::io::Read>)
            };
            let info = write_erofs(&file, layers.len(), &mut open, &ErofsOptions::default())?;
            println!("{info:?}");
        }
        ["ext4", out, size, rest @ ..] => {
            let file = File::create(out)?;
            let mut options = Ext4Options::default();
            if let [journal] = rest {
                options.journal = match journal.parse::<u64>()? {
                    0 => None,
                    journal => Some(journal << 20),
                };
            }
            format_ext4(&file, size.parse::<u64>()? << 20, &options)?;
        }
        _ => return Err("what shall be written?".into()),
    }
    println!("{:.4} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// The layers of a layout's first image, bottom first.
fn layers(layout: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let blob = |digest: &serde_json::Value| {
        let digest = digest.as_str().unwrap_or_default().replace(':', "/");
        layout.join("blobs").join(digest)
    };
    let mut document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json"))?)?;
    while let Some(first) = document["manifests"].get(0) {
        document = serde_json::from_slice(&std::fs::read(blob(&first["digest"]))?)?;
    }
    let layers = document["layers"].as_array().ok_or("no layers")?;
    Ok(layers.iter().map(|layer| blob(&layer["digest"])).collect())
}
