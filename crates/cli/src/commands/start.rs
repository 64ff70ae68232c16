//! `start`.

use clap::{ArgAction, Args};

use super::each::each_name;
use super::foreground::{Foreground, check_terminal, detach_keys};
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, FAILURE, Result};
use crate::session::Caught;

#[derive(Args, Debug)]
pub(crate) struct StartArgs {
    /// Attach to output, and pass signals on
    #[arg(short = 'a', long)]
    attach: bool,
    /// Attach to standard input
    #[arg(short = 'i', long)]
    interactive: bool,
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
    /// Containers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

impl Run for StartArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        if !self.attach && !self.interactive {
            let client = context.client().await?;
            return each_name(&self.containers, async |name| {
                client.start_container(name).await.map(drop)
            })
            .await;
        }
        let [name] = self.containers.as_slice() else {
            return Err(Error::usage(
                "you cannot start and attach multiple containers at once",
            ));
        };
        match self.attached(context, name).await {
            Ok(code) => Ok(code),
            Err(error) => {
                error.report();
                Ok(error.run_code(FAILURE))
            }
        }
    }
}

impl StartArgs {
    async fn attached(&self, context: &Context, name: &str) -> Result<u8> {
        let client = context.client().await?;
        let container = client.inspect_container(name).await?;
        let config = &container.config;
        let stdin = self.interactive && config.open_stdin;
        check_terminal(stdin, config.tty)?;
        let foreground = Foreground {
            stdin,
            stdout: true,
            stderr: true,
            keys: detach_keys(context, self.detach_keys.as_deref(), config.tty)?,
            removed: container.host_config.auto_remove,
            sig_proxy: self.sig_proxy,
            ..Foreground::new(client, &container.id, config)
        };
        foreground.run(Caught::all()).await
    }
}
