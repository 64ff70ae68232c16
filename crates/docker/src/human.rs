//! Durations and sizes in Docker's words (`go-units`).

use std::time::Duration;

/// `2 hours`, `About a minute`, `Less than a second`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // Rounded to the nearest hour, which is what makes 90 minutes "2 hours".
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Decimal, four significant digits: `4.26MB`.
pub fn size(bytes: u64) -> String {
    size_with_precision(bytes, 4)
}

/// Decimal, with so many significant digits (`docker images` uses three).
pub fn size_with_precision(bytes: u64, digits: usize) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    scaled(bytes, 1000.0, &UNITS, digits)
}

/// Binary, four significant digits: `4.063MiB`.
pub fn binary_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    scaled(bytes, 1024.0, &UNITS, 4)
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with a few digits")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    format!("{}{unit}", general(value, digits))
}

/// Go's `%.*g` for values that need no exponent below 10^`digits`.
fn general(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let whole = usize::try_from(exponent.max(0)).unwrap_or(0);
    if exponent < -4 || whole >= digits {
        let mantissa = trim(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let decimals = digits
        .saturating_sub(1)
        .saturating_add_signed(-(exponent as isize));
    trim(&format!("{value:.decimals$}")).to_owned()
}

fn trim(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_dockers_words() {
        let hour = 3600;
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (180, "3 minutes"),
            (59 * 60, "59 minutes"),
            (hour, "About an hour"),
            (hour + 29 * 60, "About an hour"),
            (hour + 30 * 60, "2 hours"),
            (47 * hour, "47 hours"),
            (48 * hour, "2 days"),
            (13 * 24 * hour, "13 days"),
            (14 * 24 * hour, "2 weeks"),
            (59 * 24 * hour, "8 weeks"),
            (60 * 24 * hour, "2 months"),
            (729 * 24 * hour, "24 months"),
            (730 * 24 * hour, "2 years"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }

    #[test]
    fn sizes_in_dockers_words() {
        for (bytes, words) in [
            (0, "0B"),
            (1, "1B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.024kB"),
            (4_261_550, "4.262MB"),
            (999_999, "1000kB"),
            (1_500_000_000, "1.5GB"),
        ] {
            assert_eq!(size(bytes), words, "{bytes}");
        }
        assert_eq!(size_with_precision(4_261_550, 3), "4.26MB");
        assert_eq!(binary_size(64 << 20), "64MiB");
        assert_eq!(binary_size(1_500_000), "1.431MiB");
    }

    proptest::proptest! {
        #[test]
        fn anything_can_be_said(seconds: u64, bytes: u64) {
            proptest::prop_assert!(!duration(Duration::from_secs(seconds)).is_empty());
            proptest::prop_assert!(size(bytes).ends_with('B'));
            proptest::prop_assert!(binary_size(bytes).ends_with('B'));
        }
    }
}
