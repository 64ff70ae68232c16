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

/// Has the line of a link lead elsewhere, or takes it out: the first one with its alias before all other
/// names.
pub(crate) fn set_link(
    path: &Path,
    alias: &str,
    now: Option<&(IpAddr, Vec<String>)>,
) -> io::Result<()> {
    let text = fs::read_to_string(path)?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_its = |line: &String| line.split_whitespace().nth(1) == Some(alias);
    let place = lines.iter().position(is_its);
    let line = now.map(|(ip, names)| format!("{ip}\t{}", names.join(" ")));
    match (place, line) {
        (Some(place), Some(line)) => lines[place] = line,
        (Some(place), None) => drop(lines.remove(place)),
        (None, _) => return Ok(()),
    }
    overwrite(
        path,
        &lines
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect::<String>(),
    )
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
        let at = |ip: &str| {
            Some((
                ip.parse().unwrap(),
                vec!["db".to_owned(), "host".to_owned()],
            ))
        };
        let linked = "10.0.0.9\tdb x\n10.0.0.8\tdb\n";
        fs::write(&path, linked).unwrap();
        set_link(&path, "db", at("10.0.0.7").as_ref()).unwrap();
        set_link(&path, "x", at("10.0.0.7").as_ref()).unwrap();
        let now = fs::read_to_string(&path).unwrap();
        assert_eq!(now, "10.0.0.7\tdb host\n10.0.0.8\tdb\n");
        set_link(&path, "db", None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "10.0.0.8\tdb\n");
        fs::write(&path, "127.0.0.1\tlocalhost\n10.0.0.2\tme\n").unwrap();
        replace(&path, &["other".into()], "x").unwrap();
        let text = "127.0.0.1\tlocalhost\n10.0.0.2\tme\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        replace(&path, &[text.into()], "x").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "x");
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }
}
