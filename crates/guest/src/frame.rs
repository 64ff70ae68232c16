//! Frames: taking them off a buffer, putting them into one.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The length of a frame's header in bytes.
pub const HEADER: usize = 9;

/// The longest payload in bytes.
pub const MAX_FRAME: usize = 1 << 20;

/// The longest payload of a data frame in bytes. With its header it fits the 32 KiB that Linux
/// writes to a virtio port at once.
pub const MAX_DATA: usize = (32 << 10) - HEADER;

/// The longest reason of a reset in bytes.
pub const MAX_REASON: usize = 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    Hello = 0,
    Request = 1,
    Reply = 2,
    Event = 3,
    Cancel = 4,
    Open = 5,
    Data = 6,
    Credit = 7,
    End = 8,
    Stop = 9,
    Reset = 10,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Hello,
            1 => Self::Request,
            2 => Self::Reply,
            3 => Self::Event,
            4 => Self::Cancel,
            5 => Self::Open,
            6 => Self::Data,
            7 => Self::Credit,
            8 => Self::End,
            9 => Self::Stop,
            10 => Self::Reset,
            _ => return None,
        })
    }

    /// The longest payload of this kind.
    fn longest(self) -> usize {
        match self {
            Self::Hello => crate::hello::LENGTH,
            Self::Request | Self::Reply | Self::Event => MAX_FRAME,
            Self::Cancel | Self::End | Self::Stop => 0,
            Self::Open => 1,
            Self::Data => MAX_DATA,
            Self::Credit => 4,
            Self::Reset => MAX_REASON,
        }
    }
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Of which call or channel.
    pub id: u32,
    /// What it holds.
    pub payload: Bytes,
}

/// What is wrong with a frame.
pub(crate) type Violation = String;

/// Takes one whole frame off the front of `buf`; `None` if more bytes are needed, whose number is
/// bounded by [`MAX_FRAME`].
///
/// # Errors
/// An unknown kind, or a length over its kind's limit; nothing is taken then.
pub fn take_frame(buf: &mut BytesMut) -> Result<Option<Frame>, String> {
    let Some(&[a, b, c, d, e, f, g, h, kind]) = buf.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let id = u32::from_le_bytes([e, f, g, h]);
    let kind = Kind::parse(kind).ok_or_else(|| format!("a frame of unknown kind {kind}"))?;
    if length > kind.longest() {
        return Err(format!("a frame of kind {kind:?} with {length} bytes"));
    }
    if buf.len() - HEADER < length {
        return Ok(None);
    }
    buf.advance(HEADER);
    Ok(Some(Frame {
        kind,
        id,
        payload: buf.split_to(length).freeze(),
    }))
}

/// Appends a frame. The payload is not over its kind's limit.
pub(crate) fn put_frame(buf: &mut BytesMut, kind: Kind, id: u32, payload: &[u8]) {
    put_header(buf, kind, id, payload.len());
    buf.put_slice(payload);
}

/// Appends the header of a frame whose payload follows.
pub(crate) fn put_header(buf: &mut BytesMut, kind: Kind, id: u32, length: usize) {
    debug_assert!(length <= kind.longest());
    buf.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
    buf.put_u32_le(id);
    buf.put_u8(kind as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_kept() {
        for (kind, length, ok) in [
            (Kind::Request, MAX_FRAME, true),
            (Kind::Request, MAX_FRAME + 1, false),
            (Kind::Data, MAX_DATA + 1, false),
            (Kind::End, 1, false),
        ] {
            let mut buf = BytesMut::new();
            buf.put_u32_le(length as u32);
            buf.put_u32_le(1);
            buf.put_u8(kind as u8);
            assert_eq!(take_frame(&mut buf).is_ok(), ok, "{kind:?} {length}");
        }
        assert!(take_frame(&mut BytesMut::from(&[0u8, 0, 0, 0, 0, 0, 0, 0, 99][..])).is_err());
    }

    proptest! {
        #[test]
        fn what_is_put_is_taken_however_it_is_cut(
            frames in prop::collection::vec((0u8..11, any::<u32>(), prop::collection::vec(any::<u8>(), 0..50)), 0..20),
            cuts in prop::collection::vec(1usize..20, 1..10),
        ) {
            let mut wire = BytesMut::new();
            let mut expected = Vec::new();
            for (kind, id, mut payload) in frames {
                let kind = Kind::parse(kind).unwrap();
                payload.truncate(kind.longest());
                put_frame(&mut wire, kind, id, &payload);
                expected.push(Frame { kind, id, payload: payload.into() });
            }
            let mut buf = BytesMut::new();
            let mut found = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            while !wire.is_empty() {
                let cut = cuts.next().unwrap().min(wire.len());
                buf.extend_from_slice(&wire.split_to(cut));
                while let Some(frame) = take_frame(&mut buf).unwrap() {
                    found.push(frame);
                }
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn anything_is_a_frame_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buf = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = take_frame(&mut buf) {
                prop_assert!(frame.payload.len() <= frame.kind.longest());
            }
        }
    }
}
