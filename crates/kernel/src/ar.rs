//! The `ar` archive that a Debian package is. Source: deb(5).

use std::io::{self, Read, Seek, SeekFrom};

/// Members that are looked at; a package has three, or four where it is signed.
const MAX_MEMBERS: usize = 16;

const MAGIC: &[u8; 8] = b"!<arch>\n";

/// Whether a file begins as an archive does.
pub(crate) fn is_archive(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// Goes to the contents of the first member whose name begins with `prefix`; gives their length.
/// None where there is no such member.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] where it is no archive.
pub(crate) fn find(file: &mut (impl Read + Seek), prefix: &str) -> io::Result<Option<u64>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "it is no Debian package");
    let mut magic = [0; 8];
    file.read_exact(&mut magic).map_err(|_| bad())?;
    if !is_archive(&magic) {
        return Err(bad());
    }
    let mut at = magic.len() as u64;
    for _ in 0..MAX_MEMBERS {
        let mut header = [0; 60];
        match file.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (name, rest) = header.split_at(16);
        let length = rest.get(32..42).unwrap_or_default();
        if rest.get(42..44) != Some(b"`\n") {
            return Err(bad());
        }
        let length: u64 = std::str::from_utf8(length)
            .ok()
            .and_then(|digits| digits.trim_end().parse().ok())
            .ok_or_else(bad)?;
        if name.starts_with(prefix.as_bytes()) {
            return Ok(Some(length));
        }
        // Contents are padded to even length.
        at = at
            .checked_add(60)
            .and_then(|at| at.checked_add(length)?.checked_add(length % 2))
            .ok_or_else(bad)?;
        file.seek(SeekFrom::Start(at))?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn member(name: &str, contents: &[u8]) -> Vec<u8> {
        let mut bytes = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            0,
            100_644,
            contents.len()
        )
        .into_bytes();
        bytes.extend_from_slice(contents);
        if contents.len() % 2 == 1 {
            bytes.push(b'\n');
        }
        bytes
    }

    #[test]
    fn a_member_is_found_behind_others() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(member("debian-binary", b"2.0\n"));
        bytes.extend(member("control.tar.xz", b"odd"));
        bytes.extend(member("data.tar.xz", b"here"));
        let mut file = Cursor::new(&bytes);
        assert_eq!(find(&mut file, "data.tar").unwrap(), Some(4));
        let mut found = [0; 4];
        file.read_exact(&mut found).unwrap();
        assert_eq!(&found, b"here");
        assert_eq!(find(&mut Cursor::new(&bytes), "other").unwrap(), None);
        assert!(find(&mut Cursor::new(b"!<arch"), "x").is_err());
        assert!(find(&mut Cursor::new([0; 100]), "x").is_err());
    }
}
