//! Lists, page by page.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_native::Page;
use http::StatusCode;

use crate::native::error::{Answer, NativeError};

/// Items where no limit is given.
const DEFAULT: u16 = 100;
/// The highest limit.
const MAX: u16 = 1000;

/// The page that is asked for, of items that each have a key of their own. Pages are in the order of
/// the keys, and a cursor is the key of the last item: what comes and goes meanwhile moves nothing.
pub(crate) fn page<S, T>(
    items: Vec<S>,
    key: impl Fn(&S) -> String,
    limit: Option<u16>,
    cursor: Option<&str>,
    convert: impl FnMut(S) -> T,
) -> Answer<Page<T>> {
    let limit = usize::from(checked(limit)?);
    let after = cursor.map(decode).transpose()?;
    let mut keyed: Vec<(String, S)> = items
        .into_iter()
        .map(|item| (key(&item), item))
        .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after))
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    let more = keyed.len() > limit;
    keyed.truncate(limit);
    let last = keyed.last().filter(|_| more);
    let next_cursor = last.map(|(key, _)| URL_SAFE_NO_PAD.encode(key));
    Ok(Page {
        items: keyed
            .into_iter()
            .map(|(_, item)| item)
            .map(convert)
            .collect(),
        next_cursor,
    })
}

/// A key by which the newest come first.
pub(crate) fn newest(time: jiff::Timestamp, id: &str) -> String {
    let age = u128::try_from((1 << 100) - time.as_nanosecond()).unwrap_or_default();
    format!("{age:040}{id}")
}

fn invalid(message: &str) -> NativeError {
    NativeError::new(StatusCode::BAD_REQUEST, "invalidQuery", message)
}

fn checked(limit: Option<u16>) -> Answer<u16> {
    match limit.unwrap_or(DEFAULT) {
        limit @ 1..=MAX => Ok(limit),
        _ => Err(invalid("limit must be from 1 to 1000")),
    }
}

fn decode(cursor: &str) -> Answer<String> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| invalid("cursor is not one that this daemon gave"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_whatever_comes_and_goes() {
        let mut names: Vec<String> = (0..10).map(|n| format!("n{n}")).collect();
        let get = |names: &Vec<String>, cursor: Option<&str>| {
            page(names.clone(), Clone::clone, Some(4), cursor, |name| name).unwrap()
        };
        let first = get(&names, None);
        assert_eq!(first.items, ["n0", "n1", "n2", "n3"]);
        // The last of the first page goes, and one comes that belongs before it.
        names.retain(|name| name != "n3");
        names.push("n1a".to_owned());
        let second = get(&names, first.next_cursor.as_deref());
        assert_eq!(second.items, ["n4", "n5", "n6", "n7"]);
        let third = get(&names, second.next_cursor.as_deref());
        assert_eq!((third.items.len(), third.next_cursor), (2, None));
    }

    #[test]
    fn nonsense_is_refused() {
        let get = |limit, cursor| page(vec![1], i32::to_string, limit, cursor, |n| n);
        assert!(get(Some(0), None).is_err());
        assert!(get(Some(1001), None).is_err());
        assert!(get(None, Some("%%")).is_err());
        assert_eq!(get(None, None).unwrap().items, [1]);
    }

    #[test]
    fn newest_first() {
        let time = |second| jiff::Timestamp::from_second(second).unwrap();
        assert!(newest(time(2), "a") < newest(time(1), "a"));
        assert!(newest(time(-1), "a") > newest(time(1), "a"));
    }
}
