//! Files of a running container that are mounted into it one by one: written in place, since another
//! file of the same name would not be seen inside.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

/// Replaces what a file says.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    // In one write, so that whoever reads meanwhile hardly sees a part.
    let mut file = File::options().write(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.set_len(u64::try_from(text.len()).unwrap_or(u64::MAX))
}

/// Adds a container's own addresses to its hosts file.
pub(crate) fn add_host(path: &Path, addresses: &[IpAddr], names: &str) -> io::Result<()> {
    let mut text = without(&fs::read_to_string(path)?, addresses);
    for ip in addresses {
        text.push_str(&format!("{ip}\t{names}\n"));
    }
    overwrite(path, &text)
}

/// Takes addresses out of a hosts file.
pub(crate) fn remove_host(path: &Path, addresses: &[IpAddr]) -> io::Result<()> {
    overwrite(path, &without(&fs::read_to_string(path)?, addresses))
}

fn without(text: &str, addresses: &[IpAddr]) -> String {
    let gone = |line: &&str| {
        let first = line.split_whitespace().next();
        let ip = first.and_then(|word| word.parse::<IpAddr>().ok());
        !ip.is_some_and(|ip| addresses.contains(&ip))
    };
    let lines = text.lines().filter(gone);
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Replaces what a file says, if it says one of the things that we wrote.
pub(crate) fn replace(path: &Path, ours: &[String], text: &str) -> io::Result<()> {
    let now = fs::read_to_string(path)?;
    match ours.contains(&now) {
        true => overwrite(path, text),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_same_file_says_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        fs::write(&path, "127.0.0.1\tlocalhost\n10.0.0.2\tme\n").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let new = ["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        add_host(&path, &new, "me.x me").unwrap();
        add_host(&path, &new, "me.x me").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "127.0.0.1\tlocalhost\n10.0.0.2\tme\n10.1.0.2\tme.x me\nfd00::2\tme.x me\n"
        );
        remove_host(&path, &new).unwrap();
        replace(&path, &["other".into()], "x").unwrap();
        let text = "127.0.0.1\tlocalhost\n10.0.0.2\tme\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        replace(&path, &[text.into()], "x").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }
}
