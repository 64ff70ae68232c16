//! Questions to the user.

use std::io::{BufRead, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::{Error, Result};
use crate::output::warn;

/// Longest answer that is read.
const MAX: u64 = 64 * 1024;

/// Asks whether to go on; without a yes, it is an error that `what` was not done.
pub(super) fn confirm(warning: &str, what: &str) -> Result<()> {
    warn(format_args!("WARNING! {warning}"));
    ask("Are you sure you want to continue? [y/N] ");
    let answer = line()?;
    if matches!(answer.trim(), "y" | "Y" | "yes" | "Yes") {
        return Ok(());
    }
    Err(Error::advice(
        format!("{what} has been cancelled"),
        "use -f to go on without a question",
    ))
}

/// Asks for a line.
pub(super) fn question(text: &str) -> Result<String> {
    ask(text);
    Ok(line()?.trim().to_owned())
}

/// Asks for a line that isn't shown while it is typed.
pub(super) fn secret(text: &str) -> Result<String> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(|_| {
        Error::advice(
            "cannot ask for a password: standard input is no terminal",
            "use --password-stdin",
        )
    })?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    ask(text);
    let restore = |error: rustix::io::Errno| Error::io("the terminal", error.into());
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(restore)?;
    let answer = line();
    let restored = tcsetattr(&stdin, OptionalActions::Drain, &before).map_err(restore);
    warn("");
    restored?;
    Ok(answer?.trim_end_matches(['\n', '\r']).to_owned())
}

fn ask(text: &str) {
    let mut stderr = std::io::stderr();
    // The answer is what counts.
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

fn line() -> Result<String> {
    let mut answer = String::new();
    std::io::Read::take(std::io::stdin().lock(), MAX)
        .read_line(&mut answer)
        .map_err(|error| Error::io("standard input", error))?;
    Ok(answer)
}
