//! How Docker writes JSON: as the types that containers are created from.

pub(crate) use coracle_runtime::serde_util::{empty_as_null, is_default, null_default, wire};
