//! Paths of `cp`, by Docker's rules: what a trailing slash or `/.` means, and what things are called
//! where they go.

use crate::error::{Error, Result};

/// One end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End<'a> {
    /// A container, and a path in it.
    Container(&'a str, &'a str),
    /// A path here, or `-`.
    Here(&'a str),
}

impl<'a> End<'a> {
    /// A path with a slash, or a dot in front, is here; else what is before a colon is a container.
    pub(super) fn parse(text: &'a str) -> Self {
        if text.starts_with(['/', '.']) {
            return Self::Here(text);
        }
        match text.split_once(':') {
            Some((container, path)) if !container.is_empty() => Self::Container(container, path),
            _ => Self::Here(text),
        }
    }
}

/// Whether a path says that it is a directory.
pub(super) fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path == "."
}

/// A path without `.`, `..` and double slashes, made absolute from the root, with a trailing `/` or
/// `/.` kept.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    if path.ends_with("/.") || path == "." {
        clean.push_str(if clean == "/" { "." } else { "/." });
    } else if path.ends_with('/') && clean != "/" {
        clean.push('/');
    }
    clean
}

/// The directory that a clean path's last part is in, and that part; `.` where the path ends so.
pub(super) fn split(path: &str) -> (String, String) {
    if let Some(directory) = path.strip_suffix("/.") {
        let directory = if directory.is_empty() { "/" } else { directory };
        return (directory.to_owned(), ".".to_owned());
    }
    let path = path.trim_end_matches('/');
    match path.rsplit_once('/') {
        Some(("", base)) => ("/".to_owned(), base.to_owned()),
        Some((directory, base)) => (directory.to_owned(), base.to_owned()),
        // The root itself.
        None => ("/".to_owned(), "/".to_owned()),
    }
}

/// Something that may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Info {
    /// Clean.
    pub(super) path: String,
    pub(super) exists: bool,
    pub(super) is_directory: bool,
}

/// Where an archive is unpacked, and what its first name is replaced by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) directory: String,
    pub(super) rename: Option<String>,
}

/// Decides (moby's `archive.PrepareArchiveCopy`).
pub(super) fn plan(source_is_directory: bool, target: &Info) -> Result<Plan> {
    if target.exists && target.is_directory {
        return Ok(Plan {
            directory: target.path.clone(),
            rename: None,
        });
    }
    if target.exists && source_is_directory {
        return Err(Error::usage(format!(
            "cannot copy a directory to the file {}",
            target.path
        )));
    }
    if !target.exists && !source_is_directory && asserts_directory(&target.path) {
        return Err(Error::advice(
            format!("the directory {} does not exist", target.path),
            "make it first, or leave the slash at the end away to make a file of that name",
        ));
    }
    let (directory, base) = split(&target.path);
    if base == "." {
        // `missing/.`: what the directory will be called is what is before.
        let (directory, base) = split(&directory);
        return Ok(Plan {
            directory,
            rename: Some(base),
        });
    }
    Ok(Plan {
        directory,
        rename: Some(base),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        assert_eq!(End::parse("web:/etc"), End::Container("web", "/etc"));
        assert_eq!(End::parse("web:"), End::Container("web", ""));
        assert_eq!(End::parse("./a:b"), End::Here("./a:b"));
        assert_eq!(End::parse("/a:b"), End::Here("/a:b"));
        assert_eq!(End::parse("a"), End::Here("a"));
        assert_eq!(End::parse("-"), End::Here("-"));
        assert_eq!(End::parse(":x"), End::Here(":x"));
    }

    #[test]
    fn paths_are_cleaned_and_split() {
        for (path, expected, directory, base) in [
            ("a/b", "/a/b", "/a", "b"),
            ("/a//b/", "/a/b/", "/a", "b"),
            ("/a/./b/.", "/a/b/.", "/a/b", "."),
            ("/", "/", "/", "/"),
            ("/.", "/.", "/", "."),
            (".", "/.", "/", "."),
            ("", "/", "/", "/"),
            ("/a/..", "/", "/", "/"),
            ("../a", "/a", "/", "a"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
            assert_eq!(
                split(expected),
                (directory.to_owned(), base.to_owned()),
                "{path}"
            );
        }
    }

    #[test]
    fn plans_are_dockers() {
        let plan = |directory, path: &str, exists, is_directory| {
            let target = Info {
                path: path.to_owned(),
                exists,
                is_directory,
            };
            plan(directory, &target)
                .ok()
                .map(|plan| (plan.directory, plan.rename))
        };
        let some = |directory: &str, rename: Option<&str>| {
            Some((directory.to_owned(), rename.map(str::to_owned)))
        };
        assert_eq!(plan(false, "/d", true, true), some("/d", None));
        assert_eq!(plan(true, "/d", true, true), some("/d", None));
        assert_eq!(plan(true, "/f", true, false), None);
        assert_eq!(plan(false, "/d/f", true, false), some("/d", Some("f")));
        assert_eq!(plan(true, "/d/new", false, false), some("/d", Some("new")));
        assert_eq!(plan(true, "/d/new/", false, false), some("/d", Some("new")));
        assert_eq!(
            plan(true, "/d/new/.", false, false),
            some("/d", Some("new"))
        );
        assert_eq!(plan(false, "/d/new", false, false), some("/d", Some("new")));
        assert_eq!(plan(false, "/d/new/", false, false), None);
    }
}
