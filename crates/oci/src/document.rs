//! Manifests and indexes (image-spec, manifest.md and image-index.md), OCI's and Docker's.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::Descriptor;
use crate::descriptor::check_media_type;
use crate::lenient;
use crate::limits;
use crate::media;

/// Why bytes are not a manifest or an index that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// More than [`limits::MANIFEST_BYTES`].
    #[error("manifest has {0} bytes, more than the {max} allowed", max = limits::MANIFEST_BYTES)]
    TooLarge(usize),
    /// Not JSON, or not of the right shape; with the parser's reason.
    #[error("manifest is not valid: {0}")]
    Json(String),
    /// A `schemaVersion` other than 2.
    #[error("unsupported manifest schema version {0}")]
    SchemaVersion(i64),
    /// Docker's manifest schema 1.
    #[error(
        "Docker Image manifest version 2, schema 1 is not supported; \
         push the image again with a current client"
    )]
    Schema1,
    /// Both a manifest and an index (CVE-2021-41190).
    #[error("ambiguous manifest: it has both \"manifests\" and \"layers\" or \"config\"")]
    Ambiguous,
    /// The media type within is not the announced one, or not that of its content.
    #[error("manifest has media type {got:?}, expected {expected:?}")]
    MediaType {
        /// What was announced, or what its content asks for.
        expected: String,
        /// What it has.
        got: String,
    },
    /// A media type that is neither a manifest's nor an index's.
    #[error("unsupported manifest media type {0:?}")]
    Unsupported(String),
    /// Neither a manifest nor an index.
    #[error("manifest has neither \"manifests\" nor \"config\" and \"layers\"")]
    Empty,
    /// More layers or manifests than allowed.
    #[error("manifest has {got} {what}, more than the {max} allowed")]
    TooMany {
        /// `layers` or `manifests`.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many are allowed.
        max: usize,
    },
}

/// One image: a configuration and its layers, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: i64,
    /// [`media::OCI_MANIFEST`] or [`media::DOCKER_MANIFEST`]; may be absent in OCI's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of an artifact that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    #[serde(default, deserialize_with = "lenient::null")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one belongs to, such as a signature's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Anything else, by name.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// Several images under one name, for different platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: i64,
    /// [`media::OCI_INDEX`] or [`media::DOCKER_LIST`]; may be absent in OCI's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of an artifact that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The images, or further indexes.
    #[serde(default, deserialize_with = "lenient::null")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Anything else, by name.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A manifest or an index: what a tag of a registry can name.
// Documents are parsed one at a time and taken apart at once: a box would gain nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// What tells the kinds of documents apart, read before anything else is believed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: Option<i64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    config: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
}

impl Probe {
    /// Whether it is an index; errors when it is neither or both.
    fn is_index(&self, announced: Option<&str>) -> Result<bool, DocumentError> {
        let inner = self.media_type.as_deref().filter(|text| !text.is_empty());
        let announced = announced
            .map(media::essence)
            .filter(|text| !text.is_empty());
        let schema1 = |text: Option<&str>| text.is_some_and(media::is_schema1);
        if schema1(inner)
            || schema1(announced)
            || self.schema_version == Some(1)
            || self.fs_layers.is_some()
        {
            return Err(DocumentError::Schema1);
        }
        if self.schema_version != Some(2) {
            return Err(DocumentError::SchemaVersion(
                self.schema_version.unwrap_or(0),
            ));
        }
        if let (Some(announced), Some(inner)) = (announced, inner)
            && announced != inner
        {
            return Err(DocumentError::MediaType {
                expected: announced.into(),
                got: inner.into(),
            });
        }
        let image = self.config.is_some() || self.layers.is_some();
        let index = match (image, self.manifests.is_some()) {
            (true, true) => return Err(DocumentError::Ambiguous),
            (true, false) => false,
            (false, true) => true,
            (false, false) => return Err(DocumentError::Empty),
        };
        if let Some(media_type) = inner.or(announced) {
            if !media::is_index(media_type) && !media::is_manifest(media_type) {
                return Err(DocumentError::Unsupported(printable(media_type)));
            }
            if media::is_index(media_type) != index {
                let expected = if index {
                    media::OCI_INDEX
                } else {
                    media::OCI_MANIFEST
                };
                return Err(DocumentError::MediaType {
                    expected: expected.into(),
                    got: media_type.into(),
                });
            }
        }
        Ok(index)
    }
}

/// Media types are quoted in messages: never more of a hostile one than a line.
fn printable(media_type: &str) -> String {
    match check_media_type(media_type) {
        Ok(()) => media_type.into(),
        Err(reason) => reason.into(),
    }
}

fn at_most(what: &'static str, got: usize, max: usize) -> Result<(), DocumentError> {
    if got > max {
        return Err(DocumentError::TooMany { what, got, max });
    }
    Ok(())
}

impl Document {
    /// Parses a manifest or an index. `media_type` is what announced it (a descriptor's, or the
    /// `Content-Type` of a reply); what the document says of itself must agree with it.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, DocumentError> {
        if bytes.len() > limits::MANIFEST_BYTES {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        let probe: Probe = lenient::object(bytes).map_err(DocumentError::Json)?;
        if probe.is_index(media_type)? {
            let index: Index = lenient::object(bytes).map_err(DocumentError::Json)?;
            at_most("manifests", index.manifests.len(), limits::INDEX_MANIFESTS)?;
            return Ok(Self::Index(index));
        }
        let manifest: Manifest = lenient::object(bytes).map_err(DocumentError::Json)?;
        at_most("layers", manifest.layers.len(), limits::LAYERS)?;
        Ok(Self::Manifest(manifest))
    }
}

