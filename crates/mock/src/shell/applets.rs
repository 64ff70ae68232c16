//! Programs.

use std::time::Duration;

use jiff::Timestamp;

use super::env::Env;
use super::{builtins, text};
use crate::fs::{Kind, Node};

/// All programs there are.
pub(crate) const NAMES: [&str; 49] = [
    "[", "ash", "basename", "busybox", "cat", "chmod", "chown", "cp", "cut", "date", "dirname",
    "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ln", "ls", "mkdir", "mv",
    "nproc", "printf", "ps", "pwd", "readlink", "rm", "rmdir", "seq", "sh", "sleep", "sort",
    "stty", "sync", "tail", "tee", "test", "touch", "tr", "true", "tty", "uname", "usleep", "wc",
    "whoami", "which", "yes",
];

pub(super) async fn run(env: Env, name: &str, argv: &[String]) -> i32 {
    let args = argv.get(1..).unwrap_or_default();
    let arg = |n: usize| args.get(n).map(String::as_str);
    match name {
        "true" | "sync" => 0,
        "false" => 1,
        "echo" => text::echo(&env, args).await,
        "printf" => text::printf(&env, args).await,
        "test" | "[" => text::test(&env, name, args).await,
        "cat" => text::cat(&env, args).await,
        "head" => text::head(&env, args).await,
        "tail" => text::tail(&env, args).await,
        "wc" => text::wc(&env, args).await,
        "grep" => text::grep(&env, args).await,
        "sort" => text::sort(&env, args).await,
        "cut" => text::cut(&env, args).await,
        "tee" => text::tee(&env, args).await,
        "tr" => text::tr(&env, args).await,
        "seq" => text::seq(&env, args).await,
        "kill" => builtins::kill(&env, argv).await,
        "sleep" => sleep(&env, args).await,
        "usleep" => {
            let micros = arg(0).and_then(|text| text.parse().ok()).unwrap_or(0);
            tokio::time::sleep(Duration::from_micros(micros)).await;
            0
        }
        "yes" => {
            let line = format!(
                "{}\n",
                if args.is_empty() {
                    "y".to_owned()
                } else {
                    args.join(" ")
                }
            );
            while env.out(&line).await {
                tokio::task::yield_now().await;
            }
            // SIGPIPE.
            super::SIGNALLED + 13
        }
        "pwd" => say(&env, &env.cwd).await,
        "hostname" => say(&env, &env.world.hostname).await,
        "nproc" => say(&env, "1").await,
        "date" => {
            let seconds = Timestamp::now().as_second().to_string();
            let now = Timestamp::now().to_string();
            say(
                &env,
                if arg(0) == Some("+%s") {
                    &seconds
                } else {
                    &now
                },
            )
            .await
        }
        "uname" => uname(&env, arg(0)).await,
        "env" => {
            let mut lines = String::new();
            for (name, (value, _)) in env.vars.iter().filter(|(_, (_, exported))| *exported) {
                lines.push_str(&format!("{name}={value}\n"));
            }
            env.out(lines).await;
            0
        }
        "basename" => {
            let path = arg(0).unwrap_or_default().trim_end_matches('/');
            say(&env, path.rsplit('/').next().unwrap_or_default()).await
        }
        "dirname" => {
            let path = arg(0).unwrap_or_default();
            say(
                &env,
                path.rsplit_once('/')
                    .map_or(".", |(dir, _)| if dir.is_empty() { "/" } else { dir }),
            )
            .await
        }
        "which" => {
            let path = env.var("PATH").unwrap_or(super::lookup::PATH).to_owned();
            let name = arg(0).unwrap_or_default();
            let found = super::lookup(&env.world.fs(), &env.cwd, &path, name);
            match found {
                Ok((path, _)) => say(&env, &path).await,
                Err(_) => 1,
            }
        }
        "id" => id(&env, args).await,
        "whoami" => {
            let name = user_name(&env, env.user.uid);
            say(&env, &name).await
        }
        "ps" => ps(&env).await,
        "tty" => match env.tty {
            Some(_) => say(&env, "/dev/pts/0").await,
            None => {
                env.out("not a tty\n").await;
                1
            }
        },
        "stty" => match (&env.tty, arg(0)) {
            (None, _) => {
                env.fail(1, "stty: standard input: Inappropriate ioctl for device")
                    .await
            }
            (Some(tty), Some("size")) => {
                let size = tty.size();
                say(&env, &format!("{} {}", size.rows, size.cols)).await
            }
            (Some(_), _) => 0,
        },
        "ls" => ls(&env, args).await,
        "mkdir" | "rm" | "rmdir" | "touch" | "ln" | "chmod" | "chown" | "cp" | "mv"
        | "readlink" => files(&env, name, args).await,
        other => env.fail(127, format!("{other}: applet not found")).await,
    }
}

