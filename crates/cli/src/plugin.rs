//! Verbs that aren't ours: `coracle NAME` runs `coracle-NAME` from PATH.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::ArgMatches;

use crate::app;
use crate::error::{Error, Result};

/// Becomes the plugin.
pub(crate) fn exec(name: &str, matches: &ArgMatches) -> Result<u8> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.chars().all(plain) || name.starts_with(['-', '.']) {
        return Err(unknown(name));
    }
    let arguments = matches.get_many::<OsString>("").unwrap_or_default();
    let error = Command::new(format!("coracle-{name}"))
        .args(arguments)
        .exec();
    if error.kind() == std::io::ErrorKind::NotFound {
        return Err(unknown(name));
    }
    Err(Error::io(format_args!("coracle-{name}"), error))
}

fn unknown(name: &str) -> Error {
    let message = format!("unknown command {name:?}");
    let command = app::command();
    let near = command
        .get_subcommands()
        .filter(|known| !known.is_hide_set())
        .map(clap::Command::get_name)
        .map(|known| (steps(known, name), known))
        .min();
    match near {
        Some((steps, known)) if steps <= 2 => {
            Error::advice(message, format!("did you mean `coracle {known}`?"))
        }
        _ => Error::advice(
            message,
            format!(
                "`coracle --help` lists all commands; a plugin would be coracle-{name} in PATH"
            ),
        ),
    }
}

/// How far two words are apart; letters in the wrong order are one step.
fn steps(a: &str, b: &str) -> usize {
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    if a != b && sorted(a) == sorted(b) {
        1
    } else {
        distance(a, b)
    }
}

/// Letters to put in, take out or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, &above) in b.iter().zip(row.iter().skip(1)) {
            left = (left + 1).min(above + 1).min(before + usize::from(x != *y));
            before = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(distance("run", "run"), 0);
        assert_eq!(distance("run", "rn"), 1);
        assert_eq!(distance("images", "imagse"), 2);
        assert_eq!(steps("images", "imagse"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
