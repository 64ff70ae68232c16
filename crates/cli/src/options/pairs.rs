//! `key=value` options.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// `key=value`; a key alone has an empty value.
pub(crate) fn split(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, ""))
}

/// All of them, later ones first in line. A key must not be empty.
pub(crate) fn parse(option: &str, values: &[String]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for text in values {
        let (key, value) = split(text);
        if key.is_empty() {
            return Err(Error::option(option, text, "the key is missing"));
        }
        map.insert(key.to_owned(), value.to_owned());
    }
    Ok(map)
}

/// The same, where `=` must be there.
pub(super) fn strict(option: &str, values: &[String]) -> Result<BTreeMap<String, String>> {
    if let Some(text) = values.iter().find(|text| !text.contains('=')) {
        return Err(Error::option(option, text, "want KEY=VALUE"));
    }
    parse(option, values)
}

/// Fields of comma-separated values, where `"a,b"` is one (RFC 4180, a single line).
pub(super) fn fields(option: &str, text: &str) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted => {
                if chars.next_if_eq(&'"').is_some() {
                    field.push('"');
                } else {
                    quoted = false;
                    if chars.peek().is_some_and(|c| *c != ',') {
                        return Err(Error::option(
                            option,
                            text,
                            "a quote in the middle of a field",
                        ));
                    }
                }
            }
            '"' if field.is_empty() => quoted = true,
            '"' => {
                return Err(Error::option(
                    option,
                    text,
                    "a quote in the middle of a field",
                ));
            }
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(Error::option(option, text, "a quote is not closed"));
    }
    fields.push(field);
    Ok(fields)
}

/// Docker's words for yes and no (Go's `strconv.ParseBool`).
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_at_commas() {
        let fields = |text| fields("--x", text).unwrap();
        assert_eq!(fields("a,b"), ["a", "b"]);
        assert_eq!(fields("a,\"b,c=\"\"d\"\"\",e"), ["a", "b,c=\"d\"", "e"]);
        assert_eq!(fields(""), [""]);
        for bad in ["a\"b", "\"a", "\"a\"b"] {
            assert!(super::fields("--x", bad).is_err(), "{bad}");
        }
    }
}
