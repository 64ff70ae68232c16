//! Disk images for virtual machines: EROFS from layers, empty ext4.

#![deny(unsafe_code)]
