//! URLs as registries and configurations give them, checked before they are used.

use http::Uri;
use http::uri::Authority;
use http::uri::Scheme;

/// Whether both go to the same scheme, host and port: what may see the same credentials.
pub(crate) fn same_origin(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme()
        && a.port_or_default() == b.port_or_default()
        && match (a.host(), b.host()) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
}

/// The port, given or implied.
pub(crate) trait Port {
    fn port_or_default(&self) -> Option<u16>;
}

impl Port for Uri {
    fn port_or_default(&self) -> Option<u16> {
        self.port_u16().or_else(|| default_port(self.scheme()))
    }
}

fn default_port(scheme: Option<&Scheme>) -> Option<u16> {
    match scheme {
        Some(scheme) if *scheme == Scheme::HTTPS => Some(443),
        Some(scheme) if *scheme == Scheme::HTTP => Some(80),
        _ => None,
    }
}

/// An absolute `http` or `https` URL without user information.
pub(crate) fn absolute(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "not a valid URL")?;
    if default_port(uri.scheme()).is_none() {
        return Err("neither an http:// nor an https:// URL");
    }
    match uri.authority() {
        Some(authority) => check_authority(authority)?,
        None => return Err("a URL without a host"),
    }
    Ok(uri)
}

fn check_authority(authority: &Authority) -> Result<(), &'static str> {
    if authority.as_str().contains('@') {
        return Err("a URL with user information");
    }
    if authority.host().is_empty() {
        return Err("a URL without a host");
    }
    // `Authority` takes any text after the last colon; only a number is a port.
    let port = authority
        .as_str()
        .get(authority.host().len()..)
        .unwrap_or_default();
    if !port.is_empty() && authority.port_u16().is_none() {
        return Err("a URL with an invalid port");
    }
    Ok(())
}

/// Resolves a `Location` header against the URL that answered with it (RFC 3986 section 5.2,
/// without dot segments, which no registry sends).
pub(crate) fn resolve(base: &Uri, location: &str) -> Result<Uri, &'static str> {
    let location = location.split('#').next().unwrap_or_default();
    if location.contains("://") && !location.starts_with('/') {
        return absolute(location);
    }
    let (Some(scheme), Some(authority)) = (base.scheme_str(), base.authority()) else {
        return Err("relative to a URL without a host");
    };
    if location.starts_with("//") {
        return absolute(&format!("{scheme}:{location}"));
    }
    if location.starts_with('/') {
        return absolute(&format!("{scheme}://{authority}{location}"));
    }
    if location.is_empty() {
        return Err("empty");
    }
    let path = base.path();
    if location.starts_with('?') {
        return absolute(&format!("{scheme}://{authority}{path}{location}"));
    }
    let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
    absolute(&format!("{scheme}://{authority}{folder}{location}"))
}

/// Adds `name=value` to the query. The value is percent-encoded.
pub(crate) fn with_query(uri: &Uri, pairs: &[(&str, &str)]) -> Result<Uri, &'static str> {
    let mut text = uri.to_string();
    for (name, value) in pairs {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(name);
        text.push('=');
        encode(&mut text, value);
    }
    text.parse().map_err(|_| "not a valid URL")
}

/// Percent-encodes everything but the unreserved characters (RFC 3986 section 2.3).
pub(crate) fn encode(out: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// `host[:port]` for messages.
pub(crate) fn host(uri: &Uri) -> String {
    uri.authority().map_or_else(String::new, |authority| {
        let text = authority.as_str();
        text.rsplit('@').next().unwrap_or(text).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_resolve() {
        let base: Uri = "https://r.example:5000/v2/a/blobs/uploads/?x=1"
            .parse()
            .unwrap();
        let cases = [
            ("/v2/b?state=1", "https://r.example:5000/v2/b?state=1"),
            ("https://cdn.example/x#frag", "https://cdn.example/x"),
            ("//cdn.example/x", "https://cdn.example/x"),
            (
                "uuid?y=2",
                "https://r.example:5000/v2/a/blobs/uploads/uuid?y=2",
            ),
            ("?z=3", "https://r.example:5000/v2/a/blobs/uploads/?z=3"),
            (
                "/a?next=http://b/",
                "https://r.example:5000/a?next=http://b/",
            ),
        ];
        for (location, expected) in cases {
            assert_eq!(
                resolve(&base, location).unwrap().to_string(),
                expected,
                "{location}"
            );
        }
        for bad in [
            "",
            "ftp://x/",
            "file:///etc/passwd",
            "https://user:pw@x/",
            "https://",
            "http://x:99999/",
            "http://x:a/",
            "/a b",
        ] {
            assert!(resolve(&base, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins() {
        let same = |a: &str, b: &str| same_origin(&a.parse().unwrap(), &b.parse().unwrap());
        assert!(same("https://A.example/x", "https://a.example:443/y"));
        assert!(!same("https://a.example/", "http://a.example/"));
        assert!(!same("https://a.example/", "https://a.example:444/"));
        assert!(!same("https://a.example/", "https://b.a.example/"));
    }

    #[test]
    fn queries_are_encoded() {
        let uri = "https://r/v2/?a=1".parse().unwrap();
        let uri = with_query(&uri, &[("digest", "sha256:0a"), ("from", "a/b&c d")]).unwrap();
        assert_eq!(
            uri,
            "https://r/v2/?a=1&digest=sha256%3A0a&from=a%2Fb%26c%20d"
        );
    }
}
