//! Times as Docker's tables show them.

use std::time::Duration;

use coracle_docker::human;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `2 hours ago`; `N/A` where there is no time.
pub(crate) fn ago(time: Option<Timestamp>) -> String {
    let Some(time) = time else {
        return "N/A".to_owned();
    };
    let passed = Timestamp::now().duration_since(time);
    let passed = Duration::try_from(passed).unwrap_or_default();
    format!("{} ago", human::duration(passed))
}

/// `2026-01-02 03:04:05 +0000 UTC`, in the local time zone.
pub(crate) fn created_at(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "0001-01-01 00:00:00 +0000 UTC".to_owned(),
        |time| {
            let zoned = time.to_zoned(TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S%.f %z %Z").to_string()
        },
    )
}

/// `2026-01-02T03:04:05+01:00`, in the local time zone.
pub(crate) fn iso(time: Option<Timestamp>) -> String {
    time.map_or_else(
        || "N/A".to_owned(),
        |time| {
            let zoned = time.to_zoned(TimeZone::system());
            utc(&zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string())
        },
    )
}

/// `2026-01-02T03:04:05.000000006+01:00`, in the local time zone.
pub(crate) fn local(time: Timestamp) -> String {
    let zoned = time.to_zoned(TimeZone::system());
    utc(&zoned.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string())
}

/// `Z` for no difference to UTC, as Go has it.
fn utc(text: &str) -> String {
    match text.strip_suffix("+00:00") {
        Some(time) => format!("{time}Z"),
        None => text.to_owned(),
    }
}
