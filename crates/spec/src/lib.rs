//! Turns a container's configuration into an OCI runtime specification.
