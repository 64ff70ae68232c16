//! How large a document may be before it is refused.

/// Bytes of a manifest or an index. Registries refuse larger ones too (distribution-spec).
pub const MANIFEST_BYTES: usize = 4 << 20;
/// Bytes of an image configuration.
pub const CONFIG_BYTES: usize = 8 << 20;
/// Layers of a manifest, and diff ids of a configuration.
pub const LAYERS: usize = 1000;
/// Manifests of an index.
pub const INDEX_MANIFESTS: usize = 1000;
/// History entries of a configuration; empty ones come on top of one for each layer.
pub const HISTORY: usize = 10_000;
/// Bytes of a media type (RFC 6838 section 4.2: 127 on each side of the slash).
pub const MEDIA_TYPE_BYTES: usize = 255;
/// Bytes of the path of a reference (distribution/reference, `RepositoryNameTotalLengthMax`).
pub const NAME_BYTES: usize = 255;
/// Bytes of a tag.
pub const TAG_BYTES: usize = 128;
/// Largest size that a descriptor can have: sizes are `int64` in the specification.
pub const MAX_SIZE: u64 = i64::MAX as u64;
