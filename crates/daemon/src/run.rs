//! The daemon's life: open, serve, drain.

use std::fs;
use std::path::PathBuf;

use coracle_api::{Keys, Server};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tracing_subscriber::EnvFilter;

use crate::allocator;
use crate::backend::Backend;
use crate::error::Error;
use crate::listen::{self, Host};
use crate::rootless;
use crate::settings::{Args, Settings};
use crate::tls::{self, TlsListener};

/// Runs until told to stop.
pub(crate) fn run(args: Args) -> Result<(), Error> {
    let settings = args.settings()?;
    let backend = Backend::new(&settings)?;
    let acceptor = tls::acceptor(&settings)?;
    let hosts = settings
        .hosts()
        .iter()
        .map(|text| Host::parse(text, acceptor.is_some()))
        .collect::<Result<Vec<_>, _>>()?;
    backend.check(&hosts)?;
    if args.validate {
        eprintln!("configuration OK");
        return Ok(());
    }
    for host in &hosts {
        if let Host::Unix(path) = host
            && listen::is_served(path)
        {
            eprintln!("coracled: already running on unix://{}", path.display());
            return Ok(());
        }
    }
    if backend.is_local() && rootless::is_rootless() && !rootless::is_inside() {
        return rootless::enter(&settings);
    }
    log(&settings)?;
    rootless::warn_of_one_user();
    // Nothing here is bound by the processor: what is, runs on blocking threads.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::Host {
            what: "start threads",
            error,
        })?;
    runtime.block_on(serve(&settings, backend, hosts, acceptor))
}

fn log(settings: &Settings) -> Result<(), Error> {
    let level = match settings.log_level.as_deref() {
        _ if settings.debug == Some(true) => "debug",
        None => "info",
        Some(level @ ("debug" | "info" | "warn" | "error" | "trace")) => level,
        Some("fatal" | "panic") => "error",
        Some(other) => {
            return Err(Error::setting(
                "--log-level",
                format!("{other:?} is no level"),
            ));
        }
    };
    let filter = EnvFilter::try_from_env("CORACLE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal)
        .init();
    Ok(())
}

async fn serve(
    settings: &Settings,
    backend: Backend,
    hosts: Vec<Host>,
    acceptor: Option<TlsAcceptor>,
) -> Result<(), Error> {
    let path = settings.data_root().join("keys.json");
    let keys = Keys::open(&path).map_err(|error| Error::Host {
        what: "read the API's keys",
        error,
    })?;
    // A key that anybody on the way can read keeps nobody out.
    let verified =
        settings.tlsverify == Some(true) || (settings.tls == Some(true) && keys.are_configured());
    // Bound before the containers are taken in: clients that come early wait instead of failing.
    let mut unix = Vec::new();
    let mut tcp = Vec::new();
    for host in &hosts {
        if host.is_open(verified) {
            tracing::warn!(
                ?host,
                "anyone who reaches this address has root on this host: use --tlsverify, or --tls and keys"
            );
        }
        match host {
            Host::Unix(path) => unix.push(listen::unix(path, settings.group.as_deref())?),
            Host::Tcp(address) => tcp.push(listen::tcp(*address).await?),
        }
    }
    let runtime = backend.open().await?;
    let pidfile = match &settings.pidfile {
        Some(path) => path.clone(),
        None => {
            let directory = settings.exec_root();
            fs::create_dir_all(&directory).map_err(|error| Error::Host {
                what: "make the directory of the pid file",
                error,
            })?;
            directory.join("coracled.pid")
        }
    };
    fs::write(&pidfile, std::process::id().to_string()).map_err(|error| Error::Host {
        what: "write the pid file",
        error,
    })?;
    let server_config = settings.server()?;
    tokio::spawn(allocator::trim_when_quiet(runtime.events().clone()));
    let server = Server::with_keys(runtime, server_config, keys);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let wait = || {
        let mut stopped = stopped.clone();
        async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        }
    };
    let mut serving = tokio::task::JoinSet::new();
    for listener in unix {
        let (server, stop) = (server.clone(), wait());
        serving.spawn(async move { server.serve(listener, stop).await });
    }
    for listener in tcp {
        let (server, stop) = (server.clone(), wait());
        match acceptor.clone() {
            Some(acceptor) => {
                let listener = TlsListener {
                    inner: listener,
                    acceptor,
                };
                serving.spawn(async move { server.serve(listener, stop).await });
            }
            None => {
                serving.spawn(async move { server.serve(listener, stop).await });
            }
        }
    }
    tracing::info!(hosts = ?settings.hosts(), "serving");
    until_told().await?;
    tracing::info!("draining; containers run on");
    stop.send_replace(true);
    while serving.join_next().await.is_some() {}
    clean_up(&hosts, &pidfile);
    Ok(())
}

/// Waits for a signal that ends the daemon.
async fn until_told() -> Result<(), Error> {
    let listen = |kind| {
        signal(kind).map_err(|error| Error::Host {
            what: "listen for signals",
            error,
        })
    };
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => tracing::warn!(
                "SIGHUP: settings are read at the start only; restart me, containers run on"
            ),
        }
    }
}

fn clean_up(hosts: &[Host], pidfile: &PathBuf) {
    for host in hosts {
        if let Host::Unix(path) = host {
            let _ = fs::remove_file(path);
        }
    }
    let _ = fs::remove_file(pidfile);
}
