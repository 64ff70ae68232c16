//! Requests about extended attributes.
//!
//! What a container's root may set on a directory of the host is what a guest may: `user.*`,
//! ACLs, and file capabilities. Labels of the host's security modules and `trusted.*`, which
//! means something to the host's overlay file system, are neither shown nor set.

use std::ffi::CStr;

use rustix::buffer::spare_capacity;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::path::DecInt;

use super::caller::Worker;
use super::fs::Fs;
use super::wire::{Args, Header, Reply, Result};
use crate::abi::{OUT_HEADER, SETXATTR_ACL_KILL_SGID, init};

/// `XATTR_SIZE_MAX`, `XATTR_LIST_MAX`.
const MAX: usize = 64 << 10;

impl Fs {
    pub(super) fn setxattr(
        &self,
        worker: &Worker,
        header: &Header,
        mut args: Args<'_>,
    ) -> Result<Reply> {
        let (size, flags) = (args.u32()? as usize, args.u32()?);
        let more = if self.has(init::SETXATTR_EXT) {
            (args.u32()?, args.u32()?).0
        } else {
            0
        };
        let name = attribute(args.string()?)?;
        let value = args.data(size)?;
        self.writable()?;
        let flags = XattrFlags::from_bits_retain(flags);
        if !(XattrFlags::CREATE | XattrFlags::REPLACE).contains(flags) {
            return Err(Errno::INVAL);
        }
        let node = self.node(header.node)?;
        let _acting = worker.drop_set_ids(more & SETXATTR_ACL_KILL_SGID != 0)?;
        // A path in the thread's own directory, /proc/self/fd.
        rustix::fs::setxattr(DecInt::from_fd(&*node), name, value, flags)?;
        Ok(Reply::new())
    }

    pub(super) fn removexattr(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let name = attribute(args.string()?)?;
        self.writable()?;
        let node = self.node(header.node)?;
        rustix::fs::removexattr(DecInt::from_fd(&*node), name)?;
        Ok(Reply::new())
    }

    pub(super) fn getxattr(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let (size, _) = (args.u32()? as usize, args.u32()?);
        let name = attribute(args.string()?)?;
        let node = self.node(header.node)?;
        let path = DecInt::from_fd(&*node);
        if size == 0 {
            return sized(rustix::fs::getxattr_query(path, name)?);
        }
        let size = size.min(MAX);
        let mut reply = Reply::with_room(size);
        let buffer = reply.buffer();
        rustix::fs::getxattr(path, name, spare_capacity(buffer))?;
        if buffer.len() > OUT_HEADER + size {
            Err(Errno::RANGE)
        } else {
            Ok(reply)
        }
    }

    pub(super) fn listxattr(&self, header: &Header, mut args: Args<'_>) -> Result<Reply> {
        let (size, _) = (args.u32()? as usize, args.u32()?);
        let node = self.node(header.node)?;
        let mut all = Vec::with_capacity(MAX);
        rustix::fs::listxattr(DecInt::from_fd(&*node), spare_capacity(&mut all))?;
        let mut shown = Reply::new();
        for name in all.split_inclusive(|&byte| byte == 0) {
            if CStr::from_bytes_with_nul(name).is_ok_and(|name| attribute(name).is_ok()) {
                shown = shown.bytes(name);
            }
        }
        match shown.body() {
            length if size == 0 => sized(length),
            length if length > size => Err(Errno::RANGE),
            _ => Ok(shown),
        }
    }
}

/// `struct fuse_getxattr_out`.
fn sized(length: usize) -> Result<Reply> {
    Ok(Reply::new()
        .u32(u32::try_from(length).map_err(|_| Errno::TOOBIG)?)
        .u32(0))
}

/// A name that the guest may use.
fn attribute(name: &CStr) -> Result<&CStr> {
    let bytes = name.to_bytes();
    let allowed = bytes.starts_with(b"user.")
        || matches!(
            bytes,
            b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default"
        );
    match bytes.len() {
        0 => Err(Errno::INVAL),
        256.. => Err(Errno::RANGE),
        _ if allowed => Ok(name),
        _ => Err(Errno::OPNOTSUPP),
    }
}
