//! The form of netlink messages: a header, a fixed part, attributes (netlink(7)).

use std::io;

const HEADER: usize = 16;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// A request that is being written.
pub(crate) struct Message {
    bytes: Vec<u8>,
    kind: u16,
    flags: u16,
    too_long: bool,
}

impl Message {
    /// A request of a kind (`RTM_…`) with flags (`NLM_F_…`) and the fixed part of that kind.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes.extend_from_slice(fixed);
        Self {
            bytes,
            kind,
            flags,
            too_long: false,
        }
    }

    /// Adds an attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or_else(|_| {
            self.too_long = true;
            4
        });
        self.pad();
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self
    }

    /// Adds a number.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds a text, which the kernel wants with a NUL at its end.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds an attribute that holds others, after a fixed part if it has one.
    pub(crate) fn nest(mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(Self) -> Self) -> Self {
        self.pad();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        let mut this = fill(self);
        let length = u16::try_from(this.bytes.len() - start).unwrap_or_else(|_| {
            this.too_long = true;
            4
        });
        this.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        this.bytes[start + 2..start + 4].copy_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        this
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(super) fn finish(mut self, flags: u16, sequence: u32) -> io::Result<Vec<u8>> {
        self.pad();
        let length = u32::try_from(self.bytes.len());
        let (Ok(length), false) = (length, self.too_long) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "netlink request too long",
            ));
        };
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&(self.flags | flags).to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        Ok(self.bytes)
    }
}

/// One message of an answer.
pub(crate) struct Reply<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// The socket that asked for it; the kernel is 0.
    pub(super) port: u32,
    body: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The error of an `NLMSG_ERROR`; code 0 is an acknowledgement.
    pub(super) fn error(&self) -> io::Result<()> {
        match read_u32(self.body, 0).map(u32::cast_signed) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
            None => Err(truncated()),
        }
    }

    /// The first `length` bytes, which have the same form in every message of a kind.
    pub(crate) fn fixed(&self, length: usize) -> Option<&'a [u8]> {
        self.body.get(..length)
    }

    /// The attributes after the fixed part.
    pub(crate) fn attributes(&self, fixed: usize) -> Attributes<'a> {
        Attributes(
            self.body
                .get(fixed.next_multiple_of(4)..)
                .unwrap_or_default(),
        )
    }
}

/// The messages in a buffer; an error if one doesn't fit.
pub(super) fn replies(mut buffer: &[u8]) -> impl Iterator<Item = io::Result<Reply<'_>>> {
    std::iter::from_fn(move || {
        if buffer.is_empty() {
            return None;
        }
        let length = read_u32(buffer, 0).map_or(0, |l| l as usize);
        let Some(body) = buffer.get(HEADER..length) else {
            buffer = &[];
            return Some(Err(truncated()));
        };
        let reply = Reply {
            kind: read_u16(buffer, 4)?,
            flags: read_u16(buffer, 6)?,
            sequence: read_u32(buffer, 8)?,
            port: read_u32(buffer, 12)?,
            body,
        };
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(reply))
    })
}

/// Attributes in the order in which they stand.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of the first attribute of a kind.
    pub(crate) fn value(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// A number.
    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        read_u32(self.value(kind)?, 0)
    }

    /// A text, without its NUL.
    pub(crate) fn text(self, kind: u16) -> Option<String> {
        let value = self.value(kind)?;
        let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
        Some(String::from_utf8_lossy(value.get(..end)?).into_owned())
    }

    /// The attributes within an attribute.
    pub(crate) fn nested(self, kind: u16) -> Option<Self> {
        self.value(kind).map(Self)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(read_u16(self.0, 0)?);
        let kind = read_u16(self.0, 2)? & NLA_TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A number in the host's byte order.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a truncated netlink message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = Message::new(16, 0, &[1, 2, 3, 4])
            .text(3, "eth0")
            .nest(18, &[], |m| {
                m.text(1, "veth").nest(2, &[7; 4], |m| m.number(4, 1500))
            })
            .number(10, 9)
            .finish(5, 42)
            .unwrap();
        let replies: Vec<_> = replies(&bytes).map(Result::unwrap).collect();
        assert_eq!(
            (replies.len(), replies[0].kind, replies[0].sequence),
            (1, 16, 42)
        );
        let attributes = replies[0].attributes(4);
        assert_eq!(attributes.text(3).as_deref(), Some("eth0"));
        assert_eq!(attributes.number(10), Some(9));
        let nested = attributes.nested(18).unwrap();
        assert_eq!(nested.text(1).as_deref(), Some("veth"));
        assert_eq!(nested.value(2).unwrap()[..4], [7; 4]);
    }

    #[test]
    fn too_long_is_refused() {
        let message = Message::new(16, 0, &[]).attribute(1, &vec![0; 70_000]);
        assert!(message.finish(0, 1).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for reply in replies(&bytes).map_while(Result::ok) {
                let _ = reply.error();
                prop_assert!(reply.attributes(16).count() <= bytes.len());
            }
        }
    }
}
