//! JSON for people, its fields in the order in which the daemon sent them.

/// Indents JSON, and changes nothing else; what isn't JSON comes out as something.
pub(crate) fn indent(json: &[u8], outer: usize) -> String {
    let text = String::from_utf8_lossy(json);
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = outer;
    let mut in_string = false;
    let mut escaped = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("    ", depth));
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn order_and_strings_stay() {
        let json = br#"{"b":[1,{}, []],"a":{"x":"{\"[,:"}}"#;
        assert_eq!(
            indent(json, 0),
            "{\n    \"b\": [\n        1,\n        {},\n        []\n    ],\n    \"a\": {\n        \
             \"x\": \"{\\\"[,:\"\n    }\n}"
        );
    }

    proptest::proptest! {
        #[test]
        fn meaning_stays(text: String, number: i64) {
            let value = serde_json::json!({"a": [text, number, null], "b": {"c": {}}});
            let again: Value = serde_json::from_str(&indent(value.to_string().as_bytes(), 0)).unwrap();
            proptest::prop_assert_eq!(again, value);
        }
    }
}
