//! Bytes and durations as Docker's options have them.

/// `512`, `10k`, `1.5g`, `2MiB`: bytes, with units of 1024 (go-units' `RAMInBytes`).
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("{text:?} is no size: want a number and a unit such as b, k, m, g");
    let end = text
        .char_indices()
        .find(|(_, c)| !c.is_ascii_digit() && *c != '.')
        .map_or(text.len(), |(at, _)| at);
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(invalid()),
    };
    let scale = 1_i64 << shift;
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(scale).ok_or_else(invalid);
    }
    let number: f64 = number.parse().map_err(|_| invalid())?;
    #[allow(clippy::cast_precision_loss, reason = "the scale is a power of two")]
    let bytes = number * scale as f64;
    // 2^63, which is what a 64-bit number can't hold any more.
    if !(0.0..9_223_372_036_854_775_808.0).contains(&bytes) {
        return Err(invalid());
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "in range, and the fraction goes"
    )]
    Ok(bytes as i64)
}

/// The same, and `-1`.
pub(crate) fn positive_bytes(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// `300ms`, `1.5h`, `1m30s`, `0`: nanoseconds (Go's `time.ParseDuration`).
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("{text:?} is no duration: want numbers with units, such as 1m30s");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(prefix(rest, |c| c.is_ascii_digit() || c == '.'));
        let (unit, after) = after.split_at(prefix(after, |c| !c.is_ascii_digit() && c != '.'));
        let scale: i64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(invalid()),
        };
        total = scaled(number, scale)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(invalid)?;
        rest = after;
    }
    Ok(if negative { -total } else { total })
}

/// Bytes of the text's beginning that are of a kind.
fn prefix(text: &str, of_kind: impl Fn(char) -> bool) -> usize {
    text.char_indices()
        .find(|(_, c)| !of_kind(*c))
        .map_or(text.len(), |(at, _)| at)
}

/// A decimal number times a whole one, exactly, with what is below one left out.
pub(crate) fn scaled(number: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut total = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.chars() {
        let digit = i64::from(digit.to_digit(10)?);
        // Exact while the scale has factors of ten left, which those of time have for long enough.
        total = total.checked_add(place / 10 * digit + place % 10 * digit / 10)?;
        place /= 10;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_gos() {
        for (text, value) in [
            ("0", 0),
            ("512", 512),
            ("1b", 1),
            ("10k", 10 << 10),
            ("10K", 10 << 10),
            ("4 MB", 4 << 20),
            ("1.5g", 3 << 29),
            ("2GiB", 2 << 30),
            ("1t", 1 << 40),
        ] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for text in [
            "",
            "m",
            "-1",
            "1x",
            "1 2",
            "1e3",
            "9999999999g",
            "1.2.3",
            "nan",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(positive_bytes("-1"), Ok(-1));
    }

    #[test]
    fn durations_are_gos() {
        let s = 1_000_000_000;
        for (text, value) in [
            ("0", 0),
            ("30s", 30 * s),
            ("1m30s", 90 * s),
            ("1.5h", 5400 * s),
            ("100ms", s / 10),
            ("-2s", -2 * s),
            ("+2s", 2 * s),
            (".5s", s / 2),
            ("1h1m1s1ms1us1ns", 3_661_001_001_001),
        ] {
            assert_eq!(duration(text), Ok(value), "{text}");
        }
        for text in ["", "1", "s", "1x", "1m30", ".s", "-", "99999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = bytes(&text);
            let _ = duration(&text);
        }

        #[test]
        fn any_number_is_read_or_refused(text in "[-0-9.a-zµ ]{0,12}") {
            let _ = bytes(&text);
            let _ = duration(&text);
        }
    }
}
