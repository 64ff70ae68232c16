//! The daemon as an ordinary user: it is root in a user namespace of its own.
//!
//! ```text
//! coracled (the user) ── makes, or finds ──▶ holder: user, mount and network namespace
//!        │                                      ├ newuidmap, newgidmap: the user's subordinate ids, if any
//!        │                                      └ slirp4netns: the way out, and published ports in
//!        └─ becomes, by nsenter ──▶ coracled (root inside), the daemon itself
//! ```
//!
//! The holder does nothing but keep the namespaces, so that they, and with them all containers,
//! outlive the daemon: one that starts later joins the same ones. slirp4netns ends with the holder, and
//! a daemon that starts and does not find it starts another one for the same namespaces. The work is done by the helpers
//! that every distribution has (unshare, nsenter, newuidmap, slirp4netns), each of which is privileged
//! by the system's administrator or needs no privilege.

use std::fs;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::Error;
use crate::settings::Settings;

/// Set for the daemon inside its namespaces.
const INSIDE: &str = "CORACLE_ROOTLESS";
/// The files that name the holder and slirp4netns: a copy of `/proc/PID/stat`.
const HOLDER: &str = "holder";
const SLIRP: &str = "slirp";
/// The address of the host's end that slirp4netns gives (slirp4netns(1)).
pub(crate) const GUEST: &str = "10.0.2.100";

/// Where slirp4netns asks the host's resolvers (slirp4netns(1)).
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// Where a user's daemon keeps things (XDG base directories).
#[derive(Clone, Debug)]
pub(crate) struct Dirs {
    pub(crate) data_root: PathBuf,
    pub(crate) exec_root: PathBuf,
    pub(crate) config_file: PathBuf,
}

/// Whether this process is to serve an ordinary user.
pub(crate) fn is_rootless() -> bool {
    is_inside() || !rustix::process::geteuid().is_root()
}

/// Whether it is in the namespaces already.
pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// The user's directories.
pub(crate) fn dirs() -> Dirs {
    let var = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = var("HOME").unwrap_or_else(|| "/".into());
    let uid = rustix::process::getuid().as_raw();
    let run = var("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{uid}").into());
    Dirs {
        data_root: var("XDG_DATA_HOME")
            .unwrap_or_else(|| home.join(".local/share"))
            .join("coracle"),
        exec_root: run.join("coracle"),
        config_file: var("XDG_CONFIG_HOME")
            .unwrap_or_else(|| home.join(".config"))
            .join("coracle/daemon.json"),
    }
}

/// The socket of the helper that publishes ports on the host.
pub(crate) fn port_socket(exec_root: &Path) -> PathBuf {
    exec_root.join("rootless").join("slirp.sock")
}

/// Goes on inside the namespaces, which are made if they are not there. Returns only on an error.
pub(crate) fn enter(settings: &Settings) -> Result<(), Error> {
    let exec_root = settings.exec_root();
    let directory = exec_root.join("rootless");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|error| {
            Error::setting(
                "--exec-root",
                format!(
                    "cannot make {}: {error}; is XDG_RUNTIME_DIR set?",
                    directory.display()
                ),
            )
        })?;
    let holder = match find(&directory.join(HOLDER)) {
        Some(holder) => {
            if find(&directory.join(SLIRP)).is_none() {
                start_slirp(&directory, holder, lifeline(holder)?)?;
            }
            holder
        }
        None => make_holder(&directory)?,
    };
    let own = std::env::current_exe().map_err(|error| Error::Host {
        what: "find my own executable",
        error,
    })?;
    // With its groups, which may be what lets it use /dev/kvm.
    let error = Command::new("nsenter")
        .args([
            "--user",
            "--mount",
            "--net",
            "--preserve-credentials",
            "--target",
        ])
        .arg(holder.to_string())
        .arg("--")
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(missing("nsenter", &error))
}

/// The process that a file names, if it is still the same one.
fn find(record: &Path) -> Option<u32> {
    let (pid, start) = identity(&fs::read_to_string(record).ok()?)?;
    let now = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    (identity(&now)? == (pid, start)).then_some(pid)
}

