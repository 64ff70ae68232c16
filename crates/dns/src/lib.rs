//! A DNS server for containers' names.

#![deny(unsafe_code)]
