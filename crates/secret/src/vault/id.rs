//! Ids, as Docker's.

use crate::{Result, cipher};

/// Letters and digits of an id.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 25;

/// Whether a file has the name of an id.
pub(super) fn is_id(name: &str) -> bool {
    name.len() == ID_LENGTH && name.bytes().all(|byte| DIGITS.contains(&byte))
}

/// A new one, at random.
pub(super) fn new() -> Result<String> {
    let mut id = String::with_capacity(ID_LENGTH);
    while id.len() < ID_LENGTH {
        for byte in cipher::random::<32>()? {
            // 252 is seven times 36: each digit is as likely as any other.
            let digit = (byte < 252).then(|| DIGITS.get(usize::from(byte) % DIGITS.len()));
            match digit.flatten() {
                Some(digit) if id.len() < ID_LENGTH => id.push(char::from(*digit)),
                _ => {}
            }
        }
    }
    Ok(id)
}
