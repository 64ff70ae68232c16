//! Programs that read and write text.

use super::env::{Env, Source};

pub(super) async fn echo(env: &Env, args: &[String]) -> i32 {
    let mut args = args;
    let (mut newline, mut escapes) = (true, false);
    while let Some(option) = args.first() {
        match option.as_str() {
            "-n" => newline = false,
            "-e" => escapes = true,
            "-ne" | "-en" => (newline, escapes) = (false, true),
            _ => break,
        }
        args = args.get(1..).unwrap_or_default();
    }
    let mut line = args.join(" ");
    if escapes {
        line = unescape(&line);
    }
    if newline {
        line.push('\n');
    }
    env.out(line).await;
    0
}

/// `\n`, `\t`, `\\`, octal and the like.
fn unescape(text: &str) -> String {
    let mut done = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            done.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => done.push('\n'),
            Some('r') => done.push('\r'),
            Some('t') => done.push('\t'),
            Some('e') => done.push('\x1b'),
            Some('0') => {
                let mut value = 0;
                while let Some(digit) = chars
                    .peek()
                    .and_then(|c| c.to_digit(8))
                    .filter(|_| value < 32)
                {
                    value = value * 8 + digit;
                    chars.next();
                }
                done.push(char::from_u32(value).unwrap_or_default());
            }
            Some('\\') => done.push('\\'),
            Some(other) => done.extend(['\\', other]),
            None => done.push('\\'),
        }
    }
    done
}

/// `%s`, `%d`, `%%`; the format is used again as long as there are arguments.
pub(super) async fn printf(env: &Env, args: &[String]) -> i32 {
    let Some((format, args)) = args.split_first() else {
        return env.fail(1, "printf: missing operand").await;
    };
    let format = unescape(format);
    let mut args = args.iter();
    let mut text = String::new();
    loop {
        let before = args.len();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('s') => text.push_str(args.next().map_or("", String::as_str)),
                Some('d' | 'i' | 'u') => {
                    let number = args.next().and_then(|arg| arg.parse::<i64>().ok());
                    text.push_str(&number.unwrap_or(0).to_string());
                }
                Some('%') => text.push('%'),
                _ => return env.fail(1, "printf: invalid format").await,
            }
        }
        if args.len() == 0 || args.len() == before {
            break;
        }
    }
    env.out(text).await;
    0
}

pub(super) async fn test(env: &Env, name: &str, args: &[String]) -> i32 {
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    if name == "[" && args.pop() != Some("]") {
        return env.fail(2, "[: missing ]").await;
    }
    match holds(env, &args) {
        Some(true) => 0,
        Some(false) => 1,
        None => env.fail(2, format!("{name}: unknown operand")).await,
    }
}

fn holds(env: &Env, args: &[&str]) -> Option<bool> {
    let node = |path: &str, follow| env.world.fs().look(&env.cwd, path, follow).ok();
    Some(match args {
        [] => false,
        [text] => !text.is_empty(),
        ["!", rest @ ..] => !holds(env, rest)?,
        ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        ["-e", path] => node(path, true).is_some(),
        ["-f", path] => node(path, true).is_some_and(|(_, node)| !node.is_dir()),
        ["-d", path] => node(path, true).is_some_and(|(_, node)| node.is_dir()),
        ["-s", path] => node(path, true).is_some_and(|(_, node)| node.size() > 0),
        ["-x", path] => node(path, true).is_some_and(|(_, node)| node.mode & 0o111 != 0),
        ["-r" | "-w", path] => node(path, true).is_some(),
        ["-L" | "-h", path] => node(path, false)
            .is_some_and(|(_, node)| matches!(node.kind, crate::fs::Kind::Symlink(_))),
        ["-t", _] => env.tty.is_some(),
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, op, b] => {
            let (a, b): (i64, i64) = (a.parse().ok()?, b.parse().ok()?);
            match *op {
                "-eq" => a == b,
                "-ne" => a != b,
                "-lt" => a < b,
                "-le" => a <= b,
                "-gt" => a > b,
                "-ge" => a >= b,
                _ => return None,
            }
        }
        _ => return None,
    })
}

/// The operands, without options.
fn operands(args: &[String]) -> Vec<&str> {
    args.iter()
        .map(String::as_str)
        .filter(|arg| *arg == "-" || !arg.starts_with('-'))
        .collect()
}

