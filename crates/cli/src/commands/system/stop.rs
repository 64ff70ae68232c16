//! `system stop`.

use std::time::Duration;

use clap::Args;

use super::place;
use crate::app::Run;
use crate::context::Context;
use crate::daemon;
use crate::error::Result;
use crate::output::print;

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Seconds to wait for its end
    #[arg(short = 't', long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
}

impl Run for StopArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let place = place(context)?;
        match daemon::running(&place)? {
            Some(running) => {
                running.stop(Duration::from_secs(self.timeout))?;
                print("stopped; containers run on\n")?;
            }
            None => print("not running\n")?,
        }
        Ok(0)
    }
}
