//! `attach`.

use clap::{ArgAction, Args};

use super::foreground::{Foreground, check_terminal, detach_keys};
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::session::Caught;

#[derive(Args, Debug)]
pub(crate) struct AttachArgs {
    /// Keys that detach from the terminal
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Do not attach to standard input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the process
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = true
    )]
    sig_proxy: bool,
    /// Container
    container: String,
}

impl Run for AttachArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let client = context.client().await?;
        let container = client.inspect_container(&self.container).await?;
        let (what, hint) = match &container.state {
            state if state.restarting => ("restarting", "wait until it is running"),
            state if state.paused => ("paused", "`coracle unpause` it first"),
            state if !state.running => {
                ("stopped", "`coracle start -a` starts it and attaches to it")
            }
            _ => ("", ""),
        };
        if !what.is_empty() {
            let message = format!("cannot attach to a {what} container");
            return Err(Error::advice(message, hint));
        }
        let config = &container.config;
        let stdin = !self.no_stdin && config.open_stdin;
        check_terminal(stdin, config.tty)?;
        let foreground = Foreground {
            stdin,
            stdout: true,
            stderr: true,
            keys: detach_keys(context, self.detach_keys.as_deref(), config.tty)?,
            sig_proxy: self.sig_proxy,
            start: false,
            ..Foreground::new(client, &container.id, config)
        };
        foreground.run(Caught::all()).await
    }
}
