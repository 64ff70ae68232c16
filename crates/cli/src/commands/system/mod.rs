//! `system`.

pub(crate) mod cert;
mod df;
pub(crate) mod dns;
pub(crate) mod kernel;
pub(crate) mod key;
mod launch;
mod logs;
mod start;
mod status;
mod stop;

pub(crate) use df::DfArgs;
pub(crate) use launch::LaunchArgs;
pub(crate) use logs::LogsArgs;
pub(crate) use start::StartArgs;
pub(crate) use status::StatusArgs;
pub(crate) use stop::StopArgs;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::host::Place;

/// Where the daemon of this host has its things; an error where another one is talked to.
fn place(context: &Context) -> Result<Place> {
    let address = context.address()?;
    address.place.ok_or_else(|| {
        Error::advice(
            format!(
                "the daemon at {} ({}) is not this program's to start or stop",
                address.host, address.from
            ),
            "unset CORACLE_HOST and DOCKER_HOST, and use neither --host nor --context",
        )
    })
}
