//! Checking a stream of bytes against the descriptor that announced it.

use crate::Descriptor;
use crate::Digest;
use crate::Digester;

/// How content differed from its descriptor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// More bytes came than were announced.
    #[error("content of {digest} is larger than the {size} bytes announced")]
    TooLong {
        /// The digest announced.
        digest: Digest,
        /// The size announced, in bytes.
        size: u64,
    },
    /// Fewer bytes came than were announced.
    #[error("content of {digest} ended after {got} of {size} bytes")]
    TooShort {
        /// The digest announced.
        digest: Digest,
        /// The size announced, in bytes.
        size: u64,
        /// The bytes that came.
        got: u64,
    },
    /// The content has another digest.
    #[error("content has digest {got}, expected {digest}")]
    Digest {
        /// The digest announced.
        digest: Digest,
        /// The digest that the content has.
        got: Digest,
    },
}

/// Hashes a stream and says whether it is what a descriptor announced.
#[derive(Debug, Clone)]
pub struct Verifier {
    digest: Digest,
    size: Option<u64>,
    digester: Digester,
}

impl Verifier {
    /// Expects the digest and the size of `descriptor`.
    pub fn new(descriptor: &Descriptor) -> Self {
        Self::of(descriptor.digest.clone(), Some(descriptor.size))
    }

    /// Expects `digest` and, where it is known, `size` in bytes.
    pub fn of(digest: Digest, size: Option<u64>) -> Self {
        let digester = Digester::new(digest.algorithm());
        Self {
            digest,
            size,
            digester,
        }
    }

    /// Takes in the next bytes; refuses them as soon as there are too many.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        if let Some(size) = self.size
            && self.digester.bytes().saturating_add(bytes.len() as u64) > size
        {
            return Err(VerifyError::TooLong {
                digest: self.digest.clone(),
                size,
            });
        }
        self.digester.update(bytes);
        Ok(())
    }

    /// How many bytes were taken in.
    pub fn bytes(&self) -> u64 {
        self.digester.bytes()
    }

    /// Checks that all bytes came and that they are the right ones.
    pub fn finish(self) -> Result<Digest, VerifyError> {
        let got = self.digester.bytes();
        if let Some(size) = self.size
            && got < size
        {
            return Err(VerifyError::TooShort {
                digest: self.digest,
                size,
                got,
            });
        }
        let got = self.digester.finish();
        if got != self.digest {
            return Err(VerifyError::Digest {
                digest: self.digest,
                got,
            });
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(bytes: &[u8]) -> Descriptor {
        Descriptor::of("text/plain", bytes)
    }

    #[test]
    fn the_right_bytes_pass() {
        let mut verifier = Verifier::new(&descriptor(b"hello"));
        verifier.update(b"he").unwrap();
        verifier.update(b"llo").unwrap();
        assert_eq!(verifier.finish().unwrap(), Digest::sha256(b"hello"));
    }

    #[test]
    fn too_many_too_few_and_others_are_told_apart() {
        let mut long = Verifier::new(&descriptor(b"hello"));
        assert!(matches!(
            long.update(b"hello!"),
            Err(VerifyError::TooLong { .. })
        ));
        let mut short = Verifier::new(&descriptor(b"hello"));
        short.update(b"hell").unwrap();
        assert!(matches!(
            short.finish(),
            Err(VerifyError::TooShort { got: 4, .. })
        ));
        let mut other = Verifier::new(&descriptor(b"hello"));
        other.update(b"jello").unwrap();
        assert!(matches!(other.finish(), Err(VerifyError::Digest { .. })));
    }
}
