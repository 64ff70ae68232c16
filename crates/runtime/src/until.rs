//! Times as `until` of a prune has them.

use jiff::Timestamp;

use crate::error::{Result, RuntimeError};

/// A duration before now (`24h`, `10m30s`), seconds since 1970, or RFC 3339.
pub(crate) fn parse(text: &str) -> Result<Timestamp> {
    let invalid = || {
        RuntimeError::InvalidArgument(format!(
            "failed to parse value as time or duration: {text:?}"
        ))
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(seconds) = text.parse::<f64>() {
        #[allow(clippy::cast_possible_truncation, reason = "milliseconds are enough")]
        return Timestamp::from_millisecond((seconds * 1000.0) as i64).map_err(|_| invalid());
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        let zoned = date
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map_err(|_| invalid())?;
        return Ok(zoned.timestamp());
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(go_duration("1h30m").unwrap().as_secs(), 5400);
        assert_eq!(go_duration("300ms").unwrap().as_millis(), 300);
        assert!(go_duration("").is_none());
        assert!(go_duration("5").is_none());
        assert!(go_duration("5x").is_none());
    }

    #[test]
    fn until_takes_times_and_ages() {
        assert_eq!(parse("0").unwrap(), Timestamp::UNIX_EPOCH);
        assert!(parse("1h").unwrap() < Timestamp::now());
        assert!(parse("2020-01-01T00:00:00Z").is_ok());
        assert!(parse("2020-01-01").is_ok());
        assert!(parse("soon").is_err());
    }
}
