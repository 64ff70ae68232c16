//! Unpacks a layer (plain, gzip or zstd), and has `tar` do the same for comparison:
//!
//! ```text
//! cargo run --release -p coracle-snapshot --example unpack -- LAYER [DIRECTORY [ROUNDS]]
//! ```
//! Prints the seconds of each round and the ratio of the medians. Each unpacks into a fresh
//! directory below DIRECTORY (default: the temporary one), and what is dirty is written to disk
//! before the clock starts. `tar` gets `-z` or `--zstd` as the layer needs.
//!
//! Nothing is deleted before the end: for five minutes ext4 searches long for an inode where many
//! were freed (`recently_deleted` in its allocator), which hits whoever comes next.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use coracle_archive::{Compression, Decompressor};
use coracle_oci::Digester;
use coracle_snapshot::{Options, Snapshots};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let layer = PathBuf::from(args.next().ok_or("which layer?")?);
    let base = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds: usize = match args.next() {
        Some(rounds) => rounds
            .to_str()
            .and_then(|r| r.parse().ok())
            .ok_or("how many rounds?")?,
        None => 3,
    };
    let mut source = Decompressor::new(File::open(&layer)?)?;
    let compression = source.compression();
    let mut digester = Digester::sha256();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let len = source.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        digester.update(&buffer[..len]);
    }
    println!("{} bytes uncompressed", digester.bytes());
    let diff_id = digester.finish();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let top = base.join(format!("coracle-unpack-{}", std::process::id()));
    fs::create_dir(&top)?;
    for round in 0..rounds {
        let dir = top.join(format!("tar-{round}"));
        theirs.push(timed("tar", &dir, || {
            let mut tar = Command::new("tar");
            match compression {
                Compression::None => tar.arg("-xf"),
                Compression::Gzip => tar.arg("-xzf"),
                Compression::Zstd => tar.args(["--zstd", "-xf"]),
            };
            let status = tar.arg(&layer).arg("-C").arg(&dir).status()?;
            if status.success() {
                Ok(())
            } else {
                Err("tar failed".into())
            }
        })?);
        let dir = top.join(format!("coracle-{round}"));
        ours.push(timed("coracle", &dir, || {
            let snapshots = Snapshots::open(&dir, Options::default())?;
            let found = snapshots.prepare_layer(&diff_id, None, &diff_id, File::open(&layer)?)?;
            println!("  {} entries", found.entries);
            Ok(())
        })?);
    }
    println!(
        "coracle/tar: {:.2}",
        median(&mut ours) / median(&mut theirs)
    );
    fs::remove_dir_all(&top)?;
    Ok(())
}

fn timed(
    who: &str,
    dir: &Path,
    run: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    fs::create_dir(dir)?;
    Command::new("sync").status()?;
    let start = Instant::now();
    run()?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{who}: {seconds:.2} s");
    Command::new("sync").status()?;
    Ok(seconds)
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or_default()
}
