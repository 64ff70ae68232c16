//! References against the known cases of distribution/reference, and as properties.

use coracle_oci::Digest;
use coracle_oci::DigestError;
use coracle_oci::Reference;
use coracle_oci::ReferenceError;
use proptest::prelude::*;

fn hex(n: usize) -> String {
    "f".repeat(n)
}

#[test]
fn short_names() {
    for (text, full, familiar) in [
        (
            "busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "busybox:1.36",
            "docker.io/library/busybox:1.36",
            "busybox:1.36",
        ),
        (
            "library/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "docker.io/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "docker.io/library/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "index.docker.io/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "index.docker.io/library/busybox",
            "docker.io/library/busybox:latest",
            "busybox:latest",
        ),
        (
            "library/foo/bar",
            "docker.io/library/foo/bar:latest",
            "library/foo/bar:latest",
        ),
        ("tonis/test:a", "docker.io/tonis/test:a", "tonis/test:a"),
        (
            "localhost/foo",
            "localhost/foo:latest",
            "localhost/foo:latest",
        ),
        (
            "localhost:5000/foo",
            "localhost:5000/foo:latest",
            "localhost:5000/foo:latest",
        ),
        (
            "127.0.0.1:80/a/b:c",
            "127.0.0.1:80/a/b:c",
            "127.0.0.1:80/a/b:c",
        ),
        (
            "[2001:db8::1]:5000/repo",
            "[2001:db8::1]:5000/repo:latest",
            "[2001:db8::1]:5000/repo:latest",
        ),
        ("[::1]/repo", "[::1]/repo:latest", "[::1]/repo:latest"),
        ("quay.io/a/b", "quay.io/a/b:latest", "quay.io/a/b:latest"),
        ("Registry/b", "Registry/b:latest", "Registry/b:latest"),
        (
            "EXAMPLE.com/a",
            "EXAMPLE.com/a:latest",
            "EXAMPLE.com/a:latest",
        ),
        (
            "xn--n3h.com/myimage:xn--n3h.com",
            "xn--n3h.com/myimage:xn--n3h.com",
            "xn--n3h.com/myimage:xn--n3h.com",
        ),
        (
            "foo_bar.com:8080",
            "docker.io/library/foo_bar.com:8080",
            "foo_bar.com:8080",
        ),
        (
            "foo/foo_bar.com:8080",
            "docker.io/foo/foo_bar.com:8080",
            "foo/foo_bar.com:8080",
        ),
        (
            "192.168.1.1",
            "docker.io/library/192.168.1.1:latest",
            "192.168.1.1:latest",
        ),
        (
            "192.168.1.1:5000",
            "docker.io/library/192.168.1.1:5000",
            "192.168.1.1:5000",
        ),
        (
            "test.com:tag",
            "docker.io/library/test.com:tag",
            "test.com:tag",
        ),
        (
            "lowercase:Uppercase",
            "docker.io/library/lowercase:Uppercase",
            "lowercase:Uppercase",
        ),
        ("a__b", "docker.io/library/a__b:latest", "a__b:latest"),
        ("a---b", "docker.io/library/a---b:latest", "a---b:latest"),
        (
            "b.gcr.io/test.example.com/my-app",
            "b.gcr.io/test.example.com/my-app:latest",
            "b.gcr.io/test.example.com/my-app:latest",
        ),
        // Names whose short form would be read as a domain keep their own.
        (
            "docker.io/localhost/a",
            "docker.io/localhost/a:latest",
            "docker.io/localhost/a:latest",
        ),
        (
            "docker.io/a.b/c",
            "docker.io/a.b/c:latest",
            "docker.io/a.b/c:latest",
        ),
    ] {
        let reference = Reference::parse_normalized(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(reference.to_string(), full, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
    }
}

#[test]
fn parts() {
    let digest = format!("sha256:{}", hex(64));
    let reference = Reference::parse_normalized(&format!("test:5000/a/repo:tag@{digest}")).unwrap();
    assert_eq!(reference.domain(), "test:5000");
    assert_eq!(reference.path(), "a/repo");
    assert_eq!(reference.tag(), Some("tag"));
    assert_eq!(
        reference.digest().map(Digest::as_str),
        Some(digest.as_str())
    );
    assert_eq!(reference.name(), "test:5000/a/repo");
    assert_eq!(
        reference.to_string(),
        format!("test:5000/a/repo:tag@{digest}")
    );

    let by_digest = Reference::parse_normalized(&format!("repo@{digest}")).unwrap();
    assert_eq!(by_digest.tag(), None);
    assert_eq!(by_digest.familiar(), format!("repo@{digest}"));
    assert_eq!(by_digest.with_tag("x").unwrap().familiar(), "repo:x");
    assert_eq!(by_digest.with_tag("-x"), Err(ReferenceError::Tag));
    assert_eq!(
        by_digest.with_tag(&"x".repeat(129)),
        Err(ReferenceError::Tag)
    );
    assert_eq!(Reference::parse_named("repo").unwrap().tag(), None);
}

#[test]
fn refusals() {
    use ReferenceError as E;
    let cases: Vec<(String, E)> = vec![
        ("".into(), E::Empty),
        (":justtag".into(), E::Format),
        (format!("@sha256:{}", hex(64)), E::Format),
        (
            format!("repo@sha256:{}", hex(34)),
            E::Digest(DigestError::Length),
        ),
        (format!("repo@sha256:{}", hex(31)), E::Format),
        (
            format!("repo@sha256:{}", "F".repeat(64)),
            E::Digest(DigestError::Format),
        ),
        (
            format!("validname@invaliddigest:{}", hex(128)),
            E::Digest(DigestError::Unsupported),
        ),
        (format!("repo@{}", hex(64)), E::Format),
        (
            format!("repo@sha256:{}@sha256:{}", hex(64), hex(64)),
            E::Format,
        ),
        (
            "Uppercase:tag".into(),
            E::Uppercase("library/Uppercase".into()),
        ),
        (
            "test:5000/Uppercase/lowercase:tag".into(),
            E::Uppercase("Uppercase/lowercase".into()),
        ),
        ("aa/asdf$$^/aa".into(), E::Format),
        ("docker///docker".into(), E::Format),
        ("docker.io/docker/".into(), E::Format),
        ("docker.io///docker".into(), E::Format),
        ("https://github.com/docker/docker".into(), E::Format),
        ("-docker".into(), E::Format),
        ("docker-".into(), E::Format),
        ("_docker".into(), E::Format),
        ("doc..ker".into(), E::Format),
        ("doc___ker".into(), E::Format),
        ("doc._ker".into(), E::Format),
        ("-docker/docker".into(), E::Format),
        ("-docker.io/docker/docker".into(), E::Format),
        ("docker-.io/x".into(), E::Format),
        ("xn--.com/x".into(), E::Format),
        ("foo_bar.com/baz".into(), E::Format),
        ("a:b:c".into(), E::Format),
        ("a:".into(), E::Format),
        ("a: b".into(), E::Format),
        (" a".into(), E::Format),
        ("a\n".into(), E::Format),
        ("ä".into(), E::Format),
        ("..".into(), E::Format),
        ("a/../b".into(), E::Format),
        ("a.b:/c".into(), E::Format),
        ("a.b:x/c".into(), E::Format),
        ("[fe80::1%eth0]:5000/repo".into(), E::Format),
        ("[fe80::1%25eth0]:5000/repo".into(), E::Format),
        ("[2001:db8:3:4::192.0.2.33]:5000/debian".into(), E::Format),
        ("[2001:db8::1]x/debian".into(), E::Format),
        ("[:::/x".into(), E::Format),
        (format!("a:{}", "x".repeat(129)), E::Format),
        (hex(64), E::Identifier(hex(64))),
        (format!("{}a", "a/".repeat(128)), E::TooLong),
        ("a".repeat(256), E::TooLong),
        ("a".repeat(10_000), E::TooLong),
    ];
    for (text, error) in cases {
        assert_eq!(Reference::parse_normalized(&text), Err(error), "{text}");
    }
    // At the limit, the tag does not count.
    let text = format!("x.y/{}a:tag-puts-this-over-max", "a/".repeat(127));
    assert!(Reference::parse_normalized(&text).is_ok());
    // 64 hexadecimal digits with a tag or a domain are no id.
    assert!(Reference::parse_normalized(&format!("{}:a", hex(64))).is_ok());
    assert!(Reference::parse_normalized(&format!("x.y/{}", hex(64))).is_ok());
}

#[test]
fn serde_keeps_the_text() {
    let reference = Reference::parse_named("quay.io/a/b").unwrap();
    let text = serde_json::to_string(&reference).unwrap();
    assert_eq!(text, "\"quay.io/a/b\"");
    assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), reference);
    assert!(serde_json::from_str::<Reference>("\"A B\"").is_err());
}

