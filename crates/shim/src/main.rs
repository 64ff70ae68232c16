//! `coracle-shim --bundle DIR`: one small process per container, its parent, which owns its
//! stdio, its logs and its exit status, and outlives the engine that started it.
//!
//! Owns the container's process (through a `Sandbox`), its log, its exit record and its
//! published ports. Must not know images, networks, names, restart policies or Docker.
//!
//! What holds at any time:
//! - Everything that a client may wait for happens without any client: output is logged, the
//!   exit record written, the cgroup removed.
//! - The exit record is written once, whole, after the log, and before anybody is told.
//! - Killing the shim kills the container: the kernel does it.
//!
//! `coracle-shim --template FILE` makes a template of virtual machines, and ends. `coracle-shim --spare`
//! has a machine ready, and becomes the shim of the container that is put into it.
//!
//! One thread serves everything; the isolation may use others for calls that block.

mod attach;
mod container;
mod events;
mod execs;
mod fanout;
mod files;
mod lifetime;
mod output;
mod ports;
mod proc;
mod record;
mod server;
mod setup;
mod sockets;
mod spare;
mod stdin;
mod template;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use coracle_sandbox::ProcessSandbox;
use coracle_sandbox::Sandbox;
use coracle_sandbox::Spare;
use coracle_sandbox::VmSandbox;
use coracle_task::PID_FILE;
use coracle_task::TaskConfig;
use tokio::net::UnixListener;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use container::Container;
use setup::Inherited;

/// Secrets of machines pass through buffers that nobody else overwrites.
#[global_allocator]
static ALLOCATOR: coracle_wipe::Wiping = coracle_wipe::Wiping;

fn main() -> ExitCode {
    coracle_launcher::run_if_helper();
    coracle_vmm::run_if_helper();
    let mut arguments = std::env::args_os().skip(1);
    let result = match parse(&mut arguments) {
        Ok(Job::Container(bundle)) => prepare(bundle),
        Ok(Job::Template(config)) => template::make(&config),
        Ok(Job::Spare) => spare::wait(),
        Err(usage) => {
            complain(&usage);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// What a shim is started for.
enum Job {
    /// The container of a bundle.
    Container(PathBuf),
    /// A template of virtual machines, by the file that describes them.
    Template(PathBuf),
    /// Whichever container comes.
    Spare,
}

fn parse(arguments: &mut dyn Iterator<Item = OsString>) -> Result<Job, &'static str> {
    const USAGE: &str = "usage: coracle-shim --bundle DIR, with a listening socket as descriptor 3; \
                         or coracle-shim --template FILE; or coracle-shim --spare, with a daemon at \
                         descriptor 3";
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(flag), Some(bundle), None) if flag == "--bundle" => Ok(Job::Container(bundle.into())),
        (Some(flag), Some(file), None) if flag == "--template" => Ok(Job::Template(file.into())),
        (Some(flag), None, None) if flag == "--spare" => Ok(Job::Spare),
        _ => Err(USAGE),
    }
}

fn prepare(bundle: PathBuf) -> io::Result<()> {
    let bundle = std::path::absolute(bundle)?;
    let mut config = setup::read_config(&bundle)?;
    let inherited = setup::inherit(setup::port_count(&config)?, config.has_handed())?;
    setup::pass_on(&mut config, setup::detach()?);
    write_pid(&bundle)?;
    runtime()?.block_on(run(config, inherited, None))
}

fn write_pid(bundle: &Path) -> io::Result<()> {
    let pid = std::process::id().to_string();
    record::write_file(&bundle.join(PID_FILE), pid.as_bytes(), false)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_keep_alive(std::time::Duration::from_millis(100))
        .build()
}

/// Serves a container until there is nothing left to serve.
async fn run(config: TaskConfig, inherited: Inherited, spare: Option<Spare>) -> io::Result<()> {
    // Handled and passed over, not ignored: that would be inherited by the container.
    let _hangup = signal(SignalKind::hangup())?;
    let _interrupt = signal(SignalKind::interrupt())?;
    let _terminate = signal(SignalKind::terminate())?;
    let listener = UnixListener::from_std(inherited.listener)?;
    let sandbox: Arc<dyn Sandbox> = match config.machine {
        None => Arc::new(ProcessSandbox::new(&config).with_handed(inherited.handed)),
        Some(_) => {
            let sandbox = VmSandbox::new(&config).map_err(io::Error::other)?;
            let sandbox = sandbox.with_handed(inherited.handed);
            Arc::new(sandbox.with_spare(spare))
        }
    };
    let container = Container::new(config, sandbox, inherited.ports);
    let container = Arc::new(container);
    lifetime::serve(listener, container.clone()).await;
    container.close().await;
    let sandbox = container.sandbox.clone();
    drop(container);
    sandbox.released().await.map_err(io::Error::other)
}

/// Says what went wrong, to the shim's own log: nobody may be there to be told.
fn complain(problem: &dyn std::fmt::Display) {
    use std::io::Write;
    // Where else would one complain about this?
    let _ = writeln!(io::stderr(), "{} {problem}", jiff::Timestamp::now());
}
