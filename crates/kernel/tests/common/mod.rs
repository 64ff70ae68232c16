//! What the tests of this crate share.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the kernel that `kernel/build` made, if one is there.
pub(crate) fn built() -> Option<PathBuf> {
    kept("kernel/build", &["--kept"])
}

/// Debian's package, if the fixture is there.
pub(crate) fn package() -> Option<PathBuf> {
    let folder = kept("fixtures/kernel", &["--kept"])?;
    let mut entries = std::fs::read_dir(folder).ok()?.flatten();
    entries
        .find(|entry| entry.path().extension().is_some_and(|end| end == "deb"))
        .map(|entry| entry.path())
}

fn kept(script: &str, arguments: &[&str]) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(root.join(script))
        .args(arguments)
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    let found = output.status.success() && path.is_dir();
    if !found {
        eprintln!("skipped: no kernel by {script}");
    }
    found.then_some(path)
}
