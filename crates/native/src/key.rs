//! Keys to the API, for clients that come over TCP.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::wire::{answer, body};

/// What a key allows. Each includes those before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Looking.
    #[default]
    Read,
    /// Changing. Who may create containers can become root on the host.
    Write,
    /// Keys too.
    Admin,
}

impl Scope {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

answer! {
    /// A key, without its secret.
    pub struct Key {
        /// 16 hexadecimal digits.
        id: String,
        /// What it is for.
        name: String,
        /// What it allows.
        scope: Scope,
        /// When it was made.
        created_at: Timestamp,
        /// When it stops working.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        /// When it was last used, to the minute.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_used_at: Option<Timestamp>,
        /// When it was revoked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revoked_at: Option<Timestamp>,
    }

    /// A new key, and its secret, which is not shown again.
    pub struct KeyCreated {
        /// The key.
        key: Key,
        /// What to send as `Authorization: Bearer …`.
        secret: String,
    }
}

body! {
    /// A key to make.
    pub struct KeyCreate {
        /// What it is for: 1 to 64 characters.
        name: String,
        /// What it allows.
        scope: Scope,
        ; // What may be left out:
        /// Seconds until it stops working; never, where not given.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 3_153_600_000_u64))]
        expires_in: Option<u64>,
    }
}
