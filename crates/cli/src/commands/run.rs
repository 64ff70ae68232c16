//! `run`: create, attach, wait, start, stream.

use clap::{ArgAction, Args};
use coracle_docker::container::CreateBody;

use super::create;
use super::foreground::{Foreground, check_terminal, detach_keys};
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, NOT_RUN, Result};
use crate::options::{ContainerOptions, OPERANDS};
use crate::output::print;
use crate::session::Caught;

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Run in the background, and print the container's id
    #[arg(short = 'd', long)]
    detach: bool,
    /// Keys that detach from the terminal
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
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
    #[command(flatten)]
    options: ContainerOptions,
}

impl Run for RunArgs {
    const OPERANDS: &'static str = OPERANDS;

    async fn run(self, context: &Context) -> Result<u8> {
        match self.launch(context).await {
            Ok(code) => Ok(code),
            Err(error) => {
                error.report();
                Ok(error.run_code(NOT_RUN))
            }
        }
    }
}

impl RunArgs {
    async fn launch(self, context: &Context) -> Result<u8> {
        let mut body = self.options.body()?;
        if self.detach {
            return self.background(context, body).await;
        }
        let config = &body.config;
        check_terminal(config.attach_stdin, config.tty)?;
        let keys = detach_keys(context, self.detach_keys.as_deref(), config.tty)?;
        let client = context.client().await?;
        // While there is no container, signals do what they always do: a pull can be given up.
        let created = create::create(context, &self.options, &mut body).await?;
        let caught = Caught::all();
        let foreground = Foreground {
            keys,
            removed: body.host_config.auto_remove,
            sig_proxy: self.sig_proxy,
            ..Foreground::new(client, &created.id, &body.config)
        };
        foreground.run(caught).await
    }

    async fn background(self, context: &Context, mut body: CreateBody) -> Result<u8> {
        if !self.options.config.attach.is_empty() {
            return Err(Error::usage(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        let config = &mut body.config;
        config.attach_stdin = false;
        config.attach_stdout = false;
        config.attach_stderr = false;
        config.stdin_once = false;
        let created = create::create(context, &self.options, &mut body).await?;
        let client = context.client().await?;
        client.start_container(&created.id).await?;
        print(&format!("{}\n", created.id))?;
        Ok(0)
    }
}
