//! Times of `--since` and `--until`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::options::duration;

/// Unix seconds with nine digits after the point: of a time in RFC 3339, in full or the beginning of
/// one, of Unix seconds, or of a duration before now. Empty where none is given.
pub(super) fn time(option: &str, given: Option<&str>) -> Result<String> {
    let Some(text) = given.filter(|text| !text.is_empty()) else {
        return Ok(String::new());
    };
    let seconds = text.strip_prefix('-').unwrap_or(text);
    if seconds
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Ok(text.to_owned());
    }
    let parsed = moment(text).ok_or_else(|| {
        let why = "want a time such as 2026-01-02T13:23:37Z, or a duration such as 42m";
        Error::option(option, text, why)
    })?;
    let nanoseconds = parsed.as_nanosecond();
    let (whole, rest) = (
        nanoseconds.div_euclid(1_000_000_000),
        nanoseconds.rem_euclid(1_000_000_000),
    );
    Ok(format!("{whole}.{rest:09}"))
}

fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(ago) = duration(text) {
        let ago = jiff::SignedDuration::from_nanos(ago);
        return Timestamp::now().checked_sub(ago).ok();
    }
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    // Local time, to the day, minute or second.
    let local: DateTime = text
        .parse()
        .ok()
        .or_else(|| text.parse::<jiff::civil::Date>().ok().map(Into::into))?;
    local
        .to_zoned(TimeZone::system())
        .ok()
        .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let time = |text| time("--since", Some(text));
        assert_eq!(time("1700000000").unwrap(), "1700000000");
        assert_eq!(time("1700000000.5").unwrap(), "1700000000.5");
        assert_eq!(
            time("2026-01-02T03:04:05.25Z").unwrap(),
            "1767323045.250000000"
        );
        assert_eq!(
            time("2026-01-02T03:04:05+01:00").unwrap(),
            "1767319445.000000000"
        );
        for good in [
            "10m",
            "1h30m",
            "2026-01-02",
            "2026-01-02T03:04",
            "2026-01-02T03:04:05",
        ] {
            assert!(time(good).is_ok(), "{good}");
        }
        assert!(time("yesterday").is_err());
        assert_eq!(super::time("--since", None).unwrap(), "");
    }
}
