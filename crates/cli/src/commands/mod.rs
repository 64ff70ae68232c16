//! The verbs: one file each, and the tables that give them their names.

mod containers;
mod create;
mod each;
mod exec;
mod images;
mod info;
mod inspect;
mod logs;
mod ps;
mod pull;
mod reference;
mod rm;
mod run;
mod stop;
mod system;
mod time;
mod version;

use coracle_client::Filters;

use crate::app::{Node, group, verb};
use crate::error::{Error, Result};

/// Reads `--filter KEY=VALUE`.
fn filters(given: &[String]) -> Result<Filters> {
    let mut filters = Filters::default();
    for text in given {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::option("--filter", text, "want KEY=VALUE"));
        };
        // `label!=x` is the filter `label!`.
        filters.add(key.trim().to_ascii_lowercase(), value.trim());
    }
    Ok(filters)
}

/// The verbs in the help of all, by section.
pub(crate) const SECTIONS: [(&str, &[&str]); 1] = [(
    "Commands",
    &[
        "run", "exec", "ps", "pull", "images", "logs", "rm", "stop", "inspect", "version", "info",
    ],
)];

static CONTAINER: [Node; 7] = [
    verb::<run::RunArgs>("run", "Create and run a new container"),
    verb::<exec::ExecArgs>("exec", "Run a command in a running container"),
    verb::<ps::PsArgs>("ls", "List containers").or(&["list", "ps"]),
    verb::<logs::LogsArgs>("logs", "Show what a container wrote"),
    verb::<rm::RmArgs>("rm", "Remove containers").or(&["remove", "delete"]),
    verb::<stop::StopArgs>("stop", "Stop containers"),
    verb::<inspect::InspectContainerArgs>("inspect", "Show all about containers"),
];

static IMAGE: [Node; 3] = [
    verb::<images::ImagesArgs>("ls", "List images").or(&["list"]),
    verb::<pull::PullArgs>("pull", "Pull an image from a registry"),
    verb::<inspect::InspectImageArgs>("inspect", "Show all about images"),
];

static SYSTEM: [Node; 1] = [verb::<system::LaunchArgs>("launch", "Become the daemon").hidden()];

/// All of them.
pub(crate) static TOP: [Node; 14] = [
    verb::<run::RunArgs>("run", "Create and run a new container"),
    verb::<exec::ExecArgs>("exec", "Run a command in a running container"),
    verb::<ps::PsArgs>("ps", "List containers").or(&["ls", "list"]),
    verb::<pull::PullArgs>("pull", "Pull an image from a registry"),
    verb::<images::ImagesArgs>("images", "List images"),
    verb::<logs::LogsArgs>("logs", "Show what a container wrote"),
    verb::<rm::RmArgs>("rm", "Remove containers").or(&["delete"]),
    verb::<stop::StopArgs>("stop", "Stop containers"),
    verb::<inspect::InspectArgs>(
        "inspect",
        "Show all about containers, images, networks or volumes",
    ),
    verb::<version::VersionArgs>("version", "Show versions of client and daemon"),
    verb::<info::InfoArgs>("info", "Show what the daemon is and has"),
    group!("container", "Manage containers", CONTAINER),
    group!("image", "Manage images", IMAGE),
    group!("system", "Manage the daemon", SYSTEM),
];
