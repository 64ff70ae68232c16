//! Signals: passed on to the container, or, where a raw terminal is typed on, the end of the session.

use coracle_client::Client;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::terminal;
use crate::error::Error;
use crate::output::short_id;

/// What is passed on: what a program can be sent and doesn't need for itself.
fn passed_on() -> Vec<(SignalKind, &'static str)> {
    vec![
        (SignalKind::hangup(), "HUP"),
        (SignalKind::interrupt(), "INT"),
        (SignalKind::quit(), "QUIT"),
        (SignalKind::user_defined1(), "USR1"),
        (SignalKind::user_defined2(), "USR2"),
        (SignalKind::alarm(), "ALRM"),
        (SignalKind::terminate(), "TERM"),
    ]
}

async fn next((mut signal, name): (Signal, &'static str)) -> (Signal, &'static str) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
    (signal, name)
}

type Next = std::pin::Pin<Box<dyn Future<Output = (Signal, &'static str)>>>;

/// Signals that are caught from now on.
pub(crate) struct Caught(FuturesUnordered<Next>);

impl Caught {
    /// Catches what is passed on.
    pub(crate) fn all() -> Self {
        let caught = FuturesUnordered::new();
        for (kind, name) in passed_on() {
            // A signal that can't be caught does what it does.
            if let Ok(signal) = signal(kind) {
                caught.push(Box::pin(next((signal, name))) as Next);
            }
        }
        Self(caught)
    }

    async fn next(&mut self) -> &'static str {
        match self.0.next().await {
            Some((signal, name)) => {
                self.0.push(Box::pin(next((signal, name))));
                name
            }
            None => std::future::pending().await,
        }
    }
}

/// So many of those that ask for the end, and it comes: the container may take no notice of them.
const ENOUGH: u32 = 3;

/// Passes signals on to a container, until there were enough of them.
pub(crate) async fn proxy(client: &Client, container: &str, mut caught: Caught) -> Error {
    let mut asked = 0;
    loop {
        let name = caught.next().await;
        asked += u32::from(matches!(name, "INT" | "TERM"));
        if asked >= ENOUGH {
            return Error::advice(
                format!("{ENOUGH} signals, and the container runs on: it is left alone"),
                format!("`coracle kill {}` kills it", short_id(container)),
            );
        }
        // A container that has ended is no reason to complain: the session ends as well.
        let _ = client.kill_container(container, name).await;
    }
}

/// The end of a session whose terminal is raw: signals come from elsewhere, and mean this program.
pub(crate) async fn interrupted(mut caught: Caught) -> Error {
    let name = caught.next().await;
    terminal::restore();
    let number = match name {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "USR1" => 10,
        "USR2" => 12,
        "ALRM" => 14,
        _ => 15,
    };
    Error::Exit(128 + number)
}