/// A process' id and when it started, in ticks since boot; together they are its own
/// (proc_pid_stat(5)). Nothing of one that has ended and was not waited for.
fn identity(stat: &str) -> Option<(u32, u64)> {
    let (pid, _) = stat.split_once(' ')?;
    // The command's name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some((pid.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// Notes who a process is, for daemons to come.
fn record(path: &Path, pid: u32) -> Result<(), Error> {
    let note = || {
        let stat = fs::read(format!("/proc/{pid}/stat"))?;
        let staged = path.with_extension("new");
        fs::write(&staged, stat)?;
        fs::rename(staged, path)
    };
    note().map_err(|error| Error::Host {
        what: "note the namespaces' holder",
        error,
    })
}

fn make_holder(directory: &Path) -> Result<u32, Error> {
    // It says a word once the namespaces are there, and ends when we do not confirm. Its output is
    // what tells slirp4netns that it has ended.
    let mut holder = Command::new("unshare")
        .args([
            "--user",
            "--mount",
            "--net",
            "--propagation",
            "private",
            "--",
        ])
        .args([
            "sh",
            "-c",
            "echo ready; read go && exec sleep infinity <&- 2>/dev/null",
        ])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| missing("unshare", &error))?;
    let result = set_up(&mut holder, directory);
    if result.is_err() {
        let _ = holder.kill();
        let _ = holder.wait();
    }
    result
}

fn set_up(holder: &mut Child, directory: &Path) -> Result<u32, Error> {
    let pid = holder.id();
    let mut word = [0; 6];
    let said = holder
        .stdout
        .as_mut()
        .map_or(Ok(()), |stdout| stdout.read_exact(&mut word));
    if said.is_err() {
        return Err(Error::setting(
            "rootless mode",
            "user namespaces are not allowed here; see user_namespaces(7) and \
             /proc/sys/user/max_user_namespaces",
        ));
    }
    let user = user_name();
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let uids = subordinate("/etc/subuid", &user, uid);
    let gids = subordinate("/etc/subgid", &user, uid);
    if uids.is_empty() || gids.is_empty() {
        map_alone(pid, uid, gid)?;
    } else {
        map("newuidmap", pid, uid, &uids)?;
        map("newgidmap", pid, gid, &gids)?;
    }
    let lifeline = holder.stdout.take().ok_or_else(|| Error::Host {
        what: "hear of the holder's end",
        error: io::ErrorKind::BrokenPipe.into(),
    })?;
    start_slirp(directory, pid, lifeline.into())?;
    record(&directory.join(HOLDER), pid)?;
    let stdin = holder.stdin.take();
    stdin
        .map_or(Ok(()), |mut stdin| {
            io::Write::write_all(&mut stdin, b"go\n")
        })
        .map_err(|error| Error::Host {
            what: "keep the namespaces",
            error,
        })?;
    Ok(pid)
}

/// Maps the user to root inside, and their subordinate ids to the ones above.
fn map(program: &str, pid: u32, own: u32, ranges: &[(u32, u32)]) -> Result<(), Error> {
    let mut command = Command::new(program);
    command
        .arg(pid.to_string())
        .args(["0", &own.to_string(), "1"]);
    let mut next = 1;
    for (start, count) in ranges {
        command.args([next.to_string(), start.to_string(), count.to_string()]);
        next += count;
    }
    let output = command.output().map_err(|error| missing(program, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::setting(
        "rootless mode",
        format!("{program}: {}", text.trim()),
    ))
}

/// Maps the user to root inside, and nobody else, which needs no helper (user_namespaces(7)).
fn map_alone(pid: u32, uid: u32, gid: u32) -> Result<(), Error> {
    let write = |file: &str, text: String| {
        fs::write(format!("/proc/{pid}/{file}"), text).map_err(|error| Error::Host {
            what: "map the user's ids",
            error,
        })
    };
    write("setgroups", "deny".into())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

/// The ranges of ids that are the user's (subuid(5)).
fn subordinate(file: &str, user: &str, uid: u32) -> Vec<(u32, u32)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    parse_subordinate(&text, user, uid)
}

/// Says what a user without subordinate ids misses.
pub(crate) fn warn_of_one_user() {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if is_inside() && map.split_whitespace().nth(2) == Some("1") && map.lines().count() == 1 {
        tracing::warn!(
            "no subordinate ids: virtual machines have all users, processes only root, who \
             owns every file of theirs; to change that, as root: usermod --add-subuids \
             100000-165535 --add-subgids 100000-165535 NAME, and pull images again after the next boot"
        );
    }
}

fn parse_subordinate(text: &str, user: &str, uid: u32) -> Vec<(u32, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let start = fields.next()?.parse().ok()?;
            let count = fields.next()?.parse().ok()?;
            (owner == user || owner == uid.to_string()).then_some((start, count))
        })
        .collect()
}

