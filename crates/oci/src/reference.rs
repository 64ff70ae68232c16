//! Image names: the grammar of distribution/reference, and Docker's short forms of them.
//!
//! ```text
//! reference := name [ ":" tag ] [ "@" digest ]
//! name      := domain "/" path
//! domain    := ( label *( "." label ) | "[" ipv6 "]" ) [ ":" port ]
//! path      := component *( "/" component )
//! component := [a-z0-9]+ *( ( "." | "_" | "__" | "-"+ ) [a-z0-9]+ )
//! tag       := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
//! ```

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

use crate::Digest;
use crate::DigestError;
use crate::limits;

/// The domain of names that have none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of references that have neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// Far more than any valid reference has; longer texts are not looked at.
const MAX_TEXT: usize = 4096;

/// Why a text is not a reference; the texts are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// A tag that does not follow the grammar.
    #[error("invalid tag format")]
    Tag,
    /// An upper-case letter in the path.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// No name at all.
    #[error("invalid reference format: repository name must have at least one component")]
    Empty,
    /// More than [`limits::NAME_BYTES`].
    #[error(
        "invalid reference format: repository name must not be more than {max} characters",
        max = limits::NAME_BYTES
    )]
    TooLong,
    /// A name that looks like an id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// A digest that is not valid.
    #[error("invalid reference format: {0}")]
    Digest(#[from] DigestError),
}

/// A fully qualified image name: domain, path, and a tag or a digest or both.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses a name as users write it: `busybox` is `docker.io/library/busybox:latest`.
    ///
    /// A reference without tag and digest gets the tag [`DEFAULT_TAG`].
    pub fn parse_normalized(text: &str) -> Result<Self, ReferenceError> {
        let mut this = Self::parse_named(text)?;
        if this.tag.is_none() && this.digest.is_none() {
            this.tag = Some(DEFAULT_TAG.into());
        }
        Ok(this)
    }

    /// Parses a name as users write it, and adds no tag: `busybox` is `docker.io/library/busybox`.
    ///
    /// Commands need it where no tag means all of them.
    pub fn parse_named(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_TEXT {
            return Err(ReferenceError::TooLong);
        }
        if is_identifier(text) {
            return Err(ReferenceError::Identifier(text.into()));
        }
        let (domain, rest) = split_domain(text);
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest, None),
        };
        let (remote, tag) = match rest.split_once(':') {
            Some((remote, tag)) => (remote, Some(tag)),
            None => (rest, None),
        };
        let path = if domain == DEFAULT_DOMAIN && !remote.contains('/') {
            format!("{OFFICIAL}{remote}")
        } else {
            remote.to_owned()
        };
        if path.bytes().any(|b| b.is_ascii_uppercase()) && is_path(&path.to_ascii_lowercase()) {
            return Err(ReferenceError::Uppercase(path));
        }
        if !is_domain(domain) || !is_path(&path) || !tag.is_none_or(is_tag) {
            return Err(ReferenceError::Format);
        }
        if path.len() > limits::NAME_BYTES || domain.len() > limits::NAME_BYTES {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self {
            domain: domain.to_owned(),
            path,
            tag: tag.map(str::to_owned),
            digest: digest.map(parse_digest).transpose()?,
        })
    }

    /// The registry, with its port: `docker.io`, `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry: `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path, without tag and digest: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The same name with neither tag nor digest.
    pub fn without_tag_and_digest(&self) -> Self {
        Self {
            tag: None,
            digest: None,
            ..self.clone()
        }
    }

    /// The same name with another tag, and without digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self {
            tag: Some(tag.into()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same name by digest, without tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The shortest text that parses to the same reference: `busybox:latest`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_suffix(&mut text);
        text
    }

    /// The shortest text of the name alone: `busybox`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        let short = match self.path.strip_prefix(OFFICIAL) {
            Some(rest) if !rest.contains('/') => rest,
            _ => &self.path,
        };
        // A path whose first part would be taken for a domain keeps its own, and so does one that
        // would be taken for an id.
        if split_domain(short).0 != DEFAULT_DOMAIN || is_identifier(short) {
            return self.name();
        }
        short.to_owned()
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

/// Splits off what is a domain by Docker's rules (`splitDockerDomain`): the part before the first
/// slash if it has a dot, a colon or an upper-case letter, or is `localhost`.
fn split_domain(text: &str) -> (&str, &str) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, text);
    };
    match first {
        LEGACY_DOMAIN => (DEFAULT_DOMAIN, rest),
        "localhost" => (first, rest),
        _ if first.contains(['.', ':']) => (first, rest),
        _ if first.bytes().any(|b| b.is_ascii_uppercase()) => (first, rest),
        _ => (DEFAULT_DOMAIN, text),
    }
}

/// Whether it is a full id, which no name may look like.
fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            if host.is_empty() || !host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            match rest.strip_prefix(':') {
                None if rest.is_empty() => return true,
                None => return false,
                Some(port) => (None, Some(port)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    host.is_none_or(|host| host.split('.').all(is_label)) && port.is_none_or(is_port)
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().copied().is_some_and(is_word) || !bytes.last().copied().is_some_and(is_word) {
        return false;
    }
    bytes.split(|&b| is_word(b)).all(|gap| {
        matches!(gap, [] | [b'.'] | [b'_'] | [b'_', b'_']) || gap.iter().all(|&b| b == b'-')
    })
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= limits::TAG_BYTES
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

/// The grammar's digest is laxer than what a digest must be: what fails the former is a bad
/// reference, what fails the latter a bad digest.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Format)?;
    let is_part = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let well_formed = algorithm.split(['+', '.', '_', '-']).all(is_part)
        && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if !well_formed {
        return Err(ReferenceError::Format);
    }
    Ok(Digest::parse(text)?)
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// As [`Reference::parse_normalized`].
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse_normalized(text)
    }
}

/// The full text: `docker.io/library/busybox:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_suffix(&mut text);
        f.pad(&text)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    /// Adds no tag: what was written is what is read.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse_named(&text).map_err(serde::de::Error::custom)
    }
}
