//! Finds the command in the container, and says so in the words of Docker's users.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;

use crate::error::{Failure, Kind, Stage, Step, errno_text};

/// The file to execute for `command`: as it is if it holds a slash, else by `PATH`.
///
/// Works in the current root and directory, with the process's own privileges.
pub(crate) fn find(command: &str, path: Option<&str>) -> Step<PathBuf> {
    if command.contains('/') {
        return match executable(Path::new(command)) {
            Ok(()) => Ok(command.into()),
            Err((errno, stat)) => Err(refusal(command, errno, stat)),
        };
    }
    for dir in path.unwrap_or_default().split(':') {
        let dir = if dir.is_empty() { "." } else { dir };
        let file = Path::new(dir).join(command);
        if executable(&file).is_err() {
            continue;
        }
        if !dir.starts_with('/') {
            // As Go, and so runc, refuses it.
            return Err(failure(
                Kind::CommandNotFound,
                None,
                command,
                "cannot run executable found relative to current directory",
            ));
        }
        return Ok(file);
    }
    Err(failure(
        Kind::CommandNotFound,
        Some(Errno::NOENT),
        command,
        "executable file not found in $PATH",
    ))
}

/// Why a file is not executable, and whether already `stat` failed.
fn executable(file: &Path) -> Result<(), (Errno, bool)> {
    let stat = rustix::fs::stat(file).map_err(|errno| (errno, true))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err((Errno::ISDIR, false));
    }
    if stat.st_mode & 0o111 == 0 {
        return Err((Errno::ACCESS, false));
    }
    match rustix::fs::accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS) {
        // A filter or an old kernel: the mode bits decide.
        Ok(()) | Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        Err(errno) => Err((errno, false)),
    }
}

fn refusal(command: &str, errno: Errno, stat: bool) -> Failure {
    let kind = match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Kind::CommandNotFound,
        _ => Kind::CommandNotExecutable,
    };
    let text = if stat {
        format!("stat {command}: {}", errno_text(errno))
    } else {
        errno_text(errno)
    };
    failure(kind, Some(errno), command, &text)
}

fn failure(kind: Kind, errno: Option<Errno>, command: &str, text: &str) -> Failure {
    Failure {
        kind,
        stage: Stage::Command,
        errno: errno.map(Errno::raw_os_error),
        message: format!("exec: {}: {text}", quoted(command)),
    }
}

/// As Go's `%q` for what commands are made of.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// What `execve` answered, told as Docker's users know it.
pub(crate) fn not_executed(file: &Path, error: &std::io::Error) -> Failure {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    let kind = match errno {
        // The interpreter of a script or of a dynamic program is missing.
        Errno::NOENT | Errno::NOTDIR => Kind::CommandNotFound,
        _ => Kind::CommandNotExecutable,
    };
    Failure {
        kind,
        stage: Stage::Command,
        errno: Some(errno.raw_os_error()),
        message: format!("exec {}: {}", file.display(), errno_text(errno)),
    }
}

/// The value of a variable in an environment; the last one counts.
pub(crate) fn variable<'e>(env: &'e [String], name: &str) -> Option<&'e str> {
    env.iter().rev().find_map(|entry| {
        entry
            .split_once('=')
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value)
    })
}

/// Whether `getcwd` tells a directory inside the root: of others the kernel says `(unreachable)`.
pub(crate) fn is_inside(cwd: &[u8]) -> bool {
    cwd.starts_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn errors_are_dockers() {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        let told = |command: &str| {
            let failure = find(command, Some("/nowhere::/tmp")).unwrap_err();
            (failure.kind.exit_code(), failure.message)
        };
        assert_eq!(
            told("foo-bar"),
            (
                127,
                "exec: \"foo-bar\": executable file not found in $PATH".into()
            )
        );
        assert_eq!(
            told("/x/y"),
            (
                127,
                "exec: \"/x/y\": stat /x/y: no such file or directory".into()
            )
        );
        assert_eq!(told("/etc"), (126, "exec: \"/etc\": is a directory".into()));
        let plain = plain.to_str().unwrap();
        assert_eq!(
            told(plain),
            (126, format!("exec: {plain:?}: permission denied"))
        );
    }

    #[test]
    fn the_first_hit_counts() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let sub = dir.path().join(name);
            fs::create_dir(&sub).unwrap();
            fs::write(sub.join("tool"), "").unwrap();
        }
        let b = dir.path().join("b/tool");
        fs::set_permissions(&b, fs::Permissions::from_mode(0o755)).unwrap();
        let root = dir.path().display();
        assert_eq!(
            find("tool", Some(&format!("{root}/a:{root}/b"))).unwrap(),
            b
        );
    }

    #[test]
    fn the_last_variable_counts() {
        let env = ["A=1".into(), "B".into(), "A=2=3".into()];
        assert_eq!(variable(&env, "A"), Some("2=3"));
        assert_eq!(variable(&env, "B"), None);
    }
}
