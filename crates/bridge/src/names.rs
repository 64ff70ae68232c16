//! Names that become parts of paths. None may become another route: clients escape what is special in
//! a path, but engines clean paths first, and image names have slashes of their own.

use coracle_runtime::{Result, RuntimeError};

/// A container's name or id, without the leading slash that users may type.
pub(crate) fn container(name: &str) -> Result<&str> {
    let plain = name.strip_prefix('/').unwrap_or(name);
    if is_one_part(plain) {
        Ok(plain)
    } else {
        Err(RuntimeError::no_such_container(name))
    }
}

/// A container's name, or what another one's legacy link calls it (`other/alias`): where no verb follows
/// that could be taken for one.
pub(crate) fn linked(name: &str) -> Result<&str> {
    let plain = name.strip_prefix('/').unwrap_or(name);
    match plain.split_once('/') {
        Some((parent, alias)) if is_one_part(parent) && is_one_part(alias) => Ok(plain),
        _ => container(name),
    }
}

/// An exec's id.
pub(crate) fn exec(id: &str) -> Result<&str> {
    if is_one_part(id) {
        Ok(id)
    } else {
        Err(RuntimeError::no_such_exec(id))
    }
}

/// A network's name or id.
pub(crate) fn network(name: &str) -> Result<&str> {
    if is_one_part(name) {
        Ok(name)
    } else {
        Err(RuntimeError::NotFound(format!("network {name} not found")))
    }
}

/// A secret's or config's name or id; `what` says which.
pub(crate) fn secret<'a>(what: &str, name: &'a str) -> Result<&'a str> {
    if is_one_part(name) {
        Ok(name)
    } else {
        Err(RuntimeError::NotFound(format!("{what} {name} not found")))
    }
}

/// A volume's name.
pub(crate) fn volume(name: &str) -> Result<&str> {
    if is_one_part(name) {
        Ok(name)
    } else {
        Err(RuntimeError::NotFound(format!(
            "get {name}: no such volume"
        )))
    }
}

/// An image's name or id.
pub(crate) fn image(name: &str) -> Result<&str> {
    if name.split('/').all(is_one_part) {
        Ok(name)
    } else {
        Err(RuntimeError::no_such_image(name))
    }
}

fn is_one_part(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains('/')
}

/// A reference's name and its tag or digest, which may be empty. Engines take the two apart, and an
/// empty part for none.
pub(crate) fn split_image(reference: &str) -> Result<(&str, &str)> {
    let (name, tag) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => match reference.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (reference, None),
        },
    };
    if name.is_empty() || tag.is_some_and(str::is_empty) {
        return Err(RuntimeError::InvalidArgument(
            "invalid reference format".into(),
        ));
    }
    Ok((name, tag.unwrap_or_default()))
}

/// The same of a reference that may be missing.
pub(crate) fn split_optional(reference: Option<&str>) -> Result<(&str, &str)> {
    reference.map_or(Ok(("", "")), split_image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_another_route() {
        assert_eq!(container("/web"), Ok("web"));
        for bad in ["", "/", "a/b", "..", ".", "//a", "../images/x"] {
            assert_eq!(container(bad).unwrap_err().status(), 404, "{bad}");
            assert_eq!(volume(bad).unwrap_err().status(), 404, "{bad}");
        }
        assert_eq!(image("localhost:5000/a/b:1"), Ok("localhost:5000/a/b:1"));
        for bad in ["", "a//b", "../containers/x", "a/./b", "a/"] {
            assert!(
                matches!(image(bad), Err(RuntimeError::ImageNotFound(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn tags_and_digests_are_split_off() {
        for (reference, name, tag) in [
            ("a", "a", ""),
            ("a:1", "a", "1"),
            ("h:5000/a", "h:5000/a", ""),
            ("h:5000/a:1", "h:5000/a", "1"),
            ("a@sha256:00", "a", "sha256:00"),
        ] {
            assert_eq!(split_image(reference), Ok((name, tag)));
        }
        for bad in ["", "a:", ":1", "a@", "@sha256:00"] {
            assert!(split_image(bad).is_err(), "{bad}");
        }
        assert_eq!(split_optional(None), Ok(("", "")));
    }
}
