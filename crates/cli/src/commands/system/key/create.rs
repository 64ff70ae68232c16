//! `system key create`.

use clap::{Args, ValueEnum};
use coracle_native::key::{KeyCreate, Scope};

use crate::app::Run;
use crate::context::Context;
use crate::error::Result;
use crate::output::print;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Allowed {
    /// Looking
    Read,
    /// Changing: who may create containers can become root on the host
    Write,
    /// Keys too
    Admin,
}

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// What it allows
    #[arg(long, value_name = "SCOPE", default_value = "read")]
    scope: Allowed,
    /// Days until it stops working; never, if not given
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
    /// What it is for
    #[arg(value_name = "NAME")]
    name: String,
}

impl Run for CreateArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let body = KeyCreate {
            name: self.name,
            scope: match self.scope {
                Allowed::Read => Scope::Read,
                Allowed::Write => Scope::Write,
                Allowed::Admin => Scope::Admin,
            },
            expires_in: self.days.map(|days| u64::from(days) * 86_400),
        };
        let native = context.client().await?.native();
        // The secret alone, so that scripts can keep it; it can't be had again.
        print(&format!("{}\n", native.create_key(&body).await?.secret))?;
        Ok(0)
    }
}
