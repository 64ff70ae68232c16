//! From a command's name to what runs.

use std::sync::Arc;

use bytes::Bytes;

use super::applets;
use super::env::Env;
use super::eval::Shell;
use crate::fs::{Fs, FsError, Kind, Node};

/// What Docker gives a process without a PATH of its own.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a command can't run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LookupError {
    /// 127 where there is none, 126 where it is not executable.
    pub(crate) code: i32,
    /// Docker's text.
    pub(crate) text: String,
}

/// Finds the file of a command, as the launcher does.
pub(crate) fn lookup(
    fs: &Fs,
    cwd: &str,
    path: &str,
    command: &str,
) -> Result<(String, Bytes), LookupError> {
    let error = |code, text: &str| LookupError {
        code,
        text: format!("exec: {command:?}: {text}"),
    };
    if command.contains('/') {
        return match executable(fs, cwd, command) {
            Ok(found) => Ok(found),
            Err(Refusal::Stat(FsError::NotFound | FsError::NotADirectory)) => Err(error(
                127,
                &format!("stat {command}: no such file or directory"),
            )),
            Err(Refusal::Stat(FsError::Loop)) => Err(error(
                126,
                &format!("stat {command}: too many levels of symbolic links"),
            )),
            Err(Refusal::Directory) => Err(error(126, "is a directory")),
            Err(Refusal::Stat(_) | Refusal::Mode) => Err(error(126, "permission denied")),
        };
    }
    for dir in path.split(':').filter(|dir| !dir.is_empty()) {
        if let Ok(found) = executable(fs, cwd, &format!("{dir}/{command}")) {
            return Ok(found);
        }
    }
    Err(error(127, "executable file not found in $PATH"))
}

enum Refusal {
    Stat(FsError),
    Directory,
    Mode,
}

fn executable(fs: &Fs, cwd: &str, path: &str) -> Result<(String, Bytes), Refusal> {
    let (real, node): (String, Arc<Node>) = fs.look(cwd, path, true).map_err(Refusal::Stat)?;
    match &node.kind {
        Kind::Dir => Err(Refusal::Directory),
        Kind::File(content) if node.mode & 0o111 != 0 => Ok((real, content.clone())),
        _ => Err(Refusal::Mode),
    }
}

/// Runs a command line; what can't run says so in the shell's words.
pub(crate) async fn execute(env: Env, mut argv: Vec<String>) -> i32 {
    for _ in 0..4 {
        let Some(command) = argv.first().cloned() else {
            return 0;
        };
        let path = env.var("PATH").unwrap_or(PATH).to_owned();
        let found = lookup(&env.world.fs(), &env.cwd, &path, &command);
        let content = match found {
            Ok((_, content)) => content,
            Err(error) => {
                let what = if error.code == 127 {
                    "not found"
                } else {
                    "Permission denied"
                };
                return env.fail(error.code, format!("sh: {command}: {what}")).await;
            }
        };
        let Some(line) = content.strip_prefix(b"#!") else {
            return program(env, argv, &content).await;
        };
        // A script: its interpreter, with the script's path (execve(2)).
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line).into_owned();
        let mut script: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let own = argv.split_off(1);
        script.push(command);
        script.extend(own);
        argv = script;
    }
    env.fail(126, "sh: too many levels of interpreters").await
}

async fn program(env: Env, argv: Vec<String>, content: &[u8]) -> i32 {
    let command = argv.first().map(String::as_str).unwrap_or_default();
    if !content.starts_with(b"\x7fELF") {
        return env
            .fail(126, format!("sh: {command}: Exec format error"))
            .await;
    }
    let mut name = command.rsplit('/').next().unwrap_or_default().to_owned();
    let mut argv = argv;
    if name == "busybox" && argv.len() > 1 {
        argv.remove(0);
        name = argv.first().cloned().unwrap_or_default();
    }
    match name.as_str() {
        "sh" | "ash" | "bash" => Shell::new(env, &argv).main(&argv).await,
        name => applets::run(env, name, &argv).await,
    }
}
