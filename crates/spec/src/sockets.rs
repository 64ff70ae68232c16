//! Unix sockets of a container that are published at a path of the host.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use coracle_runtime::spec::HostConfig;

use crate::SpecError;

/// Names sockets to publish: `HOST:CONTAINER`, separated by commas.
pub const PUBLISHED_SOCKETS_ANNOTATION: &str = "coracle.publish-sockets";

/// The most of them of one container.
const MAX_SOCKETS: usize = 64;
/// What fits an address of a unix socket, its end's zero aside.
const MAX_ADDRESS: usize = 107;
/// The kernel's limit on paths, its end's zero aside.
const MAX_PATH: usize = 4095;

/// A socket that a container serves, and that is reached from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedSocket {
    /// Where it is made on the host: absolute, without `.` and `..`, at most 107 bytes.
    pub host: PathBuf,
    /// Where the container serves it: absolute.
    pub container: String,
}

/// All sockets that a configuration asks to be published.
///
/// # Errors
/// Whatever makes no sense, by its name.
pub fn published_sockets(host: &HostConfig) -> Result<Vec<PublishedSocket>, SpecError> {
    let text = host.annotations.get(PUBLISHED_SOCKETS_ANNOTATION);
    let pairs = text.map_or("", String::as_str).split(',').map(str::trim);
    let sockets = pairs
        .filter(|pair| !pair.is_empty())
        .map(|pair| parse(pair).map_err(|why| refused(pair, why)))
        .collect::<Result<Vec<_>, _>>()?;
    if sockets.len() > MAX_SOCKETS {
        return Err(SpecError::invalid(format!(
            "too many published sockets: at most {MAX_SOCKETS} of one container"
        )));
    }
    let mut seen = BTreeSet::new();
    match sockets.iter().find(|socket| !seen.insert(&socket.host)) {
        Some(twice) => Err(refused(
            &twice.host.to_string_lossy(),
            "the host's path is named twice",
        )),
        None => Ok(sockets),
    }
}

fn parse(pair: &str) -> Result<PublishedSocket, &'static str> {
    let (host, container) = pair.split_once(':').ok_or("want HOST:CONTAINER")?;
    if container.contains(':') || pair.contains('\0') {
        return Err("want HOST:CONTAINER, without further colons");
    }
    let is_file = |path: &str| path.starts_with('/') && !path.ends_with('/');
    if !is_file(host) || !is_plain(Path::new(host)) {
        return Err("the host's path must be absolute, without . and ..");
    }
    if host.len() > MAX_ADDRESS {
        return Err("the host's path must not be longer than 107 bytes");
    }
    if !is_file(container) || container.len() > MAX_PATH {
        return Err("the container's path must be absolute");
    }
    Ok(PublishedSocket {
        host: host.into(),
        container: container.into(),
    })
}

fn is_plain(path: &Path) -> bool {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    // Components leave out a `.` in the middle.
    path.components().all(plain) && !path.to_string_lossy().contains("/./")
}

fn refused(what: &str, why: &str) -> SpecError {
    SpecError::invalid(format!("invalid published socket {what:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<PublishedSocket>, String> {
        let host = HostConfig {
            annotations: [(PUBLISHED_SOCKETS_ANNOTATION.to_owned(), text.to_owned())].into(),
            ..Default::default()
        };
        published_sockets(&host).map_err(|error| error.to_string())
    }

    #[test]
    fn pairs_of_absolute_paths_are_taken() {
        assert!(read("").unwrap().is_empty());
        let two = read("/run/a.sock:/b.sock, /run/c:/d").unwrap();
        assert_eq!(two.len(), 2);
        assert_eq!(two[0].host, Path::new("/run/a.sock"));
        assert_eq!(two[1].container, "/d");
    }

    #[test]
    fn others_are_refused() {
        let long = format!("/{}:/b", "x".repeat(107));
        for bad in [
            "/a",
            "a:/b",
            "./a:/b",
            "/a:b",
            "/a/:/b",
            "/a:/b/",
            "/a/../b:/c",
            "/a/./b:/c",
            "/a:/b:/c",
            "/a:/b,/a:/c",
            ":/b",
            "/a:",
            "/:/b",
            &long,
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains("published socket"), "{bad}: {error}");
        }
        let many: Vec<_> = (0..65).map(|number| format!("/{number}:/s")).collect();
        assert!(read(&many.join(",")).is_err());
    }
}