fn reference() -> impl Strategy<Value = String> {
    let label = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,5}[a-zA-Z0-9])?";
    let domain = (
        prop::collection::vec(label, 1..4),
        prop::option::of("[0-9]{1,5}"),
    )
        .prop_map(|(labels, port)| match port {
            Some(port) => format!("{}:{port}/", labels.join(".")),
            None => format!("{}/", labels.join(".")),
        });
    let component = "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}";
    (
        prop::option::of(domain),
        prop::collection::vec(component, 1..4),
        prop::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        prop::option::of("[0-9a-f]{64}"),
    )
        .prop_map(|(domain, path, tag, digest)| {
            // Without a domain, the first part must not look like one.
            let mut text = domain.unwrap_or_else(|| "a/".into()) + &path.join("/");
            if let Some(tag) = tag {
                text = format!("{text}:{tag}");
            }
            if let Some(digest) = digest {
                text = format!("{text}@sha256:{digest}");
            }
            text
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_grammar_makes_is_read(text in reference()) {
        prop_assert!(Reference::parse_normalized(&text).is_ok(), "{}", text);
    }

    #[test]
    fn full_and_familiar_texts_mean_the_same(text in reference()) {
        let reference = Reference::parse_normalized(&text).unwrap();
        prop_assert_eq!(&Reference::parse_normalized(&reference.to_string()).unwrap(), &reference);
        prop_assert_eq!(&Reference::parse_normalized(&reference.familiar()).unwrap(), &reference);
        prop_assert!(reference.familiar().len() <= reference.to_string().len());
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        if let Ok(reference) = Reference::parse_normalized(&text) {
            prop_assert_eq!(&Reference::parse_normalized(&reference.to_string()).unwrap(), &reference);
            prop_assert!(!reference.path().contains(".."));
        }
    }

    #[test]
    fn texts_near_the_grammar_are_read_or_refused(text in "[a-cA-B0-1./:@_\\[\\]-]{0,40}") {
        if let Ok(reference) = Reference::parse_normalized(&text) {
            prop_assert_eq!(&Reference::parse_normalized(&reference.to_string()).unwrap(), &reference);
            prop_assert_eq!(&Reference::parse_normalized(&reference.familiar()).unwrap(), &reference);
        }
    }
}
