//! The archive that an initial RAM disk is: cpio, "newc".
//!
//! Source: Documentation/driver-api/early-userspace/buffer-format.rst of Linux.

use std::io::{self, Read, Write};

/// What follows a header is padded to this.
const ALIGN: u64 = 4;

/// Writes entries one after the other. Owners are root, times 0, inode numbers count up.
pub(crate) struct Writer<W> {
    out: W,
    position: u64,
    inode: u32,
}

/// What the header says beside the name.
#[derive(Default)]
struct Header {
    mode: u32,
    length: u32,
    device: (u32, u32),
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Writer<W> {
        Writer {
            out,
            position: 0,
            inode: 0,
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> io::Result<()> {
        let missing = self.position.next_multiple_of(ALIGN) - self.position;
        let zeros = [0; ALIGN as usize];
        self.raw(zeros.get(..missing as usize).unwrap_or_default())
    }

    fn header(&mut self, name: &str, header: &Header) -> io::Result<()> {
        self.inode += 1;
        let fields = [
            self.inode,
            header.mode,
            0, // uid
            0, // gid
            1, // links
            0, // mtime
            header.length,
            0, // device that it was on, major
            0, // minor
            header.device.0,
            header.device.1,
            name.len() as u32 + 1,
            0, // checksum, unused
        ];
        let mut text = String::from("070701");
        for field in fields {
            text.push_str(&format!("{field:08x}"));
        }
        self.raw(text.as_bytes())?;
        self.raw(name.as_bytes())?;
        self.raw(&[0])?;
        self.pad()
    }

    pub(crate) fn directory(&mut self, name: &str) -> io::Result<()> {
        let mode = 0o40_755;
        self.header(
            name,
            &Header {
                mode,
                ..Header::default()
            },
        )
    }

    /// A character device that only root opens.
    pub(crate) fn device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.header(
            name,
            &Header {
                mode: 0o20_600,
                device: (major, minor),
                ..Header::default()
            },
        )
    }

    /// A file of exactly `length` bytes; an error where `contents` has less or more.
    pub(crate) fn file(
        &mut self,
        name: &str,
        permissions: u32,
        length: u64,
        contents: &mut dyn Read,
    ) -> io::Result<()> {
        let length = u32::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.header(
            name,
            &Header {
                mode: 0o100_000 | permissions,
                length,
                ..Header::default()
            },
        )?;
        let limit = u64::from(length) + 1;
        let copied = io::copy(&mut contents.take(limit), &mut self.out)?;
        if copied != u64::from(length) {
            return Err(io::Error::other("its length changed while it was read"));
        }
        self.position += copied;
        self.pad()
    }

    /// Writes the end, and what is buffered.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.header("TRAILER!!!", &Header::default())?;
        self.out.flush()?;
        Ok(self.out)
    }
}
