//! The verbs: one file each, and the tables that give them their names.

mod attach;
mod commit;
mod completion;
mod containers;
mod cp;
mod create;
mod diff;
mod download;
mod each;
mod events;
mod exec;
mod export;
mod foreground;
mod history;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logs;
mod network;
mod pause;
mod port;
mod prompt;
mod prune;
mod ps;
mod pull;
mod push;
mod reference;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod secret;
mod start;
mod stats;
mod stop;
pub(crate) mod system;
mod table;
mod tag;
mod time;
mod top;
mod update;
mod upload;
mod version;
mod volume;
mod wait;

use coracle_client::Filters;

use crate::error::{Error, Result};

pub(crate) use table::{SECTIONS, TOP};

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
