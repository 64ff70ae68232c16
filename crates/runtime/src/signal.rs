//! Signals by name, as `docker kill` takes them (signal(7), x86 and arm numbers).

use crate::error::{Result, RuntimeError};

/// SIGKILL.
pub const KILL: i32 = 9;
/// SIGTERM.
pub const TERM: i32 = 15;

const NAMES: [(&str, i32); 35] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("RTMIN", 34),
];

/// Reads a signal: a number from 1 to 64, or a name with or without `SIG`, in any case; `RTMIN+n`
/// and `RTMAX-n` too. Docker's error text.
pub fn parse(text: &str) -> Result<i32> {
    let invalid = || RuntimeError::InvalidArgument(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return match number {
            1..=64 => Ok(number),
            0 => Err(invalid()),
            _ => Err(RuntimeError::InvalidArgument(format!(
                "the linux daemon does not support signal {number}"
            ))),
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN+") {
        let offset: i32 = offset.parse().map_err(|_| invalid())?;
        return if (0..=30).contains(&offset) {
            Ok(34 + offset)
        } else {
            Err(invalid())
        };
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        let offset: i32 = match offset {
            "" => 0,
            _ => offset
                .strip_prefix('-')
                .and_then(|n| n.parse().ok())
                .ok_or_else(invalid)?,
        };
        return if (0..=30).contains(&offset) {
            Ok(64 - offset)
        } else {
            Err(invalid())
        };
    }
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("RTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for bad in ["", "0", "65", "-1", "SIGNOPE", "RTMIN+40", "RTMAX-x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
