//! A container in the foreground: attached to, waited for, its signals and its terminal's size
//! looked after. What `run`, `start -a` and `attach` have in common.

use std::future::pending;
use std::rc::Rc;

use coracle_client::{AttachQuery, Client, Hijacked, Lines, WaitCondition};
use coracle_docker::container::WaitResponse;
use coracle_runtime::spec::ContainerConfig;

use crate::context::Context;
use crate::error::{Error, NOT_RUN, Result};
use crate::output::warn;
use crate::session::{self, Caught, DetachKeys, Ended, RawTerminal, Streams, Target};

/// A container, and how it is attached to.
pub(super) struct Foreground<'a> {
    pub(super) client: &'a Client,
    pub(super) id: Rc<str>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
    pub(super) keys: String,
    /// It is removed when it ends.
    pub(super) removed: bool,
    pub(super) sig_proxy: bool,
    /// It is started once it is attached to.
    pub(super) start: bool,
}

impl<'a> Foreground<'a> {
    /// As the configuration says.
    pub(super) fn new(client: &'a Client, id: &str, config: &ContainerConfig) -> Self {
        Self {
            client,
            id: id.into(),
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
            tty: config.tty,
            keys: String::new(),
            removed: false,
            sig_proxy: true,
            start: true,
        }
    }

    /// Stays with it to its end, or until it is detached from; gives its exit code. `caught` are the
    /// signals, caught before.
    pub(super) async fn run(&self, caught: Caught) -> Result<u8> {
        let condition = if self.removed {
            WaitCondition::Removed
        } else {
            WaitCondition::NextExit
        };
        let attached = self.attach().await?;
        let mut exit = self.client.wait_container(&self.id, condition).await?;
        let raw = if self.tty && self.stdin {
            RawTerminal::enter().map_err(|error| Error::io("the terminal", error))?
        } else {
            None
        };
        if self.start
            && let Err(error) = self.client.start_container(&self.id).await
        {
            if self.removed {
                // The daemon removes it; so it is gone when this returns.
                let _ = exit.next().await;
            }
            return Err(error.into());
        }
        let size = async {
            if self.tty {
                let target = Target::Container(Rc::clone(&self.id));
                // One that ran before draws itself anew when its size changes.
                session::keep_size(self.client, target, !self.start).await;
            }
            pending::<()>().await;
        };
        let signals = async {
            if self.sig_proxy && !self.tty {
                session::proxy(self.client, &self.id, caught).await
            } else {
                session::interrupted(caught).await
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
        if !self.stdin && !self.stdout && !self.stderr {
            return Ok(None);
        }
        let query = AttachQuery {
            stdin: self.stdin,
            stdout: self.stdout,
            stderr: self.stderr,
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
        if let Some(attached) = attached {
            let typed_on = self.tty && self.stdin;
            let streams = Streams {
                stdin: self.stdin,
                stdout: self.stdout,
                stderr: self.stderr,
                tty: self.tty,
                detach: typed_on
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

/// The keys that detach: those given, those that are configured, or none for the daemon's.
pub(super) fn detach_keys(context: &Context, given: Option<&str>, tty: bool) -> Result<String> {
    if let Some(keys) = given {
        DetachKeys::parse(keys)?;
        return Ok(keys.to_owned());
    }
    if !tty {
        return Ok(String::new());
    }
    let config = context.config().ok();
    let keys = config.as_ref().and_then(|config| config.detach_keys());
    Ok(keys.unwrap_or_default().to_owned())
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

/// Waits for a container's end; gives its exit code.
async fn exit_code(exit: &mut Lines<WaitResponse>) -> Result<u8> {
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
