//! The functions: Docker's, and the most used of Go's own.

use std::cmp::Ordering;

use serde_json::Value;

use super::show::{show, truth};
use super::{Result, fail};

/// Widest padding.
const MAX_PAD: u64 = 1024;

/// Calls a function.
pub(crate) fn call(name: &str, arguments: &[Value]) -> Result<Value> {
    match (name, arguments) {
        ("json", [value]) => json(value),
        ("upper", [value]) => Ok(text(name, value)?.to_uppercase().into()),
        ("lower", [value]) => Ok(text(name, value)?.to_lowercase().into()),
        ("title", [value]) => Ok(title(&text(name, value)?).into()),
        ("join", [list, separator]) => join(list, &text(name, separator)?),
        ("split", [value, separator]) => {
            let (value, separator) = (text(name, value)?, text(name, separator)?);
            Ok(value.split(&separator).map(Value::from).collect())
        }
        ("pad", [value, before, after]) => {
            let (before, after) = (count(name, before)?, count(name, after)?);
            let value = text(name, value)?;
            Ok(format!("{:before$}{value}{:after$}", "", "").into())
        }
        ("truncate", [value, length]) => {
            let length = count(name, length)?;
            Ok(text(name, value)?
                .chars()
                .take(length)
                .collect::<String>()
                .into())
        }
        ("index", [value, keys @ ..]) => index(value, keys),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("len", [value]) => length(value),
        ("print", values) => Ok(values.iter().map(show).collect::<String>().into()),
        ("println", values) => {
            let shown: Vec<String> = values.iter().map(show).collect();
            Ok(format!("{}\n", shown.join(" ")).into())
        }
        ("not", [value]) => Ok((!truth(value)).into()),
        ("and", [first, rest @ ..]) => {
            let all = rest.iter().fold(
                first,
                |so_far, next| {
                    if truth(so_far) { next } else { so_far }
                },
            );
            Ok(all.clone())
        }
        ("or", [first, rest @ ..]) => {
            let any = rest.iter().fold(
                first,
                |so_far, next| {
                    if truth(so_far) { so_far } else { next }
                },
            );
            Ok(any.clone())
        }
        ("eq", [first, rest @ ..]) if !rest.is_empty() => {
            Ok(rest.iter().any(|value| equal(first, value)).into())
        }
        ("ne", [first, second]) => Ok((!equal(first, second)).into()),
        ("lt", [first, second]) => Ok(order(first, second)?.is_lt().into()),
        ("le", [first, second]) => Ok(order(first, second)?.is_le().into()),
        ("gt", [first, second]) => Ok(order(first, second)?.is_gt().into()),
        ("ge", [first, second]) => Ok(order(first, second)?.is_ge().into()),
        (
            "json" | "upper" | "lower" | "title" | "join" | "split" | "pad" | "truncate" | "index"
            | "slice" | "len" | "not" | "and" | "or" | "eq" | "ne" | "lt" | "le" | "gt" | "ge",
            _,
        ) => fail(format!(
            "wrong number of arguments for {name}: {}",
            arguments.len()
        )),
        ("printf", _) => fail("function \"printf\" is not supported: write the text around {{…}}"),
        _ => fail(format!("function {name:?} not defined")),
    }
}

fn json(value: &Value) -> Result<Value> {
    serde_json::to_string(value)
        .map(Value::from)
        .or_else(|error| fail(error.to_string()))
}

fn text(function: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        other => fail(format!("{function} wants a string, not {}", show(other))),
    }
}

fn count(function: &str, value: &Value) -> Result<usize> {
    let number = value.as_u64().filter(|number| *number <= MAX_PAD);
    match number.and_then(|number| usize::try_from(number).ok()) {
        Some(number) => Ok(number),
        None => fail(format!(
            "{function} wants a number from 0 to {MAX_PAD}, not {}",
            show(value)
        )),
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let c = if start { c.to_ascii_uppercase() } else { c };
            start = !c.is_alphanumeric();
            c
        })
        .collect()
}

fn join(list: &Value, separator: &str) -> Result<Value> {
    match list {
        Value::Null => Ok("".into()),
        Value::Array(values) => {
            let shown: Vec<String> = values.iter().map(show).collect();
            Ok(shown.join(separator).into())
        }
        other => fail(format!("join wants a list, not {}", show(other))),
    }
}

fn index(value: &Value, keys: &[Value]) -> Result<Value> {
    let mut value = value;
    for key in keys {
        value = match (value, key) {
            // As with Go's maps, what isn't there is nothing.
            (Value::Object(map), Value::String(key)) => map.get(key).unwrap_or(&Value::Null),
            (Value::Array(values), Value::Number(number)) => {
                let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
                match at.and_then(|at| values.get(at)) {
                    Some(found) => found,
                    None => return fail(format!("index out of range: {number}")),
                }
            }
            (Value::Null, _) => return fail("index of nothing"),
            (value, key) => {
                return fail(format!("can't index {} with {}", show(value), show(key)));
            }
        };
    }
    Ok(value.clone())
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.len(),
        other => return fail(format!("slice wants a string or list, not {}", show(other))),
    };
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Some(default),
        Some(value) => usize::try_from(value.as_u64()?).ok(),
    };
    let sliced = bound(0, 0)
        .zip(bound(1, length))
        .and_then(|(from, to)| match value {
            Value::String(text) => text.get(from..to).map(Value::from),
            Value::Array(values) => values.get(from..to).map(|part| part.to_vec().into()),
            _ => None,
        });
    sliced.map_or_else(|| fail("slice: index out of range"), Ok)
}

fn length(value: &Value) -> Result<Value> {
    match value {
        Value::Null => Ok(0.into()),
        Value::String(text) => Ok(text.len().into()),
        Value::Array(values) => Ok(values.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        other => fail(format!("len of {}", show(other))),
    }
}

fn equal(first: &Value, second: &Value) -> bool {
    match (first.as_f64(), second.as_f64()) {
        (Some(first), Some(second)) => first.total_cmp(&second) == Ordering::Equal,
        _ => first == second,
    }
}

fn order(first: &Value, second: &Value) -> Result<Ordering> {
    match (first, second) {
        (Value::String(first), Value::String(second)) => Ok(first.cmp(second)),
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            Ok(a.total_cmp(&b))
        }
        _ => fail(format!(
            "{} and {} can't be compared",
            show(first),
            show(second)
        )),
    }
}
