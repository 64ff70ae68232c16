//! Users and groups, looked up in the container's own files as Docker does.

use std::io::Read;
use std::path::Path;

use oci_spec::runtime::User;
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Failure, Stage, Step};
use crate::path::{self, Root};

/// The most that is read of one file: an image can put any file there.
const MAX_FILE: u64 = 16 << 20;
/// Docker's limit.
const MAX_ID: u32 = i32::MAX as u32;

/// Who a process runs as.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    /// The user's home directory by the passwd file, if it was looked for and found.
    pub(crate) home: Option<String>,
}

/// Finds out who a process runs as: by `user` (`name|uid[:group|gid]`), else as the specification
/// says, and in the additional groups `groups`.
pub(crate) fn resolve(
    root: &Root,
    spec: &User,
    user: Option<&str>,
    groups: &[String],
    home: bool,
) -> Step<Identity> {
    let mut files = Files {
        root,
        passwd: None,
        group: None,
    };
    let mut identity = match user {
        Some(user) => by_name(user, &mut files)?,
        None => Identity {
            uid: spec.uid(),
            gid: spec.gid(),
            groups: Vec::new(),
            home: None,
        },
    };
    for gid in spec.additional_gids().iter().flatten() {
        push_new(&mut identity.groups, *gid);
    }
    for group in groups {
        let found = files.group()?.into_iter().find(|entry| entry.is(group));
        let gid = match (found, group.parse()) {
            (Some(entry), _) => entry.gid,
            (None, Ok(gid)) if gid <= MAX_ID => gid,
            (None, Ok(_)) => return Err(out_of_range()),
            (None, Err(_)) => return Err(no_group(group)),
        };
        push_new(&mut identity.groups, gid);
    }
    if home && identity.home.is_none() {
        let uid = identity.uid;
        let entry = files.passwd()?.into_iter().find(|entry| entry.uid == uid);
        identity.home = entry.map(|entry| entry.home.to_owned());
    }
    Ok(identity)
}

/// Docker's order: a number is an id, whatever the names; an explicit group stands alone, else the
/// user's own group and those that list the name.
fn by_name(spec: &str, files: &mut Files<'_>) -> Step<Identity> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, group),
        None => (spec, ""),
    };
    let id = user.parse::<u32>().ok();
    let entry = files.passwd()?.into_iter().find(|entry| match id {
        Some(id) => entry.uid == id,
        None if user.is_empty() => entry.uid == 0,
        None => entry.name == user,
    });
    let name = entry.as_ref().map(|entry| entry.name.to_owned());
    let mut identity = match (entry, id) {
        (Some(entry), _) => Identity {
            uid: entry.uid,
            gid: entry.gid,
            groups: Vec::new(),
            home: Some(entry.home.to_owned()),
        },
        (None, Some(id)) if id > MAX_ID => return Err(out_of_range()),
        (None, None) if !user.is_empty() => {
            return Err(Failure::new(
                Stage::User,
                format!("unable to find user {user}: no matching entries in passwd file"),
            ));
        }
        (None, id) => Identity {
            uid: id.unwrap_or_default(),
            gid: 0,
            groups: Vec::new(),
            home: None,
        },
    };
    let mut listed = Vec::new();
    if !group.is_empty() {
        let found = files.group()?.into_iter().find(|entry| entry.is(group));
        identity.gid = match (found, group.parse::<u32>()) {
            (Some(entry), _) => entry.gid,
            (None, Ok(gid)) if gid <= MAX_ID => gid,
            (None, Ok(_)) => return Err(out_of_range()),
            (None, Err(_)) => return Err(no_group(group)),
        };
    } else if let Some(name) = name {
        for entry in files.group()? {
            if entry.members.split(',').any(|member| member == name) {
                listed.push(entry.gid);
            }
        }
    }
    // The group itself is among the additional ones, or a process could give it up and so pass
    // a file that shuts out its group (CVE-2022-36109).
    push_new(&mut identity.groups, identity.gid);
    for gid in listed {
        push_new(&mut identity.groups, gid);
    }
    Ok(identity)
}

fn push_new(groups: &mut Vec<u32>, gid: u32) {
    if !groups.contains(&gid) {
        groups.push(gid);
    }
}

fn out_of_range() -> Failure {
    Failure::new(
        Stage::User,
        format!("uids and gids must be in range 0-{MAX_ID}"),
    )
}

fn no_group(group: &str) -> Failure {
    Failure::new(
        Stage::User,
        format!("unable to find group {group}: no matching entries in group file"),
    )
}

/// The two files, read when first needed.
struct Files<'r> {
    root: &'r Root,
    passwd: Option<String>,
    group: Option<String>,
}

impl Files<'_> {
    fn passwd(&mut self) -> Step<Vec<Passwd<'_>>> {
        let text = match self.passwd.take() {
            Some(text) => text,
            None => read(self.root, "/etc/passwd")?,
        };
        let text = self.passwd.insert(text);
        Ok(text.lines().filter_map(Passwd::parse).collect())
    }

    fn group(&mut self) -> Step<Vec<Group<'_>>> {
        let text = match self.group.take() {
            Some(text) => text,
            None => read(self.root, "/etc/group")?,
        };
        let text = self.group.insert(text);
        Ok(text.lines().filter_map(Group::parse).collect())
    }
}

