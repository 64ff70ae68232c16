//! Names of images, taken apart as far as requests need it.

/// A name with its tag or digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    pub(super) repository: &'a str,
    /// Tag or digest; empty where there is none.
    pub(super) tag: &'a str,
}

/// Takes a name apart; what is wrong with it the daemon says.
pub(super) fn split(name: &str) -> Reference<'_> {
    if let Some((repository, digest)) = name.split_once('@') {
        return Reference {
            repository,
            tag: digest,
        };
    }
    let path = name.rfind('/').map_or(0, |at| at + 1);
    match name.get(path..).and_then(|last| last.rfind(':')) {
        Some(colon) => Reference {
            repository: name.get(..path + colon).unwrap_or_default(),
            tag: name.get(path + colon + 1..).unwrap_or_default(),
        },
        None => Reference {
            repository: name,
            tag: "",
        },
    }
}

impl<'a> Reference<'a> {
    /// With `latest` where there is no tag.
    pub(super) fn or_latest(self) -> Self {
        if self.tag.is_empty() {
            Self {
                tag: "latest",
                ..self
            }
        } else {
            self
        }
    }
}

/// `name:tag`, or `name@digest`.
impl std::fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.tag.contains(':') { "@" } else { ":" };
        write!(f, "{}{mark}{}", self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (name, repository, tag) in [
            ("a", "a", ""),
            ("a:1", "a", "1"),
            ("h:5000/a", "h:5000/a", ""),
            ("h:5000/a:1", "h:5000/a", "1"),
            ("a@sha256:1", "a", "sha256:1"),
            ("a:1@sha256:1", "a:1", "sha256:1"),
        ] {
            assert_eq!(split(name), Reference { repository, tag }, "{name}");
        }
        assert_eq!(split("a").or_latest().to_string(), "a:latest");
        assert_eq!(split("a@sha256:1").or_latest().to_string(), "a@sha256:1");
    }
}
