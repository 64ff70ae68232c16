//! How a container's health is checked.

use crate::serde_util::wire;

wire! {
    /// A health check (`HealthConfig` of Docker's API). Durations are nanoseconds; 0 inherits the default.
    pub struct HealthConfig {
        /// `[]` inherits, `["NONE"]` turns checks off, `["CMD", …]` runs a command, `["CMD-SHELL", line]` a shell.
        pub test: Vec<String>,
        /// Between two checks; 0 means 30 s.
        pub interval: i64,
        /// For one check; 0 means 30 s.
        pub timeout: i64,
        /// Failures before `unhealthy`; 0 means 3.
        pub retries: i64,
        /// Time after the start in which failures do not count; 0 means none.
        pub start_period: i64,
        /// Between checks within the start period; 0 means 5 s.
        pub start_interval: i64,
    }
}
