//! Directories and files of the host, shared with a guest as FUSE over a byte stream.

#![deny(unsafe_code)]
