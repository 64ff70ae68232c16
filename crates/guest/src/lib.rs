//! The protocol between a shim and the agent of a virtual machine.

#![deny(unsafe_code)]
