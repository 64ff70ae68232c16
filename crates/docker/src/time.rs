//! Times as Docker writes them: RFC 3339 with up to nine digits, and year 1 for "never".

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Go's zero time.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

/// `RFC3339Nano`, in UTC, without trailing zeros; the zero time where there is none.
pub fn format(time: Option<Timestamp>) -> String {
    time.map_or_else(|| ZERO.to_owned(), |time| time.to_string())
}

/// RFC 3339 with all nine digits, as log lines have it.
pub fn format_fixed(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// Reads RFC 3339; the zero time and the empty string are none.
pub fn parse(text: &str) -> Result<Option<Timestamp>, jiff::Error> {
    if text.is_empty() || text == ZERO {
        return Ok(None);
    }
    text.parse().map(Some)
}

/// A time on the wire, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Option<Timestamp>);

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(Some(time))
    }
}

impl From<Option<Timestamp>> for Time {
    fn from(time: Option<Timestamp>) -> Self {
        Self(time)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => out.serialize_str(ZERO),
            Some(time) => out.collect_str(&time),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(input)?.unwrap_or_default();
        parse(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A time to the second, as volumes have it; none is the empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub Option<Timestamp>);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => out.serialize_str(""),
            Some(time) => out.collect_str(&format_args!("{time:.0}")),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Time::deserialize(input).map(|time| Self(time.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_formats() {
        let time: Timestamp = "2026-01-02T03:04:05.120Z".parse().unwrap();
        assert_eq!(format(Some(time)), "2026-01-02T03:04:05.12Z");
        assert_eq!(format_fixed(time), "2026-01-02T03:04:05.120000000Z");
        assert_eq!(format(None), ZERO);
        assert_eq!(parse(ZERO).unwrap(), None);
        assert_eq!(parse("2026-01-02T03:04:05.12Z").unwrap(), Some(time));
        assert!(parse("yesterday").is_err());
    }
}
