//! Times in filters.

use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

/// `until`: a duration before now (`24h`, `10m30s`), seconds since 1970, or RFC 3339.
pub(crate) fn parse_until(text: &str) -> Result<Timestamp> {
    let invalid = || {
        RuntimeError::InvalidArgument(format!(
            "failed to parse value as time or duration: {text:?}"
        ))
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        #[allow(clippy::cast_possible_truncation)]
        return Timestamp::from_millisecond((seconds * 1000.0) as i64).map_err(|_| invalid());
    }
    let age = go_duration(text).ok_or_else(invalid)?;
    Timestamp::now().checked_sub(age).map_err(|_| invalid())
}

/// Reads Go's durations: `1h30m`, `1.5h`, `300ms`.
fn go_duration(text: &str) -> Option<std::time::Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let units = [
            ("ms", 0.001),
            ("us", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let (unit, factor) = units.iter().find(|(unit, _)| tail.starts_with(unit))?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail.get(unit.len()..)?;
    }
    std::time::Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|_| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages() {
        assert_eq!(parse_until("0").unwrap(), Timestamp::UNIX_EPOCH);
        assert!(parse_until("1h30m").unwrap() < Timestamp::now());
        assert!(parse_until("soon").is_err());
    }
}
