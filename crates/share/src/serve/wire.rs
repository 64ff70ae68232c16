//! Reading requests, writing replies.

use std::ffi::CStr;

use rustix::io::Errno;

use crate::abi::{IN_HEADER, OUT_HEADER};

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// `struct fuse_in_header`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) length: u32,
    pub(super) opcode: u32,
    pub(super) unique: u64,
    pub(super) node: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Bytes of extensions at the end of the request.
    pub(super) extensions: usize,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; IN_HEADER]) -> Header {
        let mut args = Args(bytes);
        // Forty bytes hold all of this: the defaults never show.
        let (length, opcode) = (
            args.u32().unwrap_or_default(),
            args.u32().unwrap_or_default(),
        );
        let (unique, node) = (
            args.u64().unwrap_or_default(),
            args.u64().unwrap_or_default(),
        );
        let (uid, gid) = (
            args.u32().unwrap_or_default(),
            args.u32().unwrap_or_default(),
        );
        let _pid = args.u32();
        let extensions = usize::from(args.u16().unwrap_or_default()) * 8;
        Header {
            length,
            opcode,
            unique,
            node,
            uid,
            gid,
            extensions,
        }
    }
}

/// What is left of a request.
#[derive(Clone, Copy)]
pub(super) struct Args<'a>(pub(super) &'a [u8]);

impl<'a> Args<'a> {
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*chunk)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.chunk().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.chunk().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.chunk().map(u64::from_ne_bytes)
    }

    /// A string that ends with NUL.
    pub(super) fn string(&mut self) -> Result<&'a CStr> {
        let string = CStr::from_bytes_until_nul(self.0).map_err(|_| Errno::INVAL)?;
        self.0 = self
            .0
            .get(string.to_bytes_with_nul().len()..)
            .unwrap_or_default();
        Ok(string)
    }

    /// The name of an entry of a directory: one component, neither `.` nor `..`.
    pub(super) fn name(&mut self) -> Result<&'a CStr> {
        let name = self.string()?;
        match name.to_bytes() {
            b"" | b"." | b".." => Err(Errno::INVAL),
            bytes if bytes.len() > 255 => Err(Errno::NAMETOOLONG),
            bytes if bytes.contains(&b'/') => Err(Errno::INVAL),
            _ => Ok(name),
        }
    }

    /// Exactly `length` more bytes, and nothing after them.
    pub(super) fn data(&self, length: usize) -> Result<&'a [u8]> {
        if self.0.len() == length {
            Ok(self.0)
        } else {
            Err(Errno::INVAL)
        }
    }
}

/// A reply being written: room for the header, then the body.
#[derive(Debug)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    /// A reply without a body, or the beginning of one.
    pub(super) fn new() -> Reply {
        Reply::with_room(0)
    }

    /// Room for a body of `room` bytes.
    pub(super) fn with_room(room: usize) -> Reply {
        let mut bytes = Vec::with_capacity(OUT_HEADER + room);
        bytes.extend_from_slice(&[0; OUT_HEADER]);
        Reply(bytes)
    }

    pub(super) fn u16(mut self, value: u16) -> Reply {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    pub(super) fn u32(mut self, value: u32) -> Reply {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    pub(super) fn u64(mut self, value: u64) -> Reply {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Reply {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn zeros(mut self, count: usize) -> Reply {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// Bytes of the body so far.
    pub(super) fn body(&self) -> usize {
        self.0.len().saturating_sub(OUT_HEADER)
    }

    /// The whole vector, for a call that appends; the first [`OUT_HEADER`] bytes are the header's.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The message to send.
    pub(super) fn finish(result: Result<Reply>, unique: u64) -> Vec<u8> {
        let (mut reply, error) = match result {
            Ok(reply) => (reply, 0),
            Err(error) => (Reply::new(), -error.raw_os_error()),
        };
        let length = u32::try_from(reply.0.len())
            .unwrap_or_default()
            .to_ne_bytes();
        let header = length
            .into_iter()
            .chain(error.to_ne_bytes())
            .chain(unique.to_ne_bytes());
        for (to, from) in reply.0.iter_mut().zip(header) {
            *to = from;
        }
        reply.0
    }
}