/// Reads a file of the container's; a missing one is empty.
fn read(root: &Root, file: &str) -> Step<String> {
    let what = || format!("open {file}");
    // NONBLOCK: it could be a pipe that nobody writes to.
    let opened = match root.open(Path::new(file), OFlags::RDONLY | OFlags::NONBLOCK) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        opened => opened.during(Stage::User, what)?,
    };
    if path::kind(&opened).during(Stage::User, what)? != FileType::RegularFile {
        return Err(Failure::new(
            Stage::User,
            format!("{file} in the container is no regular file"),
        ));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(opened)
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .during(Stage::User, || format!("read {file}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::new(
            Stage::User,
            format!("{file} in the container is larger than {MAX_FILE} bytes"),
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of passwd(5).
struct Passwd<'t> {
    name: &'t str,
    uid: u32,
    gid: u32,
    home: &'t str,
}

impl<'t> Passwd<'t> {
    fn parse(line: &'t str) -> Option<Passwd<'t>> {
        let mut fields = fields(line)?;
        Some(Passwd {
            name: fields.next()?,
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
            home: fields.nth(1).unwrap_or_default(),
        })
    }
}

/// A line of group(5).
struct Group<'t> {
    name: &'t str,
    gid: u32,
    members: &'t str,
}

impl<'t> Group<'t> {
    fn parse(line: &'t str) -> Option<Group<'t>> {
        let mut fields = fields(line)?;
        Some(Group {
            name: fields.next()?,
            gid: fields.nth(1)?.parse().ok()?,
            members: fields.next().unwrap_or_default(),
        })
    }

    fn is(&self, group: &str) -> bool {
        match group.parse::<u32>() {
            Ok(gid) => self.gid == gid,
            Err(_) => self.name == group,
        }
    }
}

fn fields(line: &str) -> Option<std::str::Split<'_, char>> {
    let line = line.trim();
    (!line.is_empty() && !line.starts_with('#')).then(|| line.split(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::Mode;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# no\nbroken\nbob:x:1000:1001::/home/bob:\n\
                          1234:x:77:78::/odd:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nbob:x:1001:\nwheel:x:10:root,bob\naudio:x:29:bob\nx:y\n";

    fn resolve_in(user: Option<&str>, groups: &[&str]) -> Result<Identity, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(dir.path().join("etc/group"), GROUP).unwrap();
        let fd = rustix::fs::open(dir.path(), OFlags::PATH, Mode::empty()).unwrap();
        let groups: Vec<_> = groups.iter().map(ToString::to_string).collect();
        resolve(&Root::new(fd), &User::default(), user, &groups, true)
            .map_err(|failure| failure.message)
    }

    fn who(uid: u32, gid: u32, groups: &[u32], home: Option<&str>) -> Result<Identity, String> {
        Ok(Identity {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.map(Into::into),
        })
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let bob = Some("/home/bob");
        assert_eq!(
            resolve_in(Some("bob"), &[]),
            who(1000, 1001, &[1001, 10, 29], bob)
        );
        assert_eq!(
            resolve_in(Some("1000"), &[]),
            who(1000, 1001, &[1001, 10, 29], bob)
        );
        assert_eq!(
            resolve_in(Some("bob:wheel"), &[]),
            who(1000, 10, &[10], bob)
        );
        assert_eq!(resolve_in(Some("bob:5"), &[]), who(1000, 5, &[5], bob));
        assert_eq!(resolve_in(Some("4242"), &[]), who(4242, 0, &[0], None));
        assert_eq!(resolve_in(Some("1234"), &[]), who(1234, 0, &[0], None));
        assert_eq!(
            resolve_in(Some(":wheel"), &[]),
            who(0, 10, &[10], Some("/root"))
        );
        assert_eq!(
            resolve_in(Some(""), &[]),
            who(0, 0, &[0, 10], Some("/root"))
        );
        assert_eq!(
            resolve_in(None, &["audio", "7"]),
            who(0, 0, &[29, 7], Some("/root"))
        );
    }

    #[test]
    fn refusals_are_worded_as_dockers() {
        assert_eq!(
            resolve_in(Some("eve"), &[]).unwrap_err(),
            "unable to find user eve: no matching entries in passwd file"
        );
        assert_eq!(
            resolve_in(Some("bob:eve"), &[]).unwrap_err(),
            "unable to find group eve: no matching entries in group file"
        );
        let range = "uids and gids must be in range 0-2147483647";
        assert_eq!(resolve_in(Some("4294967295"), &[]).unwrap_err(), range);
        assert_eq!(resolve_in(None, &["4294967295"]).unwrap_err(), range);
        assert!(resolve_in(Some("99999999999"), &[]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_odd(line in ".{0,80}") {
            let _ = Passwd::parse(&line);
            let _ = Group::parse(&line);
        }
    }
}
