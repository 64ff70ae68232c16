//! The task protocol between the engine and a shim.
