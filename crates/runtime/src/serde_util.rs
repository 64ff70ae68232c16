//! Reading JSON as Docker's clients write it: `null` stands for "nothing given" anywhere.

use serde::{Deserialize, Deserializer};

/// Reads `null` as the type's default.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Declares a struct in Docker's JSON style: PascalCase names, every field optional, `null` read as
/// the default.
macro_rules! wire {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[serde(deserialize_with = "crate::serde_util::null_default")]
                pub $field: $ty,
            )*
        }
    )*};
}
pub(crate) use wire;
