//! JSON as Docker's clients and dockerd write it: PascalCase names, `null` for "nothing given" anywhere,
//! `omitempty`. For the types of [`spec`](crate::spec), and for the crates that say them on a wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Reads `null` as the type's default.
pub fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a map whose values may be `null`, each as the type's default.
pub fn null_values<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    let map = Option::<BTreeMap<String, Option<T>>>::deserialize(deserializer)?;
    Ok(map
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect())
}

/// Writes an empty collection as `null`, as dockerd shows what was not asked for.
pub fn empty_as_null<'a, S, T>(value: &'a T, serializer: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    T: Serialize,
    &'a T: IntoIterator,
{
    if value.into_iter().next().is_none() {
        serializer.serialize_none()
    } else {
        value.serialize(serializer)
    }
}

/// Whether a value is its type's default, for Go's `omitempty`.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[doc(hidden)]
#[macro_export]
macro_rules! __wire {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[serde(deserialize_with = "coracle_runtime::serde_util::null_default")]
                pub $field: $ty,
            )*
        }
    )*};
}
/// Declares structs in Docker's JSON style: PascalCase names, every field optional when read, `null`
/// read as the default. Field order is Docker's, because `docker inspect` shows it.
#[doc(inline)]
pub use __wire as wire;
