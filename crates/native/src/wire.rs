//! How the native API writes JSON.

pub(crate) use coracle_runtime::serde_util::is_default;

/// Declares what the daemon answers: every field is there.
macro_rules! answer {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $ty,)*
        }
    )*};
}
pub(crate) use answer;

/// Declares what a client sends: first what must be there, then, after a `;`, what may be left out.
macro_rules! body {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$rmeta:meta])* $required:ident: $rty:ty,)*
        ; $($(#[$fmeta:meta])* $field:ident: $ty:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            $($(#[$rmeta])* pub $required: $rty,)*
            $(
                $(#[$fmeta])*
                #[serde(default, skip_serializing_if = "crate::wire::is_default")]
                pub $field: $ty,
            )*
        }
    )*};
}
pub(crate) use body;

/// Declares a set of words, and what each is in the domain.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $docker:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "camelCase")]
        pub enum $name { $($(#[$vmeta])* $variant,)* }

        impl $name {
            pub(crate) const fn docker(self) -> &'static str {
                match self { $(Self::$variant => $docker,)* }
            }
        }
    };
}
pub(crate) use words;
