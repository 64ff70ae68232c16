//! A terminal's line discipline, as far as containers see it (termios(3), canonical mode).

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use coracle_runtime::io::TerminalSize;

/// A terminal.
#[derive(Debug)]
pub(crate) struct Tty {
    size: Mutex<TerminalSize>,
    line: Mutex<Vec<u8>>,
}

/// What typing did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Shown to the user.
    Echo(Bytes),
    /// A line for the process.
    Line(Bytes),
    /// `^D` at a line's start.
    End,
    /// `^C`.
    Interrupt,
}

impl Tty {
    pub(crate) fn new(size: Option<TerminalSize>) -> Self {
        let size = size.unwrap_or(TerminalSize { rows: 0, cols: 0 });
        Self {
            size: Mutex::new(size),
            line: Mutex::default(),
        }
    }

    pub(crate) fn size(&self) -> TerminalSize {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn resize(&self, size: TerminalSize) {
        *self.size.lock().unwrap_or_else(PoisonError::into_inner) = size;
    }

    /// What the user typed.
    pub(crate) fn typed(&self, bytes: &[u8]) -> Vec<Typed> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = Vec::new();
        let mut echo = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    line.push(b'\n');
                    echo.extend_from_slice(b"\r\n");
                    done.push(Typed::Echo(std::mem::take(&mut echo).into()));
                    done.push(Typed::Line(std::mem::take(&mut *line).into()));
                }
                3 => {
                    line.clear();
                    echo.extend_from_slice(b"^C\r\n");
                    done.push(Typed::Echo(std::mem::take(&mut echo).into()));
                    done.push(Typed::Interrupt);
                }
                4 if line.is_empty() => done.push(Typed::End),
                4 => done.push(Typed::Line(std::mem::take(&mut *line).into())),
                127 => {
                    if line.pop().is_some() {
                        echo.extend_from_slice(b"\x08 \x08");
                    }
                }
                byte => {
                    line.push(*byte);
                    echo.push(*byte);
                }
            }
        }
        if !echo.is_empty() {
            done.push(Typed::Echo(echo.into()));
        }
        done
    }
}

/// What a process writes, as it arrives at the other end.
pub(crate) fn cooked(bytes: &[u8]) -> Bytes {
    let mut cooked = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte == b'\n' {
            cooked.push(b'\r');
        }
        cooked.push(*byte);
    }
    cooked.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_edited_and_echoed() {
        let tty = Tty::new(None);
        let typed = tty.typed(b"ax\x7f\n\x04b\x03");
        assert_eq!(
            typed,
            [
                Typed::Echo(Bytes::from_static(b"ax\x08 \x08\r\n")),
                Typed::Line(Bytes::from_static(b"a\n")),
                Typed::End,
                Typed::Echo(Bytes::from_static(b"b^C\r\n")),
                Typed::Interrupt,
            ]
        );
        assert_eq!(cooked(b"a\nb"), "a\r\nb");
    }
}
