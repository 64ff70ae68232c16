//! `exec`.

use std::future::pending;
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use coracle_docker::exec::ExecCreateBody;

use super::foreground::{check_terminal, detach_keys};
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, FAILURE, Result};
use crate::options::environment;
use crate::session::{self, Caught, DetachKeys, Ended, RawTerminal, Streams, Target};

#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// Run in the background
    #[arg(short = 'd', long)]
    detach: bool,
    /// Keys that detach from the terminal
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Environment variable: KEY=VALUE, or KEY to pass on one's own
    #[arg(short = 'e', long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// File of environment variables, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Keep standard input open
    #[arg(short = 'i', long)]
    interactive: bool,
    /// All capabilities
    #[arg(long)]
    privileged: bool,
    /// Give the process a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// User to run as: NAME|UID[:GROUP|GID]
    #[arg(short = 'u', long, value_name = "USER")]
    user: Option<String>,
    /// Working directory inside
    #[arg(short = 'w', long, value_name = "DIR")]
    workdir: Option<String>,
    /// Container, and the command to run in it
    #[arg(
        value_name = "CONTAINER COMMAND [ARG...]",
        required = true,
        trailing_var_arg = true
    )]
    words: Vec<String>,
}

impl Run for ExecArgs {
    const OPERANDS: &'static str = "CONTAINER COMMAND [ARG...]";

    async fn run(self, context: &Context) -> Result<u8> {
        match self.exec(context).await {
            Ok(code) => Ok(code),
            Err(error) => {
                error.report();
                Ok(error.run_code(FAILURE))
            }
        }
    }
}

impl ExecArgs {
    async fn exec(self, context: &Context) -> Result<u8> {
        let Some((container, command)) = self.words.split_first().filter(|(_, c)| !c.is_empty())
        else {
            return Err(Error::usage("exec wants a container and a command"));
        };
        let attached = !self.detach;
        let stdin = attached && self.interactive;
        check_terminal(stdin, self.tty)?;
        let keys = detach_keys(context, self.detach_keys.as_deref(), self.tty)?;
        let detach = DetachKeys::parse(&keys)?;
        let size = session::size().filter(|_| self.tty);
        let body = ExecCreateBody {
            user: self.user.clone().unwrap_or_default(),
            privileged: self.privileged,
            tty: self.tty,
            console_size: size,
            attach_stdin: stdin,
            attach_stdout: attached,
            attach_stderr: attached,
            detach_keys: keys,
            env: environment(&self.env, &self.env_file)?,
            working_dir: self.workdir.clone().unwrap_or_default(),
            cmd: command.to_vec(),
        };
        let client = context.client().await?;
        let id = client.create_exec(container, &body).await?;
        if self.detach {
            client.start_exec_detached(&id, self.tty).await?;
            return Ok(0);
        }
        let raw = if self.tty && stdin {
            RawTerminal::enter().map_err(|error| Error::io("the terminal", error))?
        } else {
            None
        };
        let caught = raw.is_some().then(Caught::all);
        let hijacked = client.start_exec(&id, self.tty, size).await?;
        let streams = Streams {
            stdin,
            stdout: true,
            stderr: true,
            tty: self.tty,
            detach: (self.tty && stdin).then_some(detach),
        };
        let resize = async {
            if self.tty {
                session::keep_size(client, Target::Exec(Rc::from(id.as_str())), false).await;
            }
            pending::<()>().await;
        };
        let signals = async {
            match caught {
                Some(caught) => session::interrupted(caught).await,
                None => pending().await,
            }
        };
        let ended = tokio::select! {
            ended = session::pump(hijacked, streams) => ended?,
            error = signals => return Err(error),
            () = resize => pending().await,
        };
        drop(raw);
        if ended == Ended::Detached {
            return Ok(0);
        }
        let exit_code = client
            .inspect_exec(&id)
            .await?
            .exit_code
            .unwrap_or_default();
        Ok(u8::try_from(exit_code & 0xff).unwrap_or(FAILURE))
    }
}
