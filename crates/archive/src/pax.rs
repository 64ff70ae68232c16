//! PAX extended header records (POSIX.1-2001, pax "Extended Header"), read and written.

use std::collections::BTreeMap;

use crate::entry::{Entry, Time};
use crate::header::id;

/// The prefix under which star, and everybody since, stores extended attributes.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// One file's extension records, as far as they are understood. Unknown keys are ignored, as the
/// standard asks.
#[derive(Debug, Default)]
pub(crate) struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) sparse: PaxSparse,
}

/// GNU's sparse records: version 0.0 and 0.1 hold the map, 1.0 has it in front of the data.
#[derive(Debug, Default)]
pub(crate) struct PaxSparse {
    pub(crate) major: Option<u64>,
    pub(crate) minor: Option<u64>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) real_size: Option<u64>,
    /// Offsets and lengths by turns.
    pub(crate) map: Option<Vec<u64>>,
}

impl Pax {
    /// Parses the records of one extended header.
    pub(crate) fn parse(mut data: &[u8]) -> Result<Pax, String> {
        let mut pax = Pax::default();
        while !data.is_empty() {
            let (key, value, rest) = record(data)?;
            pax.take(key, value)?;
            data = rest;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        // An empty value withdraws what a global header said, and globals don't count here.
        if let Some(name) = key.strip_prefix(XATTR) {
            if name.is_empty() || name.contains(&0) {
                return Err("an extended attribute's name is invalid".into());
            }
            self.xattrs.insert(name.to_vec(), value.to_vec());
            return Ok(());
        }
        match key {
            b"path" => self.path = text("path", value)?,
            b"linkpath" => self.link = text("linkpath", value)?,
            b"GNU.sparse.name" => self.sparse.name = text("GNU.sparse.name", value)?,
            _ if value.is_empty() => {}
            b"size" => self.size = Some(decimal("size", value)?),
            b"uid" => self.uid = Some(id("user", signed("uid", value)?)?),
            b"gid" => self.gid = Some(id("group", signed("gid", value)?)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"GNU.sparse.major" => self.sparse.major = Some(decimal("GNU.sparse.major", value)?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(decimal("GNU.sparse.minor", value)?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.real_size = Some(decimal("GNU.sparse.size", value)?);
            }
            b"GNU.sparse.map" => {
                let map = value
                    .split(|b| *b == b',')
                    .map(|n| decimal("GNU.sparse.map", n));
                self.sparse.map = Some(map.collect::<Result<_, _>>()?);
            }
            b"GNU.sparse.offset" => {
                let map = self.sparse.map.get_or_insert_default();
                if !map.len().is_multiple_of(2) {
                    return Err("two sparse offsets follow each other".into());
                }
                map.push(decimal("GNU.sparse.offset", value)?);
            }
            b"GNU.sparse.numbytes" => {
                let map = self.sparse.map.get_or_insert_default();
                if map.len() % 2 != 1 {
                    return Err("a sparse length has no offset".into());
                }
                map.push(decimal("GNU.sparse.numbytes", value)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Overrides what the plain header said. Size and sparseness are the reader's to merge.
    pub(crate) fn merge(&mut self, entry: &mut Entry) {
        if let Some(path) = self.path.take() {
            entry.path = path;
        }
        if let Some(link) = self.link.take() {
            entry.link = link;
        }
        entry.uid = self.uid.unwrap_or(entry.uid);
        entry.gid = self.gid.unwrap_or(entry.gid);
        entry.mtime = self.mtime.unwrap_or(entry.mtime);
        entry.xattrs = std::mem::take(&mut self.xattrs).into_iter().collect();
    }
}

/// Key, value, and what follows the record.
type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits off one `LENGTH KEY=VALUE\n`.
fn record(data: &[u8]) -> Result<Record<'_>, String> {
    let malformed = || "an extension record is malformed".to_owned();
    // A length has at most 20 digits; looking no further bounds the scan.
    let space = data
        .iter()
        .take(20)
        .position(|b| *b == b' ')
        .filter(|n| *n > 0)
        .ok_or_else(malformed)?;
    let len = decimal("record length", data.get(..space).unwrap_or_default())?;
    let len = usize::try_from(len).map_err(|_| malformed())?;
    let body = data.get(space + 1..len).ok_or_else(malformed)?;
    let rest = data.get(len..).ok_or_else(malformed)?;
    let body = body.strip_suffix(b"\n").ok_or_else(malformed)?;
    let equals = body
        .iter()
        .position(|b| *b == b'=')
        .filter(|n| *n > 0)
        .ok_or_else(malformed)?;
    let (key, value) = body.split_at(equals);
    Ok((key, value.get(1..).unwrap_or_default(), rest))
}

fn text(key: &str, value: &[u8]) -> Result<Option<Vec<u8>>, String> {
    if value.contains(&0) {
        return Err(format!("the {key} record has a NUL in it"));
    }
    Ok((!value.is_empty()).then(|| value.to_vec()))
}

/// Decimal digits only: no sign, no blanks.
pub(crate) fn decimal(key: &str, value: &[u8]) -> Result<u64, String> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|v| v.parse().ok())
        // Offsets and sizes are signed in the kernel.
        .filter(|v| i64::try_from(*v).is_ok())
        .ok_or_else(|| format!("the {key} record isn't a number"))
}

fn signed(key: &str, value: &[u8]) -> Result<i64, String> {
    match value.strip_prefix(b"-") {
        Some(value) => Ok(-(decimal(key, value)? as i64)),
        None => Ok(decimal(key, value)? as i64),
    }
}

/// `[-]SECONDS[.FRACTION]`, cut to nanoseconds.
fn time(value: &[u8]) -> Result<Time, String> {
    let negative = value.first() == Some(&b'-');
    let value = value.strip_prefix(b"-").unwrap_or(value);
    let mut parts = value.splitn(2, |b| *b == b'.');
    let secs = decimal("mtime", parts.next().unwrap_or_default())? as i64;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err("the mtime record isn't a number".into());
    }
    let mut nanos = 0u32;
    for i in 0..9 {
        nanos = nanos * 10 + fraction.get(i).map_or(0, |b| u32::from(b - b'0'));
    }
    Ok(match (negative, nanos) {
        (false, _) => Time { secs, nanos },
        (true, 0) => Time { secs: -secs, nanos },
        (true, _) => Time {
            secs: -secs - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

/// Appends one record to an extended header that is being written.
pub(crate) fn push(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Appends an extended attribute.
pub(crate) fn push_xattr(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push(out, &[XATTR, name].concat(), value);
}

/// A time as a record's value.
pub(crate) fn time_value(time: Time) -> String {
    match (time.secs < 0, time.nanos) {
        (_, 0) => time.secs.to_string(),
        (false, nanos) => format!("{}.{nanos:09}", time.secs),
        (true, nanos) => format!("-{}.{:09}", -(time.secs + 1), 1_000_000_000 - nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, key, value);
        out
    }

    #[test]
    fn lengths_count_themselves() {
        for n in [0, 1, 85, 86, 87, 88, 89, 90, 980, 990, 991, 992, 993, 9990] {
            let out = one(b"path", &vec![b'x'; n]);
            let (key, value, rest) = record(&out).unwrap();
            assert_eq!((key, value.len(), rest.len()), (&b"path"[..], n, 0));
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"5 a=b"[..],
            b"6 a=b\n\n",
            b"999 a=b\n",
            b"x a=b\n",
            b" a=b\n",
            b"5 =b\n",
            b"5 ab\n",
            b"-6 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"2 ",
            b"0 a=b\n",
        ] {
            assert!(
                Pax::parse(bad).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
        assert!(Pax::parse(&one(b"path", b"a\0b")).is_err());
        assert!(Pax::parse(&one(b"size", b"-1")).is_err());
        assert!(Pax::parse(&one(b"size", b"99999999999999999999")).is_err());
        assert!(Pax::parse(&one(b"uid", b"4294967295")).is_err());
        assert!(Pax::parse(&one(b"mtime", b"1.x")).is_err());
    }

    #[test]
    fn times() {
        for t in [
            Time { secs: 0, nanos: 0 },
            Time { secs: 1, nanos: 5 },
            Time {
                secs: -1,
                nanos: 500_000_000,
            },
            Time { secs: -7, nanos: 0 },
            Time {
                secs: 1 << 40,
                nanos: 999_999_999,
            },
        ] {
            assert_eq!(
                time(time_value(t).as_bytes()).unwrap(),
                t,
                "{}",
                time_value(t)
            );
        }
        assert_eq!(
            time(b"-0.5").unwrap(),
            Time {
                secs: -1,
                nanos: 500_000_000
            }
        );
    }

    proptest! {
        #[test]
        fn never_panics(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Pax::parse(&data);
        }

        #[test]
        fn round_trip(name in "[a-z.]{1,20}", value in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut out = Vec::new();
            push_xattr(&mut out, name.as_bytes(), &value);
            let pax = Pax::parse(&out).unwrap();
            prop_assert_eq!(pax.xattrs.get(name.as_bytes()), Some(&value));
        }
    }
}
