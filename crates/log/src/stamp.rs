//! Times of log entries.

use std::io::Write;

use jiff::Timestamp;

/// Writes times as RFC 3339 with as many digits as needed (Go's `RFC3339Nano`), remembering the
/// last second's text, as a burst of lines shares it.
#[derive(Debug)]
pub(crate) struct Stamper {
    second: i64,
    text: String,
}

impl Stamper {
    pub(crate) const fn new() -> Self {
        Self {
            second: i64::MIN,
            text: String::new(),
        }
    }

    /// Appends the time `nanos` since 1970.
    pub(crate) fn write(&mut self, nanos: i64, out: &mut Vec<u8>) {
        let second = nanos.div_euclid(1_000_000_000);
        let mut fraction = nanos.rem_euclid(1_000_000_000);
        if second != self.second {
            self.second = second;
            let whole = Timestamp::from_second(second).unwrap_or_default();
            self.text = whole.to_string();
            self.text.pop();
        }
        out.extend_from_slice(self.text.as_bytes());
        if fraction != 0 {
            let mut width = 9;
            while fraction % 10 == 0 {
                fraction /= 10;
                width -= 1;
            }
            // Writing to a Vec can't fail.
            let _ = write!(out, ".{fraction:0width$}");
        }
        out.push(b'Z');
    }
}

/// The wall clock, made strictly increasing within a millisecond, so that every entry has a
/// time of its own and a reader can go on after any. Larger steps back of the clock show.
#[derive(Debug)]
pub(crate) struct Clock {
    last: i64,
}

impl Clock {
    pub(crate) const fn new() -> Self {
        Self { last: 0 }
    }

    pub(crate) fn after(&mut self, now: i64) -> i64 {
        let behind = self.last.saturating_sub(now);
        self.last = if (0..1_000_000).contains(&behind) {
            self.last + 1
        } else {
            now
        };
        self.last
    }
}

/// Nanoseconds since 1970, now.
pub(crate) fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_go_writes_them() {
        let mut stamper = Stamper::new();
        let mut at = |nanos| {
            let mut out = Vec::new();
            stamper.write(nanos, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(at(120_000_000), "1970-01-01T00:00:00.12Z");
        assert_eq!(at(1_700_000_000_100_000_000), "2023-11-14T22:13:20.1Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn the_clock_never_repeats() {
        let mut clock = Clock::new();
        assert_eq!(clock.after(5_000_000), 5_000_000);
        assert_eq!(clock.after(5_000_000), 5_000_001);
        assert_eq!(clock.after(4_999_999), 5_000_002);
        assert_eq!(clock.after(6_000_000), 6_000_000);
        assert_eq!(clock.after(1_000_000), 1_000_000, "a real step back shows");
    }

    proptest! {
        #[test]
        fn round_trip(nanos in 0i64..4_000_000_000_000_000_000) {
            let mut out = Vec::new();
            Stamper::new().write(nanos, &mut out);
            let time: Timestamp = std::str::from_utf8(&out).unwrap().parse().unwrap();
            prop_assert_eq!(time.as_nanosecond(), i128::from(nanos));
        }
    }
}