async fn say(env: &Env, line: &str) -> i32 {
    env.out(format!("{line}\n")).await;
    0
}

async fn sleep(env: &Env, args: &[String]) -> i32 {
    let mut total = Duration::ZERO;
    for arg in args {
        if arg == "inf" || arg == "infinity" {
            std::future::pending::<()>().await;
        }
        let split = arg.len() - usize::from(arg.ends_with(['s', 'm', 'h', 'd']));
        let (number, unit) = arg.split_at(split);
        let factor = match unit {
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => 1.0,
        };
        let seconds = number.parse::<f64>().ok().map(|n| n * factor);
        match seconds.and_then(|n| Duration::try_from_secs_f64(n).ok()) {
            Some(length) => total = total.saturating_add(length),
            None => return env.fail(1, format!("sleep: invalid number '{arg}'")).await,
        }
    }
    if args.is_empty() {
        return env
            .fail(
                1,
                "BusyBox (simulated) multi-call binary.\n\nUsage: sleep [N]...",
            )
            .await;
    }
    tokio::time::sleep(total).await;
    0
}

async fn uname(env: &Env, option: Option<&str>) -> i32 {
    let machine = std::env::consts::ARCH;
    let host = &env.world.hostname;
    let line = match option {
        Some("-m") => machine.to_owned(),
        Some("-n") => host.clone(),
        Some("-r") => "0.0.0-mock".to_owned(),
        Some("-a") => format!("Linux {host} 0.0.0-mock {machine} GNU/Linux"),
        _ => "Linux".to_owned(),
    };
    say(env, &line).await
}

/// The lines of a file like passwd, as fields.
pub(crate) fn records(content: &[u8]) -> Vec<Vec<String>> {
    String::from_utf8_lossy(content)
        .lines()
        .map(|line| line.split(':').map(str::to_owned).collect())
        .collect()
}

fn name_of(env: &Env, file: &str, id: u32) -> Option<String> {
    let content = env.world.fs().read("/", file).unwrap_or_default();
    records(&content)
        .into_iter()
        .find(|fields| fields.get(2).is_some_and(|field| *field == id.to_string()))
        .and_then(|fields| fields.first().cloned())
}

fn user_name(env: &Env, uid: u32) -> String {
    name_of(env, "/etc/passwd", uid).unwrap_or_else(|| uid.to_string())
}

async fn id(env: &Env, args: &[String]) -> i32 {
    let (uid, gid) = (env.user.uid, env.user.gid);
    let option = args.join("");
    let line = match (
        option.contains('u'),
        option.contains('g'),
        option.contains('n'),
    ) {
        (true, _, false) => uid.to_string(),
        (true, _, true) => user_name(env, uid),
        (_, true, false) => gid.to_string(),
        (_, true, true) => name_of(env, "/etc/group", gid).unwrap_or_else(|| gid.to_string()),
        _ => {
            let named = |id: u32, name: Option<String>| match name {
                Some(name) => format!("{id}({name})"),
                None => id.to_string(),
            };
            let user = named(uid, name_of(env, "/etc/passwd", uid));
            format!(
                "uid={user} gid={}",
                named(gid, name_of(env, "/etc/group", gid))
            )
        }
    };
    say(env, &line).await
}

async fn ps(env: &Env) -> i32 {
    let mut lines = "PID   USER     TIME  COMMAND\n".to_owned();
    let user = user_name(env, env.user.uid);
    for target in env.world.processes.all() {
        lines.push_str(&format!(
            "{:5} {user:8}  0:00 {}\n",
            target.pid,
            target.command()
        ));
    }
    env.out(lines).await;
    0
}

