//! Test images, made by `fixtures/make` and kept outside the repository.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The folder of a test image; it is made now if it isn't there yet.
///
/// # Panics
/// If it can't be made.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    static KNOWN: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_default();
    if let Some(path) = known.get(name) {
        return path.clone();
    }
    let output = Command::new(repository().join("fixtures/make"))
        .arg(name)
        .output();
    let output = output.unwrap_or_else(|error| panic!("fixtures/make: {error}"));
    assert!(
        output.status.success(),
        "fixtures/make {name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    known.insert(name.to_owned(), path.clone());
    path
}

/// The top of the work tree.
#[must_use]
pub fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The docker CLI's major version: what the tests expect of its words and flags differs a little.
#[must_use]
pub fn docker_major() -> u32 {
    let output = Command::new("docker")
        .args(["version", "-f", "{{.Client.Version}}"])
        .output();
    let text = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.split('.')
        .next()
        .and_then(|major| major.trim().parse().ok())
        .unwrap_or(0)
}

/// An executable of the project, beside the tests' own.
///
/// # Panics
/// If it isn't built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|path| panic!("{} is missing: run `make test` first", path.display()))
}

/// Where an executable of the project is; or would be.
///
/// # Errors
/// Its path, if it isn't built.
///
/// # Panics
/// If the tests' own executable is nowhere.
pub fn find(name: &str) -> Result<PathBuf, PathBuf> {
    let own = std::env::current_exe().expect("the tests' own executable");
    let dir = own
        .parent()
        .and_then(Path::parent)
        .expect("the target directory");
    let path = match std::env::var_os("CORACLE_BIN_DIR") {
        Some(dir) => PathBuf::from(dir).join(name),
        None => dir.join(name),
    };
    if path.exists() { Ok(path) } else { Err(path) }
}
