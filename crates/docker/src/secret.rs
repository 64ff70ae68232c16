//! Secrets and configs, as a swarm's.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::time::Time;
use crate::wire::{is_default, wire};

pub use coracle_runtime::secret::FileReference;

wire! {
    /// A secret or config, in lists and inspect.
    pub struct SecretInspect {
        /// Id.
        #[serde(rename = "ID")]
        pub id: String,
        /// Which version it is.
        pub version: Version,
        /// When it was made.
        pub created_at: Time,
        /// When it was changed last.
        pub updated_at: Time,
        /// What it was made as.
        pub spec: SecretSpecBody,
    }

    /// The version of an object.
    pub struct Version {
        /// Grows with each change.
        pub index: u64,
    }

    /// What one is made as, and changed to.
    pub struct SecretSpecBody {
        /// Name.
        pub name: String,
        /// Labels.
        pub labels: BTreeMap<String, String>,
        /// The value in base64; never of a secret that is there.
        #[serde(skip_serializing_if = "is_default")]
        pub data: String,
        /// A driver that has the value; refused.
        #[serde(skip_serializing_if = "is_default")]
        pub driver: Option<Value>,
        /// A driver that fills the value in; refused.
        #[serde(skip_serializing_if = "is_default")]
        pub templating: Option<Value>,
    }

    /// The answer of `POST /secrets/create` and `/configs/create`.
    pub struct SecretCreated {
        /// Id.
        #[serde(rename = "ID")]
        pub id: String,
    }
}
