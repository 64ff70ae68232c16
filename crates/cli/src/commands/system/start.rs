//! `system start`.

use clap::Args;
use coracle_client::{Client, Host};

use super::place;
use crate::app::Run;
use crate::context::Context;
use crate::daemon;
use crate::error::Result;
use crate::output::print;

#[derive(Args, Debug)]
pub(crate) struct StartArgs {
    /// Options of coracled, after --
    #[arg(value_name = "OPTIONS", last = true)]
    options: Vec<String>,
}

impl Run for StartArgs {
    const OPERANDS: &'static str = "[-- OPTIONS...]";

    async fn run(self, context: &Context) -> Result<u8> {
        let place = place(context)?;
        let client = Client::new(Host::Unix(place.socket.clone()), None)?;
        let shown = place.socket.display();
        match client.open().await {
            Ok(()) => {
                client.ping().await?;
                print(&format!("already running on unix://{shown}\n"))?;
            }
            Err(error) if error.is_no_daemon() => {
                daemon::start(&place, &self.options, &client).await?;
                print(&format!("running on unix://{shown}\n"))?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(0)
    }
}
