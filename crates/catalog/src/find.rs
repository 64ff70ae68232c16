//! From what users write to an image.

use coracle_oci::{Algorithm, Digest, Reference, ReferenceError};

use crate::{Catalog, Target};

/// Why a text names no image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FindError {
    /// It names none that is there; with the name or id in full.
    #[error("No such image: {0}")]
    None(String),
    /// It is the start of several ids.
    #[error("multiple image ids found with provided prefix: {0}")]
    Several(String),
    /// It can't be a name.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// Finds the image that `text` names: a full id, else a name, else the start of an id.
///
/// # Errors
/// See [`FindError`].
pub fn find<C: Catalog>(catalog: &C, text: &str) -> Result<Target, FindError> {
    // 64 hexadecimal digits, or a digest: an id that can be nothing else.
    let full = Digest::parse(text).or_else(|_| Digest::from_hex(Algorithm::Sha256, text));
    if let Ok(id) = full {
        return match catalog.contains(&id) {
            true => Ok(Target::Id(id)),
            false => Err(FindError::None(id.to_string())),
        };
    }
    let reference = Reference::parse_normalized(text)?;
    if let Some((name, id)) = by_reference(catalog, &reference) {
        return Ok(Target::Name(id, name));
    }
    let mut starting = by_prefix(catalog, text);
    match (starting.next(), starting.next()) {
        (None, _) => Err(FindError::None(reference.familiar())),
        (Some(id), None) => Ok(Target::Id(id.clone())),
        (Some(_), Some(_)) => Err(FindError::Several(text.into())),
    }
}

/// Looks a name up, and tells which one it is. If it has a digest, its tag is of no account.
pub fn by_reference<C: Catalog>(catalog: &C, reference: &Reference) -> Option<(Reference, Digest)> {
    let name = match reference.digest() {
        Some(digest) => reference.with_digest(digest.clone()),
        None => reference.clone(),
    };
    let id = catalog.named(&name)?;
    Some((name, id))
}

/// The ids that begin with this text: hexadecimal digits, with or without their algorithm.
fn by_prefix<'a, C: Catalog>(catalog: &'a C, text: &'a str) -> impl Iterator<Item = &'a Digest> {
    let (algorithm, hex) = text.split_once(':').unwrap_or(("", text));
    let is_hex = !hex.is_empty()
        && hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    catalog.ids().filter(move |id| {
        is_hex
            && id.hex().starts_with(hex)
            && (algorithm.is_empty() || algorithm == id.algorithm().as_str())
    })
}
