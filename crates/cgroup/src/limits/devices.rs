//! Which devices may be made, read and written.
//!
//! Rules are read in order, and for each kind of access the last rule that matches counts; what no
//! rule matches is denied. v2 gets a program for that. v1's lists are less expressive (a device
//! can't be taken out of an allowed range); rules that they can't hold are refused.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use oci_spec::runtime::LinuxDeviceCgroup;
use oci_spec::runtime::LinuxDeviceType;

use super::Fresh;
use super::program;
use crate::Cgroup;
use crate::Error;
use crate::error::is_permission;
use crate::files;
use crate::sys;
use crate::sys::Instruction;

const NAME: &str = "devices";
const MAX_RULES: usize = 4096;

pub(super) const MKNOD: u8 = 1;
pub(super) const READ: u8 = 2;
pub(super) const WRITE: u8 = 4;
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Block,
    Char,
}

/// A rule; `None` is "any".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    pub(super) kind: Option<Kind>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    /// Bits of [`ALL`].
    pub(super) access: u8,
}

impl Rule {
    /// Whether it is about everything, so that no earlier rule matters.
    pub(super) fn is_total(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == ALL
    }
}

pub(super) fn apply(
    cgroup: &Cgroup,
    rules: &[LinuxDeviceCgroup],
    fresh: Fresh,
) -> Result<(), Error> {
    if rules.len() > MAX_RULES {
        let reason = "there are too many rules";
        return Err(Error::invalid(NAME, rules.len(), reason));
    }
    let rules = rules.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    let result = match (cgroup.v1("devices"), cgroup.v2.as_deref()) {
        (Some(dir), _) => v1(dir, &rules),
        (None, Some(dir)) => v2(dir, &rules, fresh),
        (None, None) => Err(Error::unavailable(NAME, "devices")),
    };
    match result {
        Err(Error::Unavailable { .. }) if cgroup.rootless => Ok(()),
        Err(error) if cgroup.rootless && error.is_permission() => Ok(()),
        result => result,
    }
}

fn rule(rule: &LinuxDeviceCgroup) -> Result<Rule, Error> {
    let invalid = |reason| Error::invalid(NAME, rule, reason);
    let kind = match rule.typ().unwrap_or_default() {
        LinuxDeviceType::A => None,
        LinuxDeviceType::B => Some(Kind::Block),
        LinuxDeviceType::C | LinuxDeviceType::U => Some(Kind::Char),
        LinuxDeviceType::P => return Err(invalid("FIFOs are not devices")),
    };
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => match u32::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(invalid("it has a number out of range")),
        },
    };
    let mut access = 0;
    for c in rule.access().iter().flat_map(|text| text.chars()) {
        access |= match c {
            'm' => MKNOD,
            'r' => READ,
            'w' => WRITE,
            _ => return Err(invalid("access is made of the letters r, w and m")),
        };
    }
    Ok(Rule {
        allow: rule.allow(),
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        // Not given means all.
        access: if access == 0 { ALL } else { access },
    })
}

fn v2(dir: &Path, rules: &[Rule], fresh: Fresh) -> Result<(), Error> {
    let all_allowed = rules
        .last()
        .is_some_and(|last| last.allow && last.is_total());
    if all_allowed && fresh == Fresh::Yes {
        return Ok(());
    }
    let failed = |action, error: std::io::Error| match error.raw_os_error() {
        // The kernel is built without CONFIG_CGROUP_BPF.
        Some(libc::EINVAL | libc::ENOSYS) => Error::unavailable(NAME, "devices"),
        _ => Error::io(action, dir, error),
    };
    let cgroup = std::fs::File::open(dir).map_err(|error| Error::io("opening", dir, error))?;
    let cgroup = cgroup.as_fd();
    let before = match fresh {
        Fresh::Yes => Vec::new(),
        Fresh::No => sys::attached_device_programs(cgroup)
            .map_err(|error| failed("listing device programs of", error))?,
    };
    let program = match fresh {
        Fresh::Yes => loaded(program::compile(rules)),
        // The same one can't be attached twice.
        Fresh::No => sys::load_device_program(&program::compile(rules)).map(Arc::new),
    };
    let program = program.map_err(|error| failed("loading a device program for", error))?;
    sys::attach_device_program(cgroup, program.as_fd())
        .map_err(|error| failed("attaching a device program to", error))?;
    // Only now, so that at no moment everything is allowed.
    for id in before {
        sys::detach_device_program(cgroup, id)
            .map_err(|error| failed("detaching a device program from", error))?;
    }
    Ok(())
}

/// Loads a program, which takes the kernel long, unless it's the one that was loaded last: most
/// containers have the same rules.
fn loaded(program: Vec<Instruction>) -> std::io::Result<Arc<OwnedFd>> {
    static LAST: Mutex<Option<(Vec<Instruction>, Arc<OwnedFd>)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((same, loaded)) = &*last
        && *same == program
    {
        return Ok(loaded.clone());
    }
    let loaded = Arc::new(sys::load_device_program(&program)?);
    *last = Some((program, loaded.clone()));
    Ok(loaded)
}

