//! Users and groups, looked up in the container's own files as Docker does.

use crate::fs::Fs;
use crate::shell::{User, records};

/// Who a process runs as; the error is Docker's text.
pub(crate) fn resolve(fs: &Fs, text: &str) -> Result<User, String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let passwd = records(&fs.read("/", "/etc/passwd").unwrap_or_default());
    let groups = records(&fs.read("/", "/etc/group").unwrap_or_default());
    let number = |fields: &[String], n: usize| fields.get(n).and_then(|field| field.parse().ok());
    let id: Option<u32> = user.parse().ok();
    let entry = passwd.iter().find(|fields| match id {
        Some(id) => number(fields, 2) == Some(id),
        None if user.is_empty() => number(fields, 2) == Some(0),
        None => fields.first().is_some_and(|name| name == user),
    });
    let mut found = match (entry, id) {
        (Some(fields), _) => User {
            uid: number(fields, 2).unwrap_or(0),
            gid: number(fields, 3).unwrap_or(0),
            home: fields.get(5).cloned(),
        },
        (None, Some(uid)) => User {
            uid,
            ..User::default()
        },
        (None, None) if user.is_empty() => User::default(),
        (None, None) => {
            return Err(format!(
                "unable to find user {user}: no matching entries in passwd file"
            ));
        }
    };
    if !group.is_empty() {
        let entry = groups
            .iter()
            .find(|fields| fields.first().is_some_and(|name| name == group));
        found.gid = match (entry, group.parse()) {
            (Some(fields), _) => number(fields, 2).unwrap_or(0),
            (None, Ok(gid)) => gid,
            (None, Err(_)) => {
                return Err(format!(
                    "unable to find group {group}: no matching entries in group file"
                ));
            }
        };
    }
    Ok(found)
}
