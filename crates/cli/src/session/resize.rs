//! A process's terminal has the size of the user's.

use std::rc::Rc;

use coracle_client::{Client, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::terminal;

/// Whose terminal.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Container(Rc<str>),
    Exec(Rc<str>),
}

impl Target {
    async fn resize(&self, client: &Client, [rows, columns]: [u16; 2]) -> Result<()> {
        match self {
            Self::Container(id) => client.resize_container(id, rows, columns).await,
            Self::Exec(id) => client.resize_exec(id, rows, columns).await,
        }
    }
}

/// Sets the size now and whenever the user's changes. `redraw` sets another one first, so that what
/// was drawn before is drawn again. Never ends.
pub(crate) async fn keep_size(client: &Client, target: Target, redraw: bool) {
    let mut changes = signal(SignalKind::window_change()).ok();
    let mut last = None;
    if redraw && let Some([rows, columns]) = terminal::size() {
        let other = [rows.saturating_add(1), columns.saturating_add(1)];
        let _ = target.resize(client, other).await;
    }
    loop {
        let size = terminal::size();
        if let Some(size) = size.filter(|size| last != Some(*size)) {
            // A process that has ended, or not begun, has no size: the next change comes by itself.
            let _ = target.resize(client, size).await;
            last = Some(size);
        }
        let changed = match &mut changes {
            Some(changes) => changes.recv().await,
            None => None,
        };
        if changed.is_none() {
            return std::future::pending().await;
        }
    }
}