async fn ls(env: &Env, args: &[String]) -> i32 {
    let mut paths: Vec<&str> = args
        .iter()
        .filter(|arg| !arg.starts_with('-'))
        .map(String::as_str)
        .collect();
    if paths.is_empty() {
        paths.push(".");
    }
    let itself = args
        .iter()
        .any(|arg| arg.starts_with('-') && arg.contains('d'));
    let mut code = 0;
    for path in paths {
        let found = env.world.fs().look(&env.cwd, path, !itself);
        match found {
            Err(error) => code = env.fail(1, format!("ls: {path}: {}", error.text())).await,
            Ok((real, node)) if node.is_dir() && !itself => {
                let names = env.world.fs().names(&real);
                let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
                env.out(lines).await;
            }
            Ok(_) => drop(env.out(format!("{path}\n")).await),
        }
    }
    code
}

/// Commands that change files.
async fn files(env: &Env, name: &str, args: &[String]) -> i32 {
    let flags: String = args
        .iter()
        .filter(|arg| arg.starts_with('-'))
        .map(String::as_str)
        .collect();
    let paths: Vec<&str> = args
        .iter()
        .filter(|arg| !arg.starts_with('-'))
        .map(String::as_str)
        .collect();
    let mut code = 0;
    let (operands, last) = match (name, paths.split_first(), paths.split_last()) {
        ("chmod" | "chown", Some((first, rest)), _) => (rest.to_vec(), *first),
        ("ln" | "cp" | "mv", _, Some((last, rest))) if !rest.is_empty() => (rest.to_vec(), *last),
        ("ln" | "cp" | "mv" | "chmod" | "chown", ..) => {
            return env.fail(1, format!("{name}: missing operand")).await;
        }
        _ => (paths.clone(), ""),
    };
    for path in operands {
        let result = change(env, name, &flags, path, last);
        match result {
            Ok(text) => drop(env.out(text).await),
            Err(text) => code = env.fail(1, format!("{name}: {text}")).await,
        }
    }
    code
}

fn change(env: &Env, name: &str, flags: &str, path: &str, last: &str) -> Result<String, String> {
    let mut fs = env.world.fs();
    let cwd = env.cwd.as_str();
    let result = match name {
        "mkdir" => fs.make_dir(cwd, path, flags.contains('p')),
        "rmdir" => fs.remove_dir(cwd, path),
        "rm" => {
            let recursive = flags.contains(['r', 'R']);
            match fs.remove(cwd, path, recursive) {
                Err(crate::fs::FsError::NotFound) if flags.contains('f') => Ok(()),
                result => result,
            }
        }
        "touch" => fs.write(cwd, path, b"", true),
        "readlink" => match fs.look(cwd, path, false) {
            Ok((_, node)) => match &node.kind {
                Kind::Symlink(target) => return Ok(format!("{target}\n")),
                _ => return Err(String::new()),
            },
            Err(error) => Err(error),
        },
        "ln" if flags.contains('s') => fs
            .resolve(cwd, last, false)
            .and_then(|real| fs.put(&real, Node::symlink(path))),
        "chmod" => {
            let mode = u32::from_str_radix(last, 8).ok();
            let look = fs.look(cwd, path, true);
            look.and_then(|(real, node)| {
                let mut node = Node::clone(&node);
                node.mode = match mode {
                    Some(mode) => mode & 0o7777,
                    // `+x` and `a+x`, which is all that scripts need.
                    None => node.mode | 0o111,
                };
                fs.put(&real, node)
            })
        }
        "chown" => fs.look(cwd, path, true).and_then(|(real, node)| {
            let mut node = Node::clone(&node);
            let (user, group) = last.split_once(':').unwrap_or((last, ""));
            node.uid = user.parse().unwrap_or(node.uid);
            node.gid = group.parse().unwrap_or(node.gid);
            fs.put(&real, node)
        }),
        // Copies and hard links alike: nobody can tell them apart here.
        _ => copy(&mut fs, cwd, path, last, name == "mv"),
    };
    result
        .map(|()| String::new())
        .map_err(|error| format!("{path}: {}", error.text()))
}

fn copy(
    fs: &mut crate::fs::Fs,
    cwd: &str,
    from: &str,
    to: &str,
    moves: bool,
) -> Result<(), crate::fs::FsError> {
    let (source, _) = fs.look(cwd, from, !moves)?;
    let mut target = fs.resolve(cwd, to, true)?;
    if fs.get(&target).is_some_and(|node| node.is_dir()) {
        target = crate::fs::tree::join(&target, crate::fs::tree::base(&source));
    }
    for (path, node) in fs.walk(&source) {
        let below = path.get(source.len()..).unwrap_or_default().to_owned();
        fs.put(&format!("{target}{below}"), Node::clone(&node))?;
    }
    if moves { fs.unlink(&source) } else { Ok(()) }
}
