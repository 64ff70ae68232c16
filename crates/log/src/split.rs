//! Splits a stream of bytes into lines, as Docker's copier does: a line longer than
//! [`MAX_LINE`] becomes pieces of that length, which share the first one's time.

use crate::entry::MAX_LINE;
use crate::entry::Stream;
use crate::record::Part;
use crate::record::Record;

/// The unfinished line of one stream.
#[derive(Debug)]
pub(crate) struct Splitter {
    stream: Stream,
    /// Less than `MAX_LINE` bytes without a newline.
    pending: Vec<u8>,
    /// The line that pieces were emitted of: (id, how many, time).
    open: Option<(u64, u32, i64)>,
}

impl Splitter {
    pub(crate) const fn new(stream: Stream) -> Self {
        Self {
            stream,
            pending: Vec::new(),
            open: None,
        }
    }

    /// Takes more output, and emits what is complete. `now` gives each line its time, and so a
    /// split line its id.
    pub(crate) fn push(
        &mut self,
        mut data: &[u8],
        now: &mut impl FnMut() -> i64,
        emit: &mut impl FnMut(Record<'_>),
    ) {
        while !data.is_empty() {
            let room = MAX_LINE - self.pending.len();
            let window = data.get(..room).unwrap_or(data);
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    let (line, rest) = data.split_at(end);
                    self.emit(line, true, now, emit);
                    data = rest.get(1..).unwrap_or_default();
                }
                None if window.len() == room => {
                    self.emit(window, false, now, emit);
                    data = data.get(room..).unwrap_or_default();
                }
                None => {
                    self.pending.extend_from_slice(window);
                    return;
                }
            }
        }
    }

    /// The stream ended: emits what is left of a line without a newline.
    pub(crate) fn finish(
        &mut self,
        now: &mut impl FnMut() -> i64,
        emit: &mut impl FnMut(Record<'_>),
    ) {
        if !self.pending.is_empty() {
            self.emit(&[], false, now, emit);
        }
        self.open = None;
    }

    /// Emits what is pending and `tail` as one record.
    fn emit(
        &mut self,
        tail: &[u8],
        newline: bool,
        now: &mut impl FnMut() -> i64,
        emit: &mut impl FnMut(Record<'_>),
    ) {
        let (time, part) = match self.open.take() {
            None if newline => (now(), Part::Whole),
            open => {
                let (id, count, time) = open.unwrap_or_else(|| {
                    let time = now();
                    (time.cast_unsigned(), 0, time)
                });
                let ordinal = count.saturating_add(1);
                if !newline {
                    self.open = Some((id, ordinal, time));
                }
                (
                    time,
                    Part::Piece {
                        id,
                        ordinal,
                        last: newline,
                    },
                )
            }
        };
        let stream = self.stream;
        if self.pending.is_empty() {
            emit(Record {
                stream,
                time,
                line: tail,
                part,
            });
        } else {
            self.pending.extend_from_slice(tail);
            emit(Record {
                stream,
                time,
                line: &self.pending,
                part,
            });
            self.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool, i64)> {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut clock = 0;
        let mut now = || {
            clock += 1;
            clock
        };
        let mut out = Vec::new();
        let mut emit = |r: Record<'_>| out.push((r.line.to_vec(), r.part.ends_line(), r.time));
        for chunk in chunks {
            splitter.push(chunk, &mut now, &mut emit);
        }
        splitter.finish(&mut now, &mut emit);
        out
    }

    #[test]
    fn lines_and_an_unfinished_one() {
        assert_eq!(
            split(&[b"one\ntw", b"o\n", b"\nend"]),
            [
                (b"one".to_vec(), true, 1),
                (b"two".to_vec(), true, 2),
                (b"".to_vec(), true, 3),
                (b"end".to_vec(), false, 4),
            ]
        );
    }

    #[test]
    fn a_line_of_exactly_the_limit_ends_with_an_empty_piece() {
        let mut line = vec![b'x'; MAX_LINE];
        line.push(b'\n');
        assert_eq!(
            split(&[&line, b"y\n"]),
            [
                (vec![b'x'; MAX_LINE], false, 1),
                (Vec::new(), true, 1),
                (b"y".to_vec(), true, 2)
            ]
        );
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_and_chunks_dont_matter(
            text in "([a-c\n]{0,20}|x{16000,17000}\n?){0,6}",
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            let parts = split(&chunks);
            prop_assert_eq!(&parts, &split(&[bytes]));
            let mut joined = Vec::new();
            for (line, newline, _) in &parts {
                prop_assert!(line.len() <= MAX_LINE);
                joined.extend_from_slice(line);
                if *newline {
                    joined.push(b'\n');
                }
            }
            prop_assert_eq!(joined, bytes);
        }
    }
}
