//! Help, and what is said about command lines that can't be read.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::app::Node;
use crate::commands::{SECTIONS, TOP};
use crate::output::{Style, print, warn};

/// Options before the verb that take a value.
const VALUED: [&str; 8] = [
    "-H",
    "--host",
    "-c",
    "--context",
    "--config",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
];

/// The words of a command line that are no options before the verb.
fn words(arguments: &[OsString]) -> impl Iterator<Item = &str> {
    let mut arguments = arguments.iter().skip(1).filter_map(|word| word.to_str());
    std::iter::from_fn(move || {
        loop {
            let word = arguments.next()?;
            if VALUED.contains(&word) {
                arguments.next();
            } else if !word.starts_with('-') {
                return Some(word);
            }
        }
    })
}

/// Whether it's `run` or `create`, whose failures have an exit code of their own.
pub(crate) fn makes_container(arguments: &[OsString]) -> bool {
    let mut words = words(arguments);
    let verb = match words.next() {
        Some("container") => words.next(),
        verb => verb,
    };
    matches!(verb, Some("run" | "create"))
}

/// Whether the help of all verbs will be shown.
pub(crate) fn is_asked_for(arguments: &[OsString]) -> bool {
    matches!(words(arguments).next(), None | Some("help"))
}

/// Puts the verbs in sections. Only done for who sees it.
pub(crate) fn with_sections(command: clap::Command) -> clap::Command {
    let mut text = String::from("Runs containers\n\nUsage: coracle [OPTIONS] COMMAND\n");
    for (title, names) in SECTIONS {
        text.push_str(&format!("\n{title}:\n"));
        for node in names.iter().filter_map(|name| find(name)) {
            text.push_str(&format!("  {:<12} {}\n", node.name(), node.about()));
        }
    }
    text.push_str(
        "\nOptions:\n{options}\n\nRun `coracle COMMAND --help` for more about a command.\n",
    );
    command.help_template(text)
}

fn find(name: &str) -> Option<&'static Node> {
    TOP.iter()
        .copied()
        .flatten()
        .find(|node| node.name() == name)
}

/// Shows help or version, or says what is wrong; gives the exit code.
pub(crate) fn report(error: &clap::Error, failure: u8) -> u8 {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return match print(&text) {
            Ok(()) => 0,
            Err(error) => error.code(),
        };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        warn(text.trim_end());
        return failure;
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let style = Style::stderr();
    let (text, tips) = without_tips(text);
    warn(format_args!(
        "{} {}",
        style.red("coracle:"),
        text.trim_end()
    ));
    for tip in tips {
        warn(format_args!("{} {tip}", style.cyan("hint:")));
    }
    failure
}

/// What clap says, and apart from it what it says about what to do.
fn without_tips(text: &str) -> (String, Vec<String>) {
    let mut tips = Vec::new();
    let mut kept = String::new();
    for line in text.lines() {
        if let Some(tip) = line.strip_prefix("  tip: ") {
            // That an option could be meant as a value is hardly ever so.
            if !tip.starts_with("to pass ") {
                tips.push(tip.to_owned());
            }
        } else if !line.starts_with("For more information") {
            // No two empty lines in a row.
            if !(line.is_empty() && kept.ends_with("\n\n")) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    if tips.is_empty() {
        tips.push("--help lists all options".to_owned());
    }
    (kept, tips)
}

/// The command line with `--flag` for the `--flag=true` that the error is about, and without it for
/// `--flag=false`; likewise `-f=true`. None where that's not what is wrong.
pub(crate) fn without_switch_values(
    arguments: &[OsString],
    error: &clap::Error,
) -> Option<Vec<OsString>> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let long = match error.kind() {
        ErrorKind::TooManyValues => flag.split([' ', ',']).find(|part| part.starts_with("--")),
        ErrorKind::UnknownArgument if flag == "-=" => None,
        _ => return None,
    };
    let (at, switch, value) = arguments.iter().enumerate().find_map(|(at, word)| {
        let (switch, value) = word.to_str()?.split_once('=')?;
        let short = || switch.len() > 1 && switch.starts_with('-') && !switch.starts_with("--");
        let found = long.map_or_else(short, |long| switch == long);
        found.then_some((at, switch.to_owned(), value))
    })?;
    let on = match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        _ => return None,
    };
    // Of several letters, the value is the last one's.
    let without = switch.get(..switch.len() - 1).filter(|_| long.is_none());
    let kept = match without {
        _ if on => Some(switch.as_str()),
        Some(others) if others.len() > 1 => Some(others),
        _ => None,
    };
    let mut changed = arguments.to_vec();
    match kept {
        Some(kept) => *changed.get_mut(at)? = kept.into(),
        None => drop(changed.remove(at)),
    }
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_verb_is_found() {
        for (text, makes) in [
            ("coracle run --x", true),
            ("coracle -H unix:///x container create --x", true),
            ("coracle --tlscert run ps", false),
            ("coracle ps run", false),
        ] {
            assert_eq!(makes_container(&line(text)), makes, "{text}");
        }
        assert!(is_asked_for(&line("coracle --help")));
        assert!(is_asked_for(&line("coracle -H x help")));
        assert!(!is_asked_for(&line("coracle ps")));
    }

    #[test]
    fn switches_take_values() {
        let changed = |text: &str| {
            let line = line(text);
            let error = crate::app::command().try_get_matches_from(&line).err()?;
            without_switch_values(&line, &error)
        };
        for (text, expected) in [
            ("coracle run --rm=true x", "coracle run --rm x"),
            ("coracle run --rm=0 x", "coracle run x"),
            ("coracle run -t=true x", "coracle run -t x"),
            ("coracle run -it=false x", "coracle run -i x"),
            ("coracle run -t=false x", "coracle run x"),
        ] {
            assert_eq!(changed(text), Some(line(expected)), "{text}");
        }
        assert_eq!(changed("coracle run --rm=maybe x"), None);
        assert_eq!(changed("coracle run --bogus=true x"), None);
        assert_eq!(changed("coracle run x --rm=true"), None);
    }
}
