//! `WWW-Authenticate` (RFC 9110 section 11.6.1, RFC 6750 section 3).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Bytes of one header that are looked at.
const HEADER_BYTES: usize = 8 << 10;
/// Challenges, and parameters of one, that are looked at.
const MANY: usize = 16;

/// One way to authenticate that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where to get a token, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scopes: Vec<String>,
    /// Such as `insufficient_scope` or `invalid_token`.
    pub(crate) error: Option<String>,
}

/// All usable challenges of an answer; what can't be understood is left out.
pub(crate) fn parse(headers: &HeaderMap) -> Vec<Challenge> {
    let mut found = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE).iter().take(MANY) {
        if let Ok(text) = value.to_str()
            && text.len() <= HEADER_BYTES
        {
            parse_header(text, &mut found);
        }
    }
    found.truncate(MANY);
    found
}

fn parse_header(text: &str, found: &mut Vec<Challenge>) {
    let mut cursor = Cursor(text);
    // A header is a list of `scheme [param *( "," param )]`, itself separated by commas: a token
    // that isn't followed by `=` starts the next challenge.
    while found.len() < MANY {
        cursor.skip_blanks_and_commas();
        let Some(scheme) = cursor.token() else { return };
        let mut parameters = Vec::new();
        while parameters.len() < MANY {
            let before = cursor.0;
            cursor.skip_blanks_and_commas();
            match cursor.parameter() {
                Some(parameter) => parameters.push(parameter),
                None => {
                    cursor.0 = before;
                    break;
                }
            }
        }
        if let Some(challenge) = challenge(scheme, parameters) {
            found.push(challenge);
        }
    }
}

fn challenge(scheme: &str, parameters: Vec<(&str, String)>) -> Option<Challenge> {
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut bearer = Bearer::default();
    for (name, value) in parameters {
        match name.to_ascii_lowercase().as_str() {
            "realm" => bearer.realm = value,
            "service" => bearer.service = Some(value),
            "scope" => {
                bearer.scopes = value
                    .split_ascii_whitespace()
                    .take(MANY)
                    .map(str::to_owned)
                    .collect();
            }
            "error" => bearer.error = Some(value),
            _ => {}
        }
    }
    (!bearer.realm.is_empty()).then_some(Challenge::Bearer(bearer))
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip_blanks_and_commas(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.0.find(|c| !is_token(c)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at_checked(end)?;
        if token.is_empty() {
            return None;
        }
        self.0 = rest;
        Some(token)
    }

    fn parameter(&mut self) -> Option<(&'a str, String)> {
        let name = self.token()?;
        self.skip_blanks();
        self.0 = self.0.strip_prefix('=')?;
        self.skip_blanks();
        match self.0.strip_prefix('"') {
            Some(rest) => {
                self.0 = rest;
                Some((name, self.quoted()?))
            }
            None => Some((name, self.token()?.to_owned())),
        }
    }

    /// The rest of a quoted string, whose opening quote was taken.
    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut characters = self.0.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.0 = self.0.get(at + 1..)?;
                    return Some(value);
                }
                '\\' => value.push(characters.next()?.1),
                c => value.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Vec<Challenge> {
        let mut found = Vec::new();
        parse_header(text, &mut found);
        found
    }

    #[test]
    fn real_headers() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull",error="insufficient_scope""#;
        let expected = Bearer {
            realm: "https://auth.docker.io/token".into(),
            service: Some("registry.docker.io".into()),
            scopes: vec!["repository:library/busybox:pull".into()],
            error: Some("insufficient_scope".into()),
        };
        assert_eq!(parsed(hub), [Challenge::Bearer(expected)]);
        assert_eq!(parsed(r#"Basic realm="basic-realm""#), [Challenge::Basic]);
        assert_eq!(parsed("basic"), [Challenge::Basic]);
        let several = r#"Negotiate, Basic realm="a, b\"c", bearer REALM = https , service=x"#;
        let bearer = Bearer {
            realm: "https".into(),
            service: Some("x".into()),
            ..Bearer::default()
        };
        assert_eq!(
            parsed(several),
            [Challenge::Basic, Challenge::Bearer(bearer)]
        );
    }

    #[test]
    fn hostile_headers() {
        for text in [
            "",
            ",,,,",
            "Bearer",
            "Bearer realm",
            "Bearer realm=",
            "Bearer realm=\"",
            "Bearer realm=\"\\",
            "Bearer service=\"x\"",
            "=",
            "\"",
            "Digest realm=\"x\"",
        ] {
            assert_eq!(parsed(text), [], "{text}");
        }
        assert!(parsed(&"Basic,".repeat(10_000)).len() <= MANY);
        let mut headers = HeaderMap::new();
        headers.append(
            WWW_AUTHENTICATE,
            http::HeaderValue::from_bytes(b"Basic \xff").unwrap(),
        );
        headers.append(
            WWW_AUTHENTICATE,
            "x".repeat(HEADER_BYTES + 1).parse().unwrap(),
        );
        assert_eq!(parse(&headers), []);
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            parsed(&text);
        }

        #[test]
        fn quoting_round_trips(realm in "[ -~]{1,40}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let expected = Challenge::Bearer(Bearer { realm, ..Bearer::default() });
            prop_assert_eq!(parsed(&format!("Bearer realm=\"{quoted}\"")), [expected]);
        }
    }
}
