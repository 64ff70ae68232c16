//! Container log files: written by the shim, read by the engine.
