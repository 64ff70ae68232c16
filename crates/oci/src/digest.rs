//! Content addresses: `algorithm:hex` (image-spec, descriptor.md, "Digests").

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde::Serializer;

/// A hash algorithm that a [`Digest`] can be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, what everybody uses.
    Sha256,
    /// SHA-384, unregistered but accepted by Docker's tools.
    Sha384,
    /// SHA-512, optional in the specification.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The number of hexadecimal digits behind the colon.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    fn ring(self) -> &'static ring::digest::Algorithm {
        match self {
            Self::Sha256 => &ring::digest::SHA256,
            Self::Sha384 => &ring::digest::SHA384,
            Self::Sha512 => &ring::digest::SHA512,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha384" => Ok(Self::Sha384),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Unsupported),
        }
    }
}

/// Why a text is not a digest; the texts are those of Docker's tools (opencontainers/go-digest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not of the form `algorithm:hex`, or digits that are not lower case hexadecimal.
    #[error("invalid checksum digest format")]
    Format,
    /// The wrong number of digits for its algorithm.
    #[error("invalid checksum digest length")]
    Length,
    /// An algorithm that is none of [`Algorithm`].
    #[error("unsupported digest algorithm")]
    Unsupported,
}

/// A validated content address such as `sha256:9f86d0…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    text: Box<str>,
}

impl Digest {
    /// Parses `algorithm:hex`.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::Format)?;
        let well_formed = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b));
        if !well_formed || hex.is_empty() {
            return Err(DigestError::Format);
        }
        let algorithm: Algorithm = name.parse()?;
        if hex.len() != algorithm.hex_len() {
            return Err(DigestError::Length);
        }
        if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError::Format);
        }
        Ok(Self {
            algorithm,
            text: text.into(),
        })
    }

    /// A digest of `algorithm` whose digits are `hex`.
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Self, DigestError> {
        Self::parse(&format!("{algorithm}:{hex}"))
    }

    /// The SHA-256 digest of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// The digest of `bytes` by `algorithm`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut digester = Digester::new(algorithm);
        digester.update(bytes);
        digester.finish()
    }

    /// Which algorithm made it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digits, without the algorithm.
    pub fn hex(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve digits, as Docker shows ids.
    pub fn short(&self) -> &str {
        self.hex().get(..12).unwrap_or_default()
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `bytes` have this digest.
    pub fn verify(&self, bytes: &[u8]) -> bool {
        Self::of(self.algorithm, bytes) == *self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for Digest {
    type Error = DigestError;

    fn try_from(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Hashes bytes as they stream by.
#[derive(Clone)]
pub struct Digester {
    algorithm: Algorithm,
    context: ring::digest::Context,
    bytes: u64,
}

impl Digester {
    /// A digester that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            context: ring::digest::Context::new(algorithm.ring()),
            bytes: 0,
        }
    }

    /// A SHA-256 digester.
    pub fn sha256() -> Self {
        Self::new(Algorithm::Sha256)
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// How many bytes were taken in.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of everything taken in.
    pub fn finish(self) -> Digest {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let value = self.context.finish();
        let mut text = String::with_capacity(8 + self.algorithm.hex_len());
        text.push_str(self.algorithm.as_str());
        text.push(':');
        for byte in value.as_ref() {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Digest {
            algorithm: self.algorithm,
            text: text.into(),
        }
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester")
            .field("algorithm", &self.algorithm)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_values() {
        assert_eq!(Digest::sha256(b"").as_str(), EMPTY);
        let sha512 = Digest::of(Algorithm::Sha512, b"abc");
        assert!(
            sha512
                .as_str()
                .starts_with("sha512:ddaf35a193617abacc417349ae204131")
        );
        assert_eq!(sha512.hex().len(), 128);
        assert_eq!(Digest::sha256(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn streaming_is_the_same_as_at_once() {
        let mut digester = Digester::sha256();
        digester.update(b"hello ");
        digester.update(b"world");
        assert_eq!(digester.bytes(), 11);
        assert_eq!(digester.finish(), Digest::sha256(b"hello world"));
    }

    #[test]
    fn refusals() {
        let f = |n| "f".repeat(n);
        let cases = [
            (String::new(), DigestError::Format),
            ("sha256".into(), DigestError::Format),
            ("sha256:".into(), DigestError::Format),
            (format!(":{}", f(64)), DigestError::Format),
            (format!("sha256:{}", f(63)), DigestError::Length),
            (format!("sha256:{}", f(65)), DigestError::Length),
            (format!("sha512:{}", f(64)), DigestError::Length),
            (format!("sha256:{}", "F".repeat(64)), DigestError::Format),
            (format!("sha256:{}g", f(63)), DigestError::Format),
            (format!("sha256:../{}", f(61)), DigestError::Format),
            (format!("md5:{}", f(32)), DigestError::Unsupported),
            (format!("SHA256:{}", f(64)), DigestError::Format),
            (format!("a/b:{}", f(64)), DigestError::Format),
        ];
        for (text, error) in cases {
            assert_eq!(Digest::parse(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn serde_validates() {
        let digest: Digest = serde_json::from_str(&format!("\"{EMPTY}\"")).unwrap();
        assert_eq!(
            serde_json::to_string(&digest).unwrap(),
            format!("\"{EMPTY}\"")
        );
        assert!(serde_json::from_str::<Digest>("\"sha256:abc\"").is_err());
        assert!(serde_json::from_str::<Digest>("7").is_err());
    }
}