/// What a program reads: its operands, or its input. What can't be opened is said.
async fn sources(env: &Env, name: &str, paths: &[&str]) -> (Vec<Source>, i32) {
    if paths.is_empty() {
        return (vec![env.io.stdin.clone()], 0);
    }
    let mut code = 0;
    let mut found = Vec::new();
    for path in paths {
        if *path == "-" {
            found.push(env.io.stdin.clone());
            continue;
        }
        let content = env.world.fs().read(&env.cwd, path);
        match content {
            Ok(content) => found.push(Source::bytes(content)),
            Err(error) => {
                code = env
                    .fail(1, format!("{name}: can't open '{path}': {}", error.text()))
                    .await;
            }
        }
    }
    (found, code)
}

pub(super) async fn cat(env: &Env, args: &[String]) -> i32 {
    let (sources, code) = sources(env, "cat", &operands(args)).await;
    for source in sources {
        while let Some(piece) = source.read(16 << 10).await {
            if !env.out(piece).await {
                return super::SIGNALLED + 13;
            }
        }
    }
    code
}

/// The number of `-n N`, `-c N` or `-N`, and what else there is.
fn count(args: &[String]) -> (Option<char>, Option<usize>, Vec<&str>) {
    let mut rest = Vec::new();
    let (mut unit, mut number) = (None, None);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        match arg.strip_prefix('-') {
            Some(text) if text.starts_with(['n', 'c']) => {
                unit = text.chars().next();
                let own = text.get(1..).filter(|own| !own.is_empty());
                number = own
                    .or_else(|| args.next())
                    .and_then(|text| text.parse().ok());
            }
            Some(text) if text.parse::<usize>().is_ok() => number = text.parse().ok(),
            Some("f" | "F" | "q") => unit = Some('f'),
            _ => rest.push(arg),
        }
    }
    (unit, number, rest)
}

pub(super) async fn head(env: &Env, args: &[String]) -> i32 {
    let (unit, number, paths) = count(args);
    let number = number.unwrap_or(10);
    // The one device that is of use here.
    if unit == Some('c') && paths == ["/dev/zero"] {
        let zeros = vec![0; 16 << 10];
        let mut left = number;
        while left > 0 {
            let length = left.min(zeros.len());
            env.out(&zeros[..length]).await;
            left -= length;
        }
        return 0;
    }
    let (sources, code) = sources(env, "head", &paths).await;
    for source in sources {
        if unit == Some('c') {
            let mut left = number;
            while left > 0 {
                let Some(piece) = source.read(left).await else {
                    break;
                };
                left -= piece.len();
                env.out(piece).await;
            }
            continue;
        }
        for _ in 0..number {
            let Some(line) = source.line().await else {
                break;
            };
            env.out(line).await;
        }
    }
    code
}

pub(super) async fn tail(env: &Env, args: &[String]) -> i32 {
    let (unit, number, paths) = count(args);
    let (sources, code) = sources(env, "tail", &paths).await;
    for source in sources {
        let all = source.all().await;
        let lines: Vec<&[u8]> = all.split_inclusive(|byte| *byte == b'\n').collect();
        let skip = lines.len().saturating_sub(number.unwrap_or(10));
        env.out(lines.get(skip..).unwrap_or_default().concat())
            .await;
    }
    if unit == Some('f') && code == 0 {
        std::future::pending::<()>().await;
    }
    code
}

pub(super) async fn wc(env: &Env, args: &[String]) -> i32 {
    let option: String = args
        .iter()
        .filter(|arg| arg.starts_with('-'))
        .map(String::as_str)
        .collect();
    let (sources, code) = sources(env, "wc", &operands(args)).await;
    for source in sources {
        let all = source.all().await;
        let lines = all.iter().filter(|byte| **byte == b'\n').count();
        let words = String::from_utf8_lossy(&all).split_whitespace().count();
        let line = match option.as_str() {
            "-l" => lines.to_string(),
            "-c" => all.len().to_string(),
            "-w" => words.to_string(),
            _ => format!("{lines} {words} {}", all.len()),
        };
        env.out(format!("{line}\n")).await;
    }
    code
}

