//! YAML, of JSON values.

use serde_json::Value;

/// A value as a YAML document.
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

/// Writes a value that begins at the start of a line, with its line end.
fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                pad(out, depth);
                entry(out, key, value, depth);
            }
        }
        Value::Array(values) if !values.is_empty() => {
            for value in values {
                pad(out, depth);
                item(out, value, depth);
            }
        }
        value => {
            pad(out, depth);
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn entry(out: &mut String, key: &str, value: &Value, depth: usize) {
    out.push_str(&string(key));
    out.push(':');
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(out, value, depth + 1);
        }
        Value::Array(values) if !values.is_empty() => {
            out.push('\n');
            block(out, value, depth + 1);
        }
        value => {
            out.push(' ');
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn item(out: &mut String, value: &Value, depth: usize) {
    out.push_str("- ");
    match value {
        Value::Object(map) => {
            let mut entries = map.iter();
            match entries.next() {
                Some((key, value)) => entry(out, key, value, depth + 1),
                None => out.push_str("{}\n"),
            }
            for (key, value) in entries {
                pad(out, depth + 1);
                entry(out, key, value, depth + 1);
            }
        }
        Value::Array(values) => {
            let mut values = values.iter();
            match values.next() {
                Some(value) => item(out, value, depth + 1),
                None => out.push_str("[]\n"),
            }
            for value in values {
                pad(out, depth + 1);
                item(out, value, depth + 1);
            }
        }
        value => {
            out.push_str(&scalar(value));
            out.push('\n');
        }
    }
}

fn pad(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

/// Plain where no reader of YAML 1.1 or 1.2 could take it for anything else, else in JSON's quotes,
/// which are YAML's.
fn string(text: &str) -> String {
    let plain = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written() {
        let value = json!({
            "a": {"b": [], "c": {}, "d": [1, "x y", [2, 3], {"e": true, "f": null}]},
            "no": "yes",
            "g": "plain-text",
        });
        assert_eq!(
            yaml(&value),
            "a:\n  b: []\n  c: {}\n  d:\n    - 1\n    - \"x y\"\n    - - 2\n      - 3\n    - e: true\n      \
             f: null\ng: plain-text\n\"no\": \"yes\"\n"
        );
        assert_eq!(yaml(&json!([])), "[]\n");
    }
}
