//! Help, and what is said about command lines that can't be read.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::app::Node;
use crate::commands::{SECTIONS, TOP};
use crate::output::{print, warn};

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
    TOP.iter().find(|node| node.name() == name)
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
    let text = text.replace("\n  tip: ", "\nhint: ");
    warn(format_args!("coracle: {}", text.trim_end()));
    failure
}

/// The command line with `--flag` for the `--flag=true` that the error is about, and without it for
/// `--flag=false`; none where that's not what is wrong.
pub(crate) fn without_switch_values(
    arguments: &[OsString],
    error: &clap::Error,
) -> Option<Vec<OsString>> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else {
        return None;
    };
    let long = flag
        .split([' ', ','])
        .find(|part| part.starts_with("--"))?
        .to_owned();
    let on = match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        _ => return None,
    };
    let at = arguments
        .iter()
        .position(|word| word.to_str() == Some(&format!("{long}={value}")))?;
    let mut changed = arguments.to_vec();
    if on {
        *changed.get_mut(at)? = long.into();
    } else {
        changed.remove(at);
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
}
