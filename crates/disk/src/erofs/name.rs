//! Names in archives, and what they mean in a layer.

use coracle_archive::{Error, Result};

use crate::error::shown;

/// What a whiteout's name starts with (OCI image specification, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";

/// What the names of aufs's own files start with.
const AUFS: &[u8] = b".wh..wh.";

/// The name that makes its directory opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A name from an archive: relative to the root, without `.` and `..`. Empty for the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(Vec<u8>);

impl Name {
    /// Makes an archive's name normal; absolute ones are taken as relative to the root.
    pub(super) fn clean(raw: &[u8]) -> Result<Name> {
        if raw.contains(&0) {
            return Err(Error::InvalidName {
                path: shown(raw),
                reason: "it has a NUL in it",
            });
        }
        let mut bytes = Vec::with_capacity(raw.len());
        for part in raw.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." if bytes.is_empty() => return Err(Error::Breakout { path: shown(raw) }),
                b".." => {
                    let end = bytes.iter().rposition(|b| *b == b'/');
                    bytes.truncate(end.unwrap_or_default());
                }
                _ => {
                    if !bytes.is_empty() {
                        bytes.push(b'/');
                    }
                    bytes.extend_from_slice(part);
                }
            }
        }
        Ok(Name(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of the directory that it is in, and the name there.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        match self.0.iter().rposition(|b| *b == b'/') {
            None => (&[], &self.0),
            Some(slash) => {
                let (parent, base) = self.0.split_at(slash);
                (parent, base.get(1..).unwrap_or_default())
            }
        }
    }
}

/// What a name means in a layer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    Entry,
    /// Hides this name of the same directory.
    Whiteout(&'a [u8]),
    /// Hides everything below in its directory.
    Opaque,
    /// Nothing: aufs's own business.
    Aufs,
}

pub(super) fn meaning(name: &Name) -> Result<Meaning<'_>> {
    let base = name.split().1;
    if base == OPAQUE {
        return Ok(Meaning::Opaque);
    }
    let mut parts = name.0.split(|b| *b == b'/');
    if parts.any(|part| part.starts_with(AUFS)) {
        return Ok(Meaning::Aufs);
    }
    match base.strip_prefix(WHITEOUT) {
        None => Ok(Meaning::Entry),
        Some(b"" | b"." | b"..") => Err(Error::InvalidName {
            path: shown(&name.0),
            reason: "a whiteout must name a file of its directory",
        }),
        Some(hidden) => Ok(Meaning::Whiteout(hidden)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(raw: &str) -> String {
        String::from_utf8(Name::clean(raw.as_bytes()).unwrap().0).unwrap()
    }

    #[test]
    fn names_are_normal() {
        assert_eq!(clean("./a//b/./c/"), "a/b/c");
        assert_eq!(clean("/a/../b"), "b");
        assert_eq!(clean("a/b/../../c"), "c");
        assert_eq!(clean("./"), "");
        for bad in ["..", "/../a", "a/../../b"] {
            assert!(matches!(
                Name::clean(bad.as_bytes()),
                Err(Error::Breakout { .. })
            ));
        }
        assert!(Name::clean(b"a\0").is_err());
    }

    #[test]
    fn whiteouts_are_recognised() {
        let of = |raw: &str| format!("{:?}", meaning(&Name::clean(raw.as_bytes()).unwrap()).ok());
        assert_eq!(of("a/b"), "Some(Entry)");
        assert_eq!(of("a/.wh..wh..opq"), "Some(Opaque)");
        assert_eq!(of("a/.wh..wh.plnk/x"), "Some(Aufs)");
        assert_eq!(
            of("a/.wh..b"),
            format!("{:?}", Some(Meaning::Whiteout(b".b")))
        );
        assert_eq!(of(".wh."), "None");
        assert_eq!(of(".wh..."), "None");
    }
}
