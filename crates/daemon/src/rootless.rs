//! The daemon as an ordinary user: it is root in a user namespace of its own.
//!
//! ```text
//! coracled (the user) ── makes, or finds ──▶ holder: user, mount and network namespace
//!        │                                      ├ newuidmap, newgidmap: the user's subordinate ids
//!        │                                      └ slirp4netns: the way out, and published ports in
//!        └─ becomes, by nsenter ──▶ coracled (root inside), the daemon itself
//! ```
//!
//! The holder does nothing but keep the namespaces, so that they, and with them all containers,
//! outlive the daemon: one that starts later joins the same ones. The work is done by the helpers
//! that every distribution has (unshare, nsenter, newuidmap, slirp4netns), each of which is privileged
//! by the system's administrator or needs no privilege.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::Error;
use crate::settings::Settings;

/// Set for the daemon inside its namespaces.
const INSIDE: &str = "CORACLE_ROOTLESS";
/// The address of the host's end that slirp4netns gives (slirp4netns(1)).
pub(crate) const GUEST: &str = "10.0.2.100";

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
    let holder = match find_holder(&directory) {
        Some(holder) => holder,
        None => make_holder(&directory)?,
    };
    let own = std::env::current_exe().map_err(|error| Error::Host {
        what: "find my own executable",
        error,
    })?;
    let error = Command::new("nsenter")
        .args([
            "--user",
            "--mount",
            "--net",
            "--setuid=0",
            "--setgid=0",
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

/// The holder of an earlier daemon, if it is still the same process.
fn find_holder(directory: &Path) -> Option<u32> {
    let text = fs::read_to_string(directory.join("holder")).ok()?;
    let (pid, start) = text.trim().split_once(' ')?;
    let pid: u32 = pid.parse().ok()?;
    let helper = fs::read_to_string(directory.join("slirp")).ok()?;
    let (helper, helper_start) = helper.trim().split_once(' ')?;
    let same = start_time(pid)? == start && start_time(helper.parse().ok()?)? == helper_start;
    same.then_some(pid)
}

/// When a process started, in ticks since boot: with its id, its identity (proc_pid_stat(5)).
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

fn make_holder(directory: &Path) -> Result<u32, Error> {
    // It says a word once the namespaces are there, and ends when we do not confirm.
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
            "echo ready; read go && exec sleep infinity <&- >&-",
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
    map(
        "newuidmap",
        pid,
        uid,
        &subordinate("/etc/subuid", &user, uid)?,
    )?;
    map(
        "newgidmap",
        pid,
        gid,
        &subordinate("/etc/subgid", &user, uid)?,
    )?;
    let slirp = start_slirp(directory, pid)?;
    let record = |name: &str, pid: u32| {
        let start = start_time(pid).unwrap_or_default();
        fs::write(directory.join(name), format!("{pid} {start}")).map_err(|error| Error::Host {
            what: "note the namespaces' holder",
            error,
        })
    };
    record("slirp", slirp)?;
    record("holder", pid)?;
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

/// The ranges of ids that are the user's (subuid(5)).
fn subordinate(file: &str, user: &str, uid: u32) -> Result<Vec<(u32, u32)>, Error> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let ranges = parse_subordinate(&text, user, uid);
    if ranges.is_empty() {
        return Err(Error::setting(
            "rootless mode",
            format!(
                "{file} has no line for {user}; as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            ),
        ));
    }
    Ok(ranges)
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

/// Gives the network namespace a way out, and us a way to publish ports.
fn start_slirp(directory: &Path, pid: u32) -> Result<u32, Error> {
    let socket = directory.join("slirp.sock");
    let _ = fs::remove_file(&socket);
    let log = fs::File::create(directory.join("slirp.log")).map_err(|error| Error::Host {
        what: "make a log for slirp4netns",
        error,
    })?;
    let mut slirp = Command::new("slirp4netns")
        .args([
            "--configure",
            "--mtu=65520",
            "--disable-host-loopback",
            "--ready-fd=1",
            "--api-socket",
        ])
        .arg(&socket)
        .args([&pid.to_string(), "tap0"])
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(|error| missing("slirp4netns", &error))?;
    let mut ready = [0];
    let said = slirp
        .stdout
        .as_mut()
        .map_or(Ok(()), |stdout| stdout.read_exact(&mut ready));
    if said.is_err() {
        let _ = slirp.wait();
        let text = fs::read_to_string(directory.join("slirp.log")).unwrap_or_default();
        let last = text.lines().last().unwrap_or("it said nothing").to_owned();
        return Err(Error::setting(
            "rootless mode",
            format!("slirp4netns does not start: {last}"),
        ));
    }
    Ok(slirp.id())
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
        let own = start_time(std::process::id()).unwrap();
        assert!(own.parse::<u64>().unwrap() > 0);
        assert!(start_time(u32::MAX).is_none());
    }
}