/// The name of the user (passwd(5)).
fn user_name() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2) == Some(&uid.as_str()))
            .then(|| fields.first().map(|name| (*name).to_owned()))?
    });
    name.or_else(|| std::env::var("USER").ok()).unwrap_or(uid)
}

/// A pipe that a holder has the other end of until it ends.
fn lifeline(holder: u32) -> Result<OwnedFd, Error> {
    let output = fs::File::open(format!("/proc/{holder}/fd/1"));
    output.map(OwnedFd::from).map_err(|error| Error::Host {
        what: "hear of the holder's end",
        error,
    })
}

/// Gives the network namespace of a process a way out, and us a way to publish ports.
fn start_slirp(directory: &Path, pid: u32, lifeline: OwnedFd) -> Result<(), Error> {
    // It notes itself before it is there, so that whatever is killed, two never serve one namespace.
    const SCRIPT: &str =
        "cat /proc/$$/stat >\"$0.new\" && mv \"$0.new\" \"$0\" && exec slirp4netns \"$@\"";
    let socket = directory.join("slirp.sock");
    let _ = fs::remove_file(&socket);
    let log = fs::File::create(directory.join("slirp.log")).map_err(|error| Error::Host {
        what: "make a log for slirp4netns",
        error,
    })?;
    let mut slirp = Command::new("sh")
        .args(["-c", SCRIPT])
        .arg(directory.join(SLIRP))
        .args([
            "--configure",
            "--mtu=65520",
            "--disable-host-loopback",
            "--exit-fd=0",
            "--ready-fd=1",
            "--api-socket",
        ])
        .arg(&socket)
        .args([&pid.to_string(), "tap0"])
        .current_dir("/")
        .process_group(0)
        .stdin(lifeline)
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| missing("sh", &error))?;
    let mut ready = [0];
    let said = slirp
        .stdout
        .as_mut()
        .map_or(Ok(()), |stdout| stdout.read_exact(&mut ready));
    if said.is_ok() {
        return Ok(());
    }
    // The shell's word for a command that it does not find.
    const NOT_FOUND: i32 = 127;
    if slirp.wait().is_ok_and(|end| end.code() == Some(NOT_FOUND)) {
        return Err(missing("slirp4netns", &io::ErrorKind::NotFound.into()));
    }
    let text = fs::read_to_string(directory.join("slirp.log")).unwrap_or_default();
    let last = text.lines().last().unwrap_or("it said nothing").to_owned();
    Err(Error::setting(
        "rootless mode",
        format!("slirp4netns does not start: {last}"),
    ))
}

fn missing(program: &str, error: &io::Error) -> Error {
    let package = match program {
        "newuidmap" | "newgidmap" => "uidmap",
        "slirp4netns" => "slirp4netns",
        _ => "util-linux",
    };
    Error::setting(
        "rootless mode",
        format!("cannot run {program}: {error}; install {package}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_number() {
        let text = "me:100000:65536\nother:1:1\n1000:300000:10\nbad\n";
        assert_eq!(
            parse_subordinate(text, "me", 1000),
            [(100_000, 65_536), (300_000, 10)]
        );
        assert!(parse_subordinate(text, "nobody", 5).is_empty());
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("holder");
        assert_eq!(find(&path), None);
        let own = std::process::id();
        record(&path, own).unwrap();
        assert_eq!(find(&path), Some(own));
        // Another process of the same id.
        let stat = fs::read_to_string(&path).unwrap();
        let (_, start) = identity(&stat).unwrap();
        let other = stat.replace(&format!(" {start} "), &format!(" {} ", start - 1));
        fs::write(&path, other).unwrap();
        assert_eq!(find(&path), None);
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        record(&path, child.id()).unwrap();
        assert_eq!(find(&path), Some(child.id()));
        child.kill().unwrap();
        // A zombie is none, and neither is nothing.
        while find(&path).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(find(&path), None);
        assert_eq!(identity("1 (a) b) S 1"), None);
        fs::write(&path, "garbage").unwrap();
        assert_eq!(find(&path), None);
    }
}
