//! Names of images in queries.

/// `repo` and `tag` together; none where there is no `repo`. The tag may be a digest.
pub(in crate::routes) fn join(repo: &str, tag: &str) -> Option<String> {
    if repo.is_empty() {
        return None;
    }
    if tag.is_empty() {
        return Some(repo.to_owned());
    }
    // What `repo` says itself, `tag` replaces.
    let name = crate::matching::without_tag(repo);
    let separator = if tag.contains(':') { '@' } else { ':' };
    Some(format!("{name}{separator}{tag}"))
}

/// Whether a name has neither tag nor digest.
pub(in crate::routes) fn is_name_only(reference: &str) -> bool {
    crate::matching::without_tag(reference) == reference
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_joined() {
        for (repo, tag, joined) in [
            ("", "x", None),
            ("a", "", Some("a")),
            ("a", "1", Some("a:1")),
            ("a:1", "2", Some("a:2")),
            ("h:5000/a", "2", Some("h:5000/a:2")),
            ("a", "sha256:00", Some("a@sha256:00")),
            ("a@sha256:00", "", Some("a@sha256:00")),
        ] {
            assert_eq!(join(repo, tag).as_deref(), joined);
        }
        assert!(is_name_only("h:5000/a"));
        assert!(!is_name_only("a:1"));
        assert!(!is_name_only("a@sha256:00"));
    }
}
