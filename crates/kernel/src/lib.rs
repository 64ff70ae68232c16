//! Guest kernels and initial RAM disks.

#![deny(unsafe_code)]