impl Manifest {
    /// Parses a manifest, and refuses an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        match Document::parse(bytes, None)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(index) => Err(DocumentError::MediaType {
                expected: media::OCI_MANIFEST.into(),
                got: index.media_type().into(),
            }),
        }
    }

    /// An OCI manifest of an image.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.into()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The media type it has, or that it should have had.
    pub fn media_type(&self) -> &str {
        self.media_type
            .as_deref()
            .filter(|t| !t.is_empty())
            .unwrap_or(media::OCI_MANIFEST)
    }

    /// The descriptors of everything that it points to: the configuration, then the layers.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Whether it is an image: its configuration is one, and so are all its layers. Artifacts
    /// (signatures, attestations) are not.
    pub fn is_image(&self) -> bool {
        media::is_config(&self.config.media_type)
            && self
                .layers
                .iter()
                .all(|layer| media::is_layer(&layer.media_type))
    }
}

impl Index {
    /// Parses an index, and refuses a manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        match Document::parse(bytes, None)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(manifest) => Err(DocumentError::MediaType {
                expected: media::OCI_INDEX.into(),
                got: manifest.media_type().into(),
            }),
        }
    }

    /// An OCI index.
    pub fn oci(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_INDEX.into()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The media type it has, or that it should have had.
    pub fn media_type(&self) -> &str {
        self.media_type
            .as_deref()
            .filter(|t| !t.is_empty())
            .unwrap_or(media::OCI_INDEX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn manifest() -> Manifest {
        Manifest::oci(
            Descriptor::of(media::OCI_CONFIG, b"{}"),
            vec![Descriptor::of(media::OCI_LAYER_GZIP, b"layer")],
        )
    }

    #[test]
    fn both_kinds_are_read_back() {
        let bytes = serde_json::to_vec(&manifest()).unwrap();
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest());
        assert!(manifest().is_image());
        assert!(matches!(
            Index::parse(&bytes),
            Err(DocumentError::MediaType { .. })
        ));
        let index = Index::oci(vec![Descriptor::of(media::OCI_MANIFEST, &bytes)]);
        let bytes = serde_json::to_vec(&index).unwrap();
        assert_eq!(Index::parse(&bytes).unwrap(), index);
        assert!(matches!(
            Manifest::parse(&bytes),
            Err(DocumentError::MediaType { .. })
        ));
    }

    #[test]
    fn the_announced_type_must_agree() {
        let bytes = serde_json::to_vec(&manifest()).unwrap();
        assert!(Document::parse(&bytes, Some(media::OCI_MANIFEST)).is_ok());
        assert!(Document::parse(&bytes, Some(media::DOCKER_MANIFEST)).is_err());
        assert!(Document::parse(&bytes, Some(media::OCI_INDEX)).is_err());
        let untyped = Manifest {
            media_type: None,
            ..manifest()
        };
        let bytes = serde_json::to_vec(&untyped).unwrap();
        assert!(Document::parse(&bytes, None).is_ok());
        assert!(
            Document::parse(
                &bytes,
                Some("application/vnd.oci.image.manifest.v1+json; a=b")
            )
            .is_ok()
        );
        assert!(Document::parse(&bytes, Some(media::OCI_INDEX)).is_err());
        assert!(matches!(
            Document::parse(&bytes, Some("text/html")),
            Err(DocumentError::Unsupported(_))
        ));
    }

    #[test]
    fn confusion_is_refused() {
        let parse = |text: &str| Document::parse(text.as_bytes(), None);
        let both = r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
        assert_eq!(parse(both), Err(DocumentError::Ambiguous));
        let wrong = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
            media::DOCKER_MANIFEST
        );
        assert!(matches!(
            parse(&wrong),
            Err(DocumentError::MediaType { .. })
        ));
        assert_eq!(parse(r#"{"schemaVersion":2}"#), Err(DocumentError::Empty));
        assert_eq!(
            parse(r#"{"schemaVersion":3}"#),
            Err(DocumentError::SchemaVersion(3))
        );
        assert_eq!(parse(r#"{}"#), Err(DocumentError::SchemaVersion(0)));
        assert!(matches!(parse("[]"), Err(DocumentError::Json(_))));
        assert!(matches!(parse(""), Err(DocumentError::Json(_))));
    }

    #[test]
    fn schema_1_is_refused_by_name() {
        let text = r#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[],"history":[]}"#;
        assert_eq!(
            Document::parse(text.as_bytes(), None),
            Err(DocumentError::Schema1)
        );
        assert_eq!(
            Document::parse(
                br#"{"schemaVersion":2}"#,
                Some(media::DOCKER_SCHEMA1_SIGNED)
            ),
            Err(DocumentError::Schema1)
        );
    }

    #[test]
    fn bounds() {
        let layer = Descriptor::new(media::OCI_LAYER, Digest::sha256(b""), 0);
        let many = Manifest::oci(manifest().config, vec![layer; limits::LAYERS + 1]);
        let bytes = serde_json::to_vec(&many).unwrap();
        assert!(matches!(
            Manifest::parse(&bytes),
            Err(DocumentError::TooMany { .. })
        ));
        let large = vec![b' '; limits::MANIFEST_BYTES + 1];
        assert!(matches!(
            Manifest::parse(&large),
            Err(DocumentError::TooLarge(_))
        ));
        let deep = "[".repeat(100_000);
        let deep = format!(r#"{{"schemaVersion":2,"x":{deep}"#);
        assert!(Manifest::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn nulls_of_gos_encoder() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{}","digest":"{}","size":2,"urls":null}},"layers":null,"annotations":null}}"#,
            media::DOCKER_CONFIG,
            Digest::sha256(b"{}")
        );
        assert!(Manifest::parse(text.as_bytes()).unwrap().layers.is_empty());
    }
}
