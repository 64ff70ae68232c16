//! Virtual machines: the Vmm trait, QEMU behind it, templates and their clones.

#![deny(unsafe_code)]
