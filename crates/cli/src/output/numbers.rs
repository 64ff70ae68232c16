//! Numbers and ids as Docker shows them.

/// The first twelve digits of an id, without the algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// `12.34%`.
pub(crate) fn percent(value: f64) -> String {
    format!("{value:.2}%")
}
