//! AES-256-GCM (NIST SP 800-38D), with random nonces of 96 bits: good for 2³² writes under one key.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::{Error, Result};

/// Bytes of a key.
pub(crate) const KEY_LENGTH: usize = 32;
/// Bytes that the cipher adds to a value.
pub(crate) const TAG_LENGTH: usize = 16;

/// A key's bytes.
pub(crate) type Key = Zeroizing<[u8; KEY_LENGTH]>;

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::Cipher)?;
    Ok(bytes)
}

/// A fresh nonce, as a header has it.
pub(crate) fn nonce() -> Result<String> {
    let bytes = random::<NONCE_LEN>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn parse_nonce(text: &str) -> Option<Nonce> {
    let mut bytes = [0; NONCE_LEN];
    if text.len() != 2 * NONCE_LEN || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(Nonce::assume_unique_for_key(bytes))
}

/// Boxed, so that it isn't moved about on the stack.
fn cipher(key: &Key) -> Result<Box<LessSafeKey>> {
    let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| Error::Cipher)?;
    Ok(Box::new(LessSafeKey::new(key)))
}

/// Encrypts a value; `header` is bound to it.
pub(crate) fn seal(key: &Key, nonce: &str, header: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    let nonce = parse_nonce(nonce).ok_or(Error::Cipher)?;
    let mut sealed = Vec::with_capacity(value.len() + TAG_LENGTH);
    sealed.extend_from_slice(value);
    let cipher = cipher(key)?;
    let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(header), &mut sealed);
    match tag {
        Ok(tag) => {
            sealed.extend_from_slice(tag.as_ref());
            Ok(sealed)
        }
        Err(_) => {
            drop(Zeroizing::new(sealed));
            Err(Error::Cipher)
        }
    }
}

/// Decrypts in place. `None` where anything isn't as it was sealed.
pub(crate) fn open(
    key: &Key,
    nonce: &str,
    header: &[u8],
    sealed: Vec<u8>,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(sealed);
    let nonce = parse_nonce(nonce)?;
    let length = cipher(key)
        .ok()?
        .open_in_place(nonce, Aad::from(header), &mut buffer)
        .ok()?
        .len();
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_all_of_it() {
        let (key, other) = (Key::new([1; 32]), Key::new([2; 32]));
        let nonce = nonce().unwrap();
        let sealed = seal(&key, &nonce, b"header", b"value").unwrap();
        assert_eq!(sealed.len(), 5 + TAG_LENGTH);
        let value = open(&key, &nonce, b"header", sealed.clone()).unwrap();
        assert_eq!(value.as_slice(), b"value");
        assert!(open(&other, &nonce, b"header", sealed.clone()).is_none());
        assert!(open(&key, &nonce, b"Header", sealed.clone()).is_none());
        let another = super::nonce().unwrap();
        assert!(open(&key, &another, b"header", sealed.clone()).is_none());
        for bad in ["", "zz", &"é".repeat(12), &"0".repeat(25)] {
            assert!(open(&key, bad, b"header", sealed.clone()).is_none());
        }
    }
}
