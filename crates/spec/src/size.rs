//! Sizes as users write them, with Docker's errors (`RAMInBytes` of `docker/go-units`).

use crate::SpecError;

/// Bytes of `16m`, `1.5GiB`, `1024`, `2 kb`: units are powers of 1024.
///
/// # Errors
/// With Docker's texts.
pub(crate) fn bytes(text: &str) -> Result<u64, SpecError> {
    let invalid = || SpecError::invalid(format!("invalid size: '{text}'"));
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ' ');
    let last = text.rfind(is_number).ok_or_else(invalid)?;
    let (number, suffix) = text.split_at(last + 1);
    // One space parts them, at most.
    let number = number.strip_suffix(' ').unwrap_or(number);
    let value: f64 = number.parse().map_err(|_| {
        SpecError::invalid(format!(
            "strconv.ParseFloat: parsing {number:?}: invalid syntax"
        ))
    })?;
    if value < 0.0 {
        return Err(invalid());
    }
    let suffix = suffix.to_ascii_lowercase();
    let unit = suffix.trim_end_matches('b').trim_end_matches('i');
    let shift = match unit {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(bad_suffix(&suffix)),
    };
    let is_known = match suffix.strip_prefix(unit).unwrap_or_default() {
        "" | "b" => true,
        "ib" => !unit.is_empty(),
        _ => false,
    };
    if !is_known {
        return Err(bad_suffix(&suffix));
    }
    // Too large a number becomes the largest.
    Ok((value * (1_u64 << shift) as f64) as u64)
}

fn bad_suffix(suffix: &str) -> SpecError {
    SpecError::invalid(format!("invalid suffix: '{suffix}'"))
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_as_docker_does() {
        for (text, wanted) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32 KB", 32 << 10),
            ("32k", 32 << 10),
            ("32kib", 32 << 10),
            ("1.5m", 3 << 19),
            (".5g", 1 << 29),
            ("10G", 10 << 30),
            ("2Tb", 2 << 40),
            ("1p", 1 << 50),
            ("1e3", 1000),
            ("999999999p", u64::MAX),
        ] {
            assert_eq!(bytes(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn its_errors_are_dockers() {
        for (text, wanted) in [
            ("", "invalid size: ''"),
            ("many", "invalid size: 'many'"),
            ("-32", "invalid size: '-32'"),
            ("32bb", "invalid suffix: 'bb'"),
            ("32ib", "invalid suffix: 'ib'"),
            ("32 kx", "invalid suffix: 'kx'"),
            ("32kibb", "invalid suffix: 'kibb'"),
            ("32mbi", "invalid suffix: 'mbi'"),
            ("10x", "invalid suffix: 'x'"),
            (
                "1.2.3m",
                "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax",
            ),
            (" ", "strconv.ParseFloat: parsing \"\": invalid syntax"),
        ] {
            assert_eq!(bytes(text).unwrap_err().to_string(), wanted, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = bytes(&text);
        }
    }
}
