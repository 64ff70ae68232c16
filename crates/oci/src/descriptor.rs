//! Descriptors: what content is, and how to check it (image-spec, descriptor.md).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;

use crate::Digest;
use crate::Platform;
use crate::lenient;
use crate::limits;

/// Names content by its type, digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content; one of [`crate::media`], or an artifact's.
    #[serde(deserialize_with = "media_type")]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes, at most [`limits::MAX_SIZE`].
    #[serde(deserialize_with = "size")]
    pub size: u64,
    /// Where else the content can be had; used by foreign layers.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Anything else, by name.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64, which saves fetching it. Not trusted and not used here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the image runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of the artifact, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor with nothing but the three things that every one has.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// The SHA-256 descriptor of `bytes`.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::sha256(bytes), bytes.len() as u64)
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    if size > limits::MAX_SIZE {
        return Err(serde::de::Error::custom("size is out of range"));
    }
    Ok(size)
}

fn media_type<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    check_media_type(&text).map_err(serde::de::Error::custom)?;
    Ok(text)
}

/// Media types end up in HTTP headers and in messages: visible ASCII only. Old tools left them
/// empty in layers.
pub(crate) fn check_media_type(text: &str) -> Result<(), &'static str> {
    if text.len() > limits::MEDIA_TYPE_BYTES {
        return Err("media type is too long");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err("media type has characters that are not allowed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked() {
        let json = |size: &str| {
            format!(
                r#"{{"mediaType":"text/plain","digest":"{}","size":{size}}}"#,
                Digest::sha256(b"")
            )
        };
        assert_eq!(
            serde_json::from_str::<Descriptor>(&json("0")).unwrap().size,
            0
        );
        for bad in ["-1", "1.5", "9223372036854775808", "\"1\"", "null"] {
            assert!(
                serde_json::from_str::<Descriptor>(&json(bad)).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn only_what_is_there_is_written() {
        let descriptor = Descriptor::of("text/plain", b"hi");
        let text = serde_json::to_string(&descriptor).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"mediaType":"text/plain","digest":"{}","size":2}}"#,
                descriptor.digest
            )
        );
        assert_eq!(
            serde_json::from_str::<Descriptor>(&text).unwrap(),
            descriptor
        );
    }
}