/// Lines that hold a plain text.
pub(super) async fn grep(env: &Env, args: &[String]) -> i32 {
    let options: String = args
        .iter()
        .filter(|arg| arg.starts_with('-'))
        .map(String::as_str)
        .collect();
    let rest = operands(args);
    let Some((pattern, paths)) = rest.split_first() else {
        return env.fail(2, "grep: missing pattern").await;
    };
    let (sources, code) = sources(env, "grep", paths).await;
    let (anchored, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, *pattern),
    };
    let mut found = 0;
    for source in sources {
        while let Some(line) = source.line().await {
            let text = String::from_utf8_lossy(&line);
            let fits = if anchored {
                text.starts_with(pattern)
            } else {
                text.contains(pattern)
            };
            if fits != options.contains('v') {
                found += 1;
                if !options.contains(['q', 'c']) {
                    env.out(&line).await;
                }
            }
        }
    }
    if options.contains('c') {
        env.out(format!("{found}\n")).await;
    }
    if code != 0 { 2 } else { i32::from(found == 0) }
}

pub(super) async fn sort(env: &Env, args: &[String]) -> i32 {
    let (sources, code) = sources(env, "sort", &operands(args)).await;
    let mut lines = Vec::new();
    for source in sources {
        let text = String::from_utf8_lossy(&source.all().await).into_owned();
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.sort();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    env.out(text).await;
    code
}

/// `cut -dX -fN`.
pub(super) async fn cut(env: &Env, args: &[String]) -> i32 {
    let value = |option: &str| {
        let place = args.iter().position(|arg| arg.starts_with(option))?;
        match args.get(place)?.get(option.len()..) {
            Some("") => args.get(place + 1).map(String::as_str),
            own => own,
        }
    };
    let delimiter = value("-d").unwrap_or("\t");
    let Some(field) = value("-f").and_then(|text| text.parse::<usize>().ok()) else {
        return env.fail(1, "cut: expected a list of fields").await;
    };
    while let Some(line) = env.io.stdin.line().await {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\n');
        let field = text
            .split(delimiter)
            .nth(field.saturating_sub(1))
            .unwrap_or_default();
        env.out(format!("{field}\n")).await;
    }
    0
}

pub(super) async fn tee(env: &Env, args: &[String]) -> i32 {
    let all = env.io.stdin.all().await;
    env.out(&all).await;
    for path in operands(args) {
        let written = env.world.fs().write(&env.cwd, path, &all, false);
        if let Err(error) = written {
            return env.fail(1, format!("tee: {path}: {}", error.text())).await;
        }
    }
    0
}

pub(super) async fn seq(env: &Env, args: &[String]) -> i32 {
    let numbers: Option<Vec<i64>> = args.iter().map(|arg| arg.parse().ok()).collect();
    let (first, step, last) = match numbers.as_deref() {
        Some([last]) => (1, 1, *last),
        Some([first, last]) => (*first, 1, *last),
        Some([first, step, last]) if *step > 0 => (*first, *step, *last),
        _ => return env.fail(1, "seq: invalid number").await,
    };
    let mut n = first;
    let mut text = String::new();
    while n <= last {
        text.push_str(&format!("{n}\n"));
        n = n.saturating_add(step);
        if text.len() > 4096 && !env.out(std::mem::take(&mut text)).await {
            return super::SIGNALLED + 13;
        }
    }
    env.out(text).await;
    0
}

/// `tr FROM TO` and `tr -d FROM`, character by character.
pub(super) async fn tr(env: &Env, args: &[String]) -> i32 {
    let (deletes, rest) = match args {
        [option, rest @ ..] if option == "-d" => (true, rest),
        rest => (false, rest),
    };
    let set = |n: usize| {
        rest.get(n)
            .map(|text| unescape(text).into_bytes())
            .unwrap_or_default()
    };
    let (from, to) = (set(0), set(1));
    if from.is_empty() || (to.is_empty() && !deletes) {
        return env.fail(1, "tr: missing operand").await;
    }
    while let Some(piece) = env.io.stdin.read(16 << 10).await {
        let mapped: Vec<u8> = piece
            .iter()
            .filter_map(|byte| match from.iter().position(|other| other == byte) {
                None => Some(*byte),
                Some(_) if deletes => None,
                Some(place) => to.get(place).or(to.last()).copied(),
            })
            .collect();
        if !env.out(mapped).await {
            return super::SIGNALLED + 13;
        }
    }
    0
}
