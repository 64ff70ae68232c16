//! Commands that are part of the shell, because they change it.

use coracle_runtime::signal;

use super::applets;
use super::env::Env;
use super::eval::{Flow, Shell};
use super::lex::is_name;

/// Runs a built-in command; `None` where there is none of that name.
pub(super) async fn run(shell: &mut Shell, argv: &[String]) -> Option<Flow> {
    let name = argv.first().map(String::as_str).unwrap_or_default();
    let arg = |n: usize| argv.get(n).map(String::as_str);
    Some(Flow::Next(match name {
        ":" => 0,
        "exit" | "return" => {
            let code = arg(1).map_or(Some(shell.last), |text| text.parse().ok());
            return Some(Flow::Exit(match code {
                Some(code) => code & 0xff,
                None => shell.env.fail(2, "sh: exit: Illegal number").await,
            }));
        }
        "break" => return Some(Flow::Break),
        "continue" => return Some(Flow::Continue),
        "cd" => cd(shell, arg(1)).await,
        "export" => {
            for word in argv.iter().skip(1) {
                let (name, value) = match word.split_once('=') {
                    Some((name, value)) => (name, value.to_owned()),
                    None => (
                        word.as_str(),
                        shell.env.var(word).unwrap_or_default().to_owned(),
                    ),
                };
                if !is_name(name) {
                    return Some(Flow::Exit(
                        shell
                            .env
                            .fail(2, format!("sh: export: {name}: bad variable name"))
                            .await,
                    ));
                }
                shell.env.vars.insert(name.to_owned(), (value, true));
            }
            0
        }
        "unset" => {
            for word in argv.iter().skip(1) {
                shell.env.vars.remove(word);
            }
            0
        }
        "set" => {
            for word in argv.iter().skip(1) {
                match word.as_str() {
                    "-e" => shell.errexit = true,
                    "+e" => shell.errexit = false,
                    "-x" | "+x" | "-u" | "+u" => {}
                    _ => {
                        return Some(Flow::Next(
                            shell.env.fail(2, "sh: set: illegal option").await,
                        ));
                    }
                }
            }
            0
        }
        "exec" => match argv.get(1..).filter(|rest| !rest.is_empty()) {
            None => 0,
            Some(rest) => return Some(Flow::Exit(shell.exec(rest.to_vec()).await)),
        },
        "command" => match (arg(1), arg(2)) {
            (Some("-v"), Some(name)) => {
                let path = shell
                    .env
                    .var("PATH")
                    .unwrap_or(super::lookup::PATH)
                    .to_owned();
                let found = super::lookup(&shell.env.world.fs(), &shell.env.cwd, &path, name);
                match found {
                    Ok((path, _)) => {
                        shell.env.out(format!("{path}\n")).await;
                        0
                    }
                    Err(_) => 127,
                }
            }
            _ => 2,
        },
        "trap" => trap(shell, argv).await,
        "wait" => return Some(wait(shell, argv).await),
        "kill" => kill(&shell.env, argv).await,
        "read" => {
            let name = argv
                .last()
                .filter(|_| argv.len() > 1)
                .map_or("REPLY", String::as_str);
            let name = name.to_owned();
            match shell.env.io.stdin.clone().line().await {
                None => 1,
                Some(line) => {
                    let text = String::from_utf8_lossy(&line)
                        .trim_end_matches('\n')
                        .to_owned();
                    shell.env.set(&name, text);
                    0
                }
            }
        }
        "true" | "false" | "echo" | "printf" | "test" | "[" | "pwd" => {
            applets::run(shell.env.clone(), name, argv).await
        }
        _ => return None,
    }))
}

async fn cd(shell: &mut Shell, path: Option<&str>) -> i32 {
    let home = shell.env.var("HOME").unwrap_or("/").to_owned();
    let path = path.unwrap_or(&home);
    let found = shell.env.world.fs().look(&shell.env.cwd, path, true);
    match found {
        Ok((real, node)) if node.is_dir() => {
            shell.env.cwd = real;
            0
        }
        _ => {
            shell
                .env
                .fail(
                    2,
                    format!("sh: cd: can't cd to {path}: No such file or directory"),
                )
                .await
        }
    }
}

async fn trap(shell: &mut Shell, argv: &[String]) -> i32 {
    let Some((action, signals)) = argv.get(1..).and_then(<[String]>::split_first) else {
        return 0;
    };
    for name in signals {
        let Ok(number) = signal::parse(name) else {
            return shell
                .env
                .fail(1, format!("trap: {name}: invalid signal specification"))
                .await;
        };
        let action = (action != "-").then(|| action.clone());
        shell.env.target.trap(number, action);
    }
    0
}

/// Waits for background commands: all, or those named. A signal with a trap ends it.
async fn wait(shell: &mut Shell, argv: &[String]) -> Flow {
    let wanted: Vec<i32> = argv
        .iter()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let mut last = 0;
    while let Some(place) = shell
        .jobs
        .iter()
        .position(|job| wanted.is_empty() || wanted.contains(&job.pid))
    {
        let target = shell.env.target.clone();
        let Some(job) = shell.jobs.get_mut(place) else {
            break;
        };
        tokio::select! {
            biased;
            () = target.woken() => {
                return match shell.traps().await {
                    Some(flow) => flow,
                    None => Flow::Next(super::SIGNALLED + signal::TERM),
                };
            }
            code = &mut job.handle => {
                last = code.unwrap_or(super::SIGNALLED + signal::KILL);
                shell.jobs.remove(place);
            }
        }
    }
    Flow::Next(if wanted.is_empty() { 0 } else { last })
}

/// `kill [-SIGNAL | -s SIGNAL] PID…`.
pub(super) async fn kill(env: &Env, argv: &[String]) -> i32 {
    let mut rest = argv.get(1..).unwrap_or_default();
    let mut number = signal::TERM;
    if let [option, after @ ..] = rest
        && let Some(name) = option.strip_prefix('-')
    {
        let (name, after) = match (name, after) {
            ("s", [name, after @ ..]) => (name.as_str(), after),
            _ => (name, after),
        };
        number = match name {
            "0" => 0,
            name => match signal::parse(name) {
                Ok(number) => number,
                Err(_) => return env.fail(1, format!("sh: bad signal name '{name}'")).await,
            },
        };
        rest = after;
    }
    if rest.is_empty() {
        return env.fail(1, "sh: you need to specify whom to kill").await;
    }
    let mut code = 0;
    for word in rest {
        match word
            .parse()
            .ok()
            .and_then(|pid| env.world.processes.get(pid))
        {
            Some(target) if number > 0 => target.signal(number, true),
            Some(_) => {}
            None => {
                code = env
                    .fail(1, format!("sh: can't kill pid {word}: No such process"))
                    .await
            }
        }
    }
    // Its effect shows before what comes next, as it does with a real kernel.
    tokio::task::yield_now().await;
    code
}
