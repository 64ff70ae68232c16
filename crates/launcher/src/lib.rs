//! Starts one process as the OCI runtime specification says.
