//! Where serde's idea of JSON is not Go's, whose tools write nearly all of it.

use serde::Deserialize;
use serde::Deserializer;
use serde::de::DeserializeOwned;

/// Reads `null` as the default: Go's encoder writes it for an empty list or map.
pub(crate) fn null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Parses a JSON object. serde would fill a struct from an array too, which no other tool does:
/// the same bytes must not mean one thing here and another elsewhere.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        _ => Err("not a JSON object".into()),
    }
}
