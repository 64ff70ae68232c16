//! The terminal: raw while a process has it, and as it was afterwards.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// What the terminal was like, while it is raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether somebody types.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Rows and columns of the terminal that output goes to.
pub(crate) fn size() -> Option<[u16; 2]> {
    let size = tcgetwinsize(io::stdout())
        .or_else(|_| tcgetwinsize(io::stdin()))
        .ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some([size.ws_row, size.ws_col])
}

/// The terminal of standard input, raw until this is dropped.
pub(crate) struct RawTerminal(());

impl RawTerminal {
    /// Makes it raw; none where standard input is no terminal.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        if !stdin_is_terminal() {
            return Ok(None);
        }
        // A panic doesn't unwind in release builds, so dropping isn't enough.
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        let attributes = tcgetattr(io::stdin())?;
        let mut raw = attributes.clone();
        raw.make_raw();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(attributes);
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal as it was. Does nothing where it is.
pub(crate) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(attributes) = before {
        // There is nothing else to be done about it.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &attributes);
    }
}
