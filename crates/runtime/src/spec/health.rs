//! How a container's health is checked.

use crate::serde_util::wire;

wire! {
    /// A health check (`HealthConfig` of Docker's API). Durations are nanoseconds; 0 inherits the default.
    pub struct HealthConfig {
        /// `[]` inherits, `["NONE"]` turns checks off, `["CMD", …]` runs a command, `["CMD-SHELL", line]` a shell.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub test: Vec<String>,
        /// Between two checks; 0 means 30 s.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub interval: i64,
        /// For one check; 0 means 30 s.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub timeout: i64,
        /// Failures before `unhealthy`; 0 means 3.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub retries: i64,
        /// Time after the start in which failures do not count; 0 means none.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub start_period: i64,
        /// Between checks within the start period; 0 means 5 s.
        #[serde(skip_serializing_if = "crate::serde_util::is_default")]
        pub start_interval: i64,
    }
}