fn v1(dir: &Path, rules: &[Rule]) -> Result<(), Error> {
    let lines = v1_lines(rules)?;
    let failed = |file: &str, error| Error::io("writing", dir.join(file), error);
    let (allow, deny) = ("devices.allow", "devices.deny");
    let mut open = [(allow, None), (deny, None)];
    for (is_allow, line) in &lines {
        let [allow, deny] = &mut open;
        let (name, file) = if *is_allow { allow } else { deny };
        let file = match file {
            Some(file) => file,
            None => file.insert(files::open(dir, name).map_err(|error| failed(name, error))?),
        };
        file.write_all(line.as_bytes())
            .map_err(|error| match is_permission(&error) {
                true => Error::io("allowing a device in", dir, error),
                false => failed(name, error),
            })?;
    }
    Ok(())
}

/// Lines for `devices.allow` (true) and `devices.deny`.
fn v1_lines(rules: &[Rule]) -> Result<Vec<(bool, String)>, Error> {
    let start = rules.iter().rposition(Rule::is_total);
    let (default, rest) = match start.and_then(|start| rules.split_at_checked(start)) {
        Some((_, [total, rest @ ..])) => (total.allow, rest),
        _ => (false, rules),
    };
    let mut lines = vec![(default, "a *:* rwm".to_owned())];
    // What the kernel's list of exceptions holds (security/device_cgroup.c).
    let mut exceptions: Vec<Rule> = Vec::new();
    for rule in rest {
        for kind in [Kind::Block, Kind::Char] {
            if rule.kind.is_some_and(|other| other != kind) {
                continue;
            }
            let rule = Rule {
                kind: Some(kind),
                ..*rule
            };
            let line = v1_line(&rule);
            if rule.allow != default {
                exceptions.push(rule);
            } else {
                for exception in &mut exceptions {
                    if (exception.kind, exception.major, exception.minor)
                        == (rule.kind, rule.major, rule.minor)
                    {
                        exception.access &= !rule.access;
                    }
                }
                if exceptions.iter().any(|exception| overlap(exception, &rule)) {
                    let reason = "cgroup v1 can't make an exception from an exception";
                    return Err(Error::invalid(NAME, line, reason));
                }
            }
            lines.push((rule.allow, line));
        }
    }
    Ok(lines)
}

fn overlap(one: &Rule, other: &Rule) -> bool {
    let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
    one.kind == other.kind
        && meet(one.major, other.major)
        && meet(one.minor, other.minor)
        && one.access & other.access != 0
}

fn v1_line(rule: &Rule) -> String {
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    let mut line = match rule.kind {
        Some(Kind::Block) => "b ".to_owned(),
        _ => "c ".to_owned(),
    };
    line.push_str(&format!("{}:{} ", number(rule.major), number(rule.minor)));
    for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
        if rule.access & bit != 0 {
            line.push(letter);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Vec<Rule> {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
        rules.iter().map(|other| rule(other).unwrap()).collect()
    }

    #[test]
    fn v1_lists() {
        let list = rules(
            r#"[{"allow":true,"type":"c","major":9,"minor":9,"access":"r"},
                {"allow":false,"access":"rwm"},
                {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
                {"allow":true,"type":"a","major":-1,"minor":-1,"access":"m"},
                {"allow":true,"type":"c","major":136,"access":"rw"}]"#,
        );
        let lines: Vec<_> = v1_lines(&list).unwrap();
        let text = |line: &(bool, String)| format!("{} {}", if line.0 { '+' } else { '-' }, line.1);
        assert_eq!(
            lines.iter().map(text).collect::<Vec<_>>(),
            [
                "- a *:* rwm",
                "+ c 1:3 rwm",
                "+ b *:* m",
                "+ c *:* m",
                "+ c 136:* rw"
            ]
        );
        // Without a first rule about everything, everything is denied first.
        let list = rules(r#"[{"allow":true,"type":"b","major":8,"access":"r"}]"#);
        assert_eq!(v1_lines(&list).unwrap().len(), 2);
        let list = rules(r#"[{"allow":true,"access":"rwm"}]"#);
        assert_eq!(v1_lines(&list).unwrap(), [(true, "a *:* rwm".to_owned())]);
    }

    #[test]
    fn v1_refuses_what_it_would_ignore() {
        let list = rules(
            r#"[{"allow":false}, {"allow":true,"type":"c","access":"rwm"},
                {"allow":false,"type":"c","major":1,"minor":3,"access":"w"}]"#,
        );
        assert!(matches!(v1_lines(&list), Err(Error::Invalid { .. })));
        let list = rules(
            r#"[{"allow":false}, {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
                {"allow":false,"type":"c","major":1,"minor":3,"access":"w"}]"#,
        );
        assert!(v1_lines(&list).is_ok());
    }

    #[test]
    fn bad_rules() {
        for json in [
            r#"{"allow":true,"type":"p"}"#,
            r#"{"allow":true,"type":"c","major":-2}"#,
            r#"{"allow":true,"type":"c","major":4294967296}"#,
            r#"{"allow":true,"access":"rx"}"#,
        ] {
            let bad: LinuxDeviceCgroup = serde_json::from_str(json).unwrap();
            assert!(matches!(rule(&bad), Err(Error::Invalid { .. })), "{json}");
        }
    }
}
