//! `coracle-init`: the agent of a virtual machine: its process 1.

#![deny(unsafe_code)]

fn main() {}
