//! The HTTP API: Docker's Engine API over any Runtime.
