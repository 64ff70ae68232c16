//! The tree of verbs: built as far as a command line needs it, and run.
//!
//! A verb's options are only made when it is the one that is used, because there are hundreds of them.

use std::ffi::OsString;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::commands::TOP;
use crate::context::{Context, Global};
use crate::error::{Error, FAILURE, NOT_RUN, Result};
use crate::{help, plugin};

type Running = Pin<Box<dyn Future<Output = Result<u8>>>>;

/// What a verb does.
pub(crate) trait Run: Args {
    /// What follows the options in the usage line.
    const OPERANDS: &'static str = "";

    /// Does it, and gives the exit code.
    async fn run(self, context: &Context) -> Result<u8>;
}

/// One verb.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) hidden: bool,
    augment: fn(Command) -> Command,
    run: fn(ArgMatches, Rc<Context>) -> Running,
}

/// A verb that `T` does.
pub(crate) const fn verb<T: Run + 'static>(name: &'static str, about: &'static str) -> Node {
    Node::Verb(Verb {
        name,
        about,
        aliases: &[],
        hidden: false,
        augment: augment::<T>,
        run: start::<T>,
    })
}

/// Lists of verbs, which may be those of several groups.
pub(crate) type Nodes = &'static [&'static [Node]];

/// A verb, or a group of them.
pub(crate) enum Node {
    Verb(Verb),
    Group {
        name: &'static str,
        about: &'static str,
        aliases: &'static [&'static str],
        nodes: Nodes,
        augment: fn(Command) -> Command,
    },
}

impl Node {
    /// Further names.
    pub(crate) const fn or(self, aliases: &'static [&'static str]) -> Self {
        match self {
            Self::Verb(verb) => Self::Verb(Verb { aliases, ..verb }),
            Self::Group {
                name,
                about,
                nodes,
                augment,
                ..
            } => Self::Group {
                name,
                about,
                aliases,
                nodes,
                augment,
            },
        }
    }

    /// Left out of help.
    pub(crate) const fn hidden(self) -> Self {
        match self {
            Self::Verb(verb) => Self::Verb(Verb {
                hidden: true,
                ..verb
            }),
            group @ Self::Group { .. } => group,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Verb(verb) => verb.name,
            Self::Group { name, .. } => name,
        }
    }

    pub(crate) fn about(&self) -> &'static str {
        match self {
            Self::Verb(verb) => verb.about,
            Self::Group { about, .. } => about,
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Verb(verb) => Command::new(verb.name)
                .about(verb.about)
                .visible_aliases(verb.aliases)
                .hide(verb.hidden)
                .defer(verb.augment),
            Self::Group {
                name,
                about,
                aliases,
                augment,
                ..
            } => Command::new(*name)
                .about(*about)
                .visible_aliases(*aliases)
                .subcommand_required(true)
                .arg_required_else_help(true)
                .defer(*augment),
        }
    }
}

/// A group of the verbs in a static.
macro_rules! group {
    ($name:literal, $about:literal, $nodes:path) => {
        $crate::app::Node::Group {
            name: $name,
            about: $about,
            aliases: &[],
            nodes: $nodes,
            augment: |command| $crate::app::with_nodes(command, $nodes),
        }
    };
}
pub(crate) use group;

/// Adds verbs to a command.
pub(crate) fn with_nodes(command: Command, nodes: Nodes) -> Command {
    help_flag(command).subcommands(nodes.iter().copied().flatten().map(Node::command))
}

/// Docker's `--help`, and `-h` where no option of that letter is.
fn help_flag(command: Command) -> Command {
    let taken = command
        .get_arguments()
        .any(|arg| arg.get_short() == Some('h'));
    let help = Arg::new("help")
        .long("help")
        .action(ArgAction::HelpShort)
        .help("Print help");
    let help = if taken { help } else { help.short('h') };
    command.disable_help_flag(true).arg(help)
}

fn augment<T: Run>(command: Command) -> Command {
    // What the table says about the verb, not what the options' type says about itself.
    let about = command.get_about().cloned().unwrap_or_default();
    let command = T::augment_args(command)
        .about(about)
        .long_about(None::<&str>)
        .args_override_self(true)
        // Like Docker's: the word after an option is its value, whatever it looks like.
        .mut_args(|arg| {
            if arg.is_positional() || !arg.get_action().takes_values() {
                return arg;
            }
            arg.allow_hyphen_values(true)
        });
    let command = help_flag(command);
    if T::OPERANDS.is_empty() {
        return command;
    }
    let name = command
        .get_bin_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let usage = format!("{} [OPTIONS] {}", name.trim(), T::OPERANDS);
    command.override_usage(usage)
}

fn start<T: Run + 'static>(matches: ArgMatches, context: Rc<Context>) -> Running {
    Box::pin(async move { T::from_arg_matches(&matches)?.run(&context).await })
}

/// The whole tree.
pub(crate) fn command() -> Command {
    let command = Command::new("coracle")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs containers")
        .disable_help_subcommand(false)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .allow_external_subcommands(true)
        .max_term_width(100)
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::Version)
                .help("Print version"),
        );
    with_nodes(Global::augment_args(command), TOP).about("Runs containers")
}

/// Runs a command line, and gives its exit code.
pub(crate) fn run(arguments: Vec<OsString>) -> u8 {
    let failure = if help::makes_container(&arguments) {
        NOT_RUN
    } else {
        FAILURE
    };
    match parse(&arguments).and_then(execute) {
        Ok(code) => code,
        Err(Error::Clap(error)) => help::report(&error, failure),
        Err(error) => {
            error.report();
            error.code()
        }
    }
}

/// Parses; and once more with flags that take `=true`, where one was given so.
fn parse(arguments: &[OsString]) -> Result<ArgMatches> {
    let command = || {
        let command = command();
        if help::is_asked_for(arguments) {
            help::with_sections(command)
        } else {
            command
        }
    };
    command().try_get_matches_from(arguments).or_else(|error| {
        match help::without_switch_values(arguments, &error) {
            Some(arguments) => parse(&arguments),
            None => Err(error.into()),
        }
    })
}

fn execute(matches: ArgMatches) -> Result<u8> {
    let global = Global::from_arg_matches(&matches)?;
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Error::usage("no command was given"));
    };
    let Some(running) = find(TOP, name, matches, &global) else {
        return plugin::exec(name, matches);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("starting", error))?;
    let code = runtime.block_on(running);
    // A thread that reads standard input must not be waited for.
    runtime.shutdown_background();
    code
}

fn find(nodes: Nodes, name: &str, matches: &ArgMatches, global: &Global) -> Option<Running> {
    match nodes
        .iter()
        .copied()
        .flatten()
        .find(|node| node.name() == name)?
    {
        Node::Verb(verb) => {
            let context = Rc::new(Context::new(global.clone()));
            Some((verb.run)(matches.clone(), context))
        }
        Node::Group { nodes, .. } => {
            let (name, matches) = matches.subcommand()?;
            find(nodes, name, matches, global)
        }
    }
}
