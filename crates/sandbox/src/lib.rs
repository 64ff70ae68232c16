//! The Sandbox trait, and ProcessSandbox.
