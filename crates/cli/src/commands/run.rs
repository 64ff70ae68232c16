//! `run`: create, attach, wait, start, stream.

use std::future::pending;
use std::rc::Rc;

use clap::{ArgAction, Args};
use coracle_client::{AttachQuery, Client, Hijacked, Lines, WaitCondition};
use coracle_docker::container::{CreateBody, WaitResponse};

use super::create;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, NOT_RUN, Result};
use crate::options::{ContainerOptions, OPERANDS};
use crate::output::{print, warn};
use crate::session::{self, Caught, DetachKeys, Ended, RawTerminal, Streams, Target};

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
            self.check_detached(&mut body)?;
        } else {
            check_terminal(body.config.attach_stdin, body.config.tty)?;
        }
        let keys = self.detach_keys(context, &body)?;
        let client = context.client().await?;
        if self.detach {
            let created = create::create(context, &self.options, &mut body).await?;
            client.start_container(&created.id).await?;
            print(&format!("{}\n", created.id))?;
            return Ok(0);
        }
        // Caught before there is a container, so that none is left behind unnoticed.
        let tty = body.config.tty;
        let caught = (self.sig_proxy || tty).then(Caught::all);
        let created = create::create(context, &self.options, &mut body).await?;
        let container = Container {
            client,
            id: created.id.into(),
            body: &body,
            keys,
        };
        container.foreground(caught, self.sig_proxy).await
    }

    fn check_detached(&self, body: &mut CreateBody) -> Result<()> {
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
        Ok(())
    }

    /// The keys that detach: those given, those that are configured, or the daemon's.
    fn detach_keys(&self, context: &Context, body: &CreateBody) -> Result<String> {
        if let Some(keys) = &self.detach_keys {
            DetachKeys::parse(keys)?;
            return Ok(keys.clone());
        }
        if !body.config.tty {
            return Ok(String::new());
        }
        let config = context.config().ok();
        let keys = config.as_ref().and_then(|config| config.detach_keys());
        Ok(keys.unwrap_or_default().to_owned())
    }
}

/// A terminal inside that is typed on needs one outside.
pub(super) fn check_terminal(stdin: bool, tty: bool) -> Result<()> {
    if tty && stdin && !session::stdin_is_terminal() {
        return Err(Error::advice(
            "the input device is not a TTY",
            "leave -t away where standard input is a pipe or file",
        ));
    }
    Ok(())
}

/// A container that is about to be run.
struct Container<'a> {
    client: &'a Client,
    id: Rc<str>,
    body: &'a CreateBody,
    keys: String,
}

impl Container<'_> {
    /// Runs it to its end, or until it is detached from; gives its exit code.
    async fn foreground(&self, caught: Option<Caught>, sig_proxy: bool) -> Result<u8> {
        let config = &self.body.config;
        let condition = if self.body.host_config.auto_remove {
            WaitCondition::Removed
        } else {
            WaitCondition::NextExit
        };
        let attached = self.attach().await?;
        let mut exit = self.client.wait_container(&self.id, condition).await?;
        let typed_on = config.tty && config.attach_stdin;
        let raw = if typed_on {
            RawTerminal::enter().map_err(|error| Error::io("the terminal", error))?
        } else {
            None
        };
        if let Err(error) = self.client.start_container(&self.id).await {
            if self.body.host_config.auto_remove {
                // The daemon removes it; so it is gone when this returns.
                let _ = exit.next().await;
            }
            return Err(error.into());
        }
        let size = async {
            if config.tty {
                session::keep_size(self.client, Target::Container(Rc::clone(&self.id))).await;
            }
            pending::<()>().await;
        };
        let signals = async {
            match caught {
                Some(caught) if raw.is_some() => session::interrupted(caught).await,
                Some(caught) if sig_proxy && !config.tty => {
                    session::proxy(self.client, &self.id, caught).await;
                    pending().await
                }
                // A terminal that isn't ours to restore: signals mean this program.
                Some(caught) => session::interrupted(caught).await,
                None => pending().await,
            }
        };
        let code = tokio::select! {
            code = self.session(attached, &mut exit) => code,
            error = signals => Err(error),
            () = size => pending().await,
        };
        drop(raw);
        code
    }

    async fn attach(&self) -> Result<Option<Hijacked>> {
        let config = &self.body.config;
        if !config.attach_stdin && !config.attach_stdout && !config.attach_stderr {
            return Ok(None);
        }
        let query = AttachQuery {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
            logs: false,
            detach_keys: self.keys.clone(),
        };
        Ok(Some(self.client.attach_container(&self.id, &query).await?))
    }

    async fn session(
        &self,
        attached: Option<Hijacked>,
        exit: &mut Lines<WaitResponse>,
    ) -> Result<u8> {
        let config = &self.body.config;
        if let Some(attached) = attached {
            let streams = Streams {
                stdin: config.attach_stdin,
                stdout: config.attach_stdout,
                stderr: config.attach_stderr,
                tty: config.tty,
                detach: config
                    .tty
                    .then(|| DetachKeys::parse(&self.keys))
                    .transpose()?,
            };
            if session::pump(attached, streams).await? == Ended::Detached {
                return Ok(0);
            }
        }
        exit_code(exit).await
    }
}

/// Waits for a container's end; gives its exit code.
pub(super) async fn exit_code(exit: &mut Lines<WaitResponse>) -> Result<u8> {
    let Some(status) = exit.next().await? else {
        return Err(Error::usage(
            "the daemon went away before the container ended",
        ));
    };
    if let Some(error) = status.error.filter(|error| !error.message.is_empty()) {
        warn(format_args!("coracle: {}", error.message));
        return Ok(NOT_RUN);
    }
    // As exit(3) does it.
    Ok(u8::try_from(status.status_code & 0xff).unwrap_or(NOT_RUN))
}
