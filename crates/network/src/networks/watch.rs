//! What somebody else removes of ours is made again: the kernel tells of it, so nothing is polled.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Inner, Networks};
use crate::error::{Error, Result, blocking};
use crate::netlink::Netlink;
use crate::netlink::monitor::{Loss, Monitor, deletion, loss};
use crate::netlink::wire::Reply;
use crate::port;

/// A flush comes as many messages, and our own steps look like losses while they are under way: so
/// they are collected for a moment, and then looked at.
const MOMENT: Duration = Duration::from_millis(50);
/// Where somebody keeps removing what we make, it is made this much later …
const PAUSE: Duration = Duration::from_millis(100);
/// … and ever later, up to this.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How long nothing is removed before a loss counts as the first one again.
const CALM: Duration = Duration::from_secs(60);

/// The tasks that watch; they end with it.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Vec<JoinHandle<()>>>);

impl Drop for Watch {
    fn drop(&mut self) {
        let tasks = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Networks {
    /// Begins to watch, unless it has begun.
    pub(super) fn watch(&self) {
        let mut tasks = self
            .inner
            .watch
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !tasks.is_empty() {
            return;
        }
        let unwatched = |what: &str, e| {
            tracing::warn!("cannot watch {what}: {e}; what others remove of it stays removed");
        };
        let this = Arc::downgrade(&self.inner);
        match Monitor::links() {
            Ok(monitor) => tasks.push(tokio::spawn(watch_links(this.clone(), monitor))),
            Err(e) => unwatched("interfaces", e),
        }
        if !self.inner.firewall.is_applied() {
            return;
        }
        match Monitor::firewall() {
            Ok(monitor) => tasks.push(tokio::spawn(watch_rules(this, monitor))),
            Err(e) => unwatched("the firewall", e),
        }
    }

    /// Whether a loss is of something of ours.
    fn concerns(&self, loss: &Loss) -> bool {
        let state = self.state();
        let mut networks = state.networks.values().map(|e| &e.network);
        match loss {
            Loss::Address(ip) => {
                networks.any(|n| n.parent.is_none() && n.pools().any(|p| p.gateway == *ip))
            }
            Loss::Link(name) => {
                networks.any(|n| n.own_link() == Some(name))
                    || state.endpoints.values().any(|e| e.host_ifname == *name)
            }
        }
    }

    /// Those of the losses that are of ours, and are still so.
    async fn real(&self, losses: BTreeSet<Loss>) -> Result<BTreeSet<Loss>> {
        let losses: BTreeSet<_> = losses.into_iter().filter(|l| self.concerns(l)).collect();
        if losses.is_empty() {
            return Ok(losses);
        }
        blocking(move || {
            let failed = || Error::netlink("look for what was removed");
            let mut netlink = Netlink::open().map_err(failed())?;
            let links = netlink.links().map_err(failed())?;
            let addresses = netlink.addresses().map_err(failed())?;
            let is_lost = |loss: &Loss| match loss {
                Loss::Address(ip) => !addresses.iter().any(|a| a.ip == *ip),
                Loss::Link(name) => match links.iter().find(|l| l.name == *name) {
                    Some(link) => !link.up || (port::is_ours(name) && link.master.is_none()),
                    None => true,
                },
            };
            Ok(losses.into_iter().filter(is_lost).collect())
        })
        .await
    }

    async fn mend_links(&self) -> Result<()> {
        let _topology = self.inner.topology.lock().await;
        self.make_links(false).await
    }

    async fn mend_rules(&self) -> Result<()> {
        let _topology = self.inner.topology.lock().await;
        self.make_rules(None).await
    }
}

async fn watch_links(this: Weak<Inner>, mut monitor: Monitor) {
    let mut pace = Pace::default();
    let end = |e| tracing::error!("interfaces are no longer watched: {e}");
    loop {
        let (mut losses, mut overrun) = (BTreeSet::new(), false);
        let concerns = |loss: &Loss| handle(&this).is_some_and(|n| n.concerns(loss));
        let mut read = |reply: &Reply<'_>| losses.extend(loss(reply).filter(concerns));
        match monitor.next(&mut read).await {
            Ok(()) if losses.is_empty() => continue,
            Ok(()) => {}
            Err(e) if was_overrun(&e) => overrun = true,
            Err(e) => return end(e),
        }
        let mut read = |reply: &Reply<'_>| losses.extend(loss(reply).filter(concerns));
        match collect(&mut monitor, &mut read).await {
            Ok(lost) => overrun |= lost,
            Err(e) => return end(e),
        }
        let Some(networks) = handle(&this) else {
            return;
        };
        let mended = match networks.real(losses).await {
            Ok(losses) if losses.is_empty() && !overrun => continue,
            Ok(losses) => {
                tracing::warn!("somebody removed {losses:?} of our networks: making it anew");
                pace.wait().await;
                networks.mend_links().await
            }
            Err(e) => Err(e),
        };
        mended.unwrap_or_else(|e| tracing::warn!("{e}"));
    }
}

async fn watch_rules(this: Weak<Inner>, mut monitor: Monitor) {
    let mut pace = Pace::default();
    let end = |e| tracing::error!("the firewall is no longer watched: {e}");
    let Some(networks) = handle(&this) else {
        return;
    };
    let (firewall, table) = (
        networks.inner.firewall.clone(),
        networks.inner.config.table(),
    );
    drop(networks);
    let is_damage = |reply: &Reply<'_>| {
        deletion(reply, &table).is_some_and(|process| !firewall.is_own(process))
    };
    loop {
        let mut damaged = false;
        match monitor.next(|reply| damaged |= is_damage(reply)).await {
            Ok(()) => {}
            Err(e) if was_overrun(&e) => damaged = true,
            Err(e) => return end(e),
        }
        if !damaged {
            continue;
        }
        if let Err(e) = collect(&mut monitor, |_| {}).await {
            return end(e);
        }
        let Some(networks) = handle(&this) else {
            return;
        };
        tracing::warn!("somebody removed rules of the table {table}: making it anew");
        pace.wait().await;
        let mended = networks.mend_rules().await;
        mended.unwrap_or_else(|e| tracing::warn!("{e}"));
    }
}

/// Reads what comes within a moment; whether some of it was lost.
async fn collect(monitor: &mut Monitor, mut read: impl FnMut(&Reply<'_>)) -> io::Result<bool> {
    let (until, mut overrun) = (Instant::now() + MOMENT, false);
    loop {
        match timeout_at(until, monitor.next(&mut read)).await {
            Err(_) => return Ok(overrun),
            Ok(Ok(())) => {}
            Ok(Err(e)) if was_overrun(&e) => overrun = true,
            Ok(Err(e)) => return Err(e),
        }
    }
}

fn handle(this: &Weak<Inner>) -> Option<Networks> {
    this.upgrade().map(|inner| Networks { inner })
}

/// Whether messages were lost: more came than the socket has room for.
fn was_overrun(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error())
}

/// How soon losses are made good: at once, but ever later where that doesn't last.
#[derive(Default)]
struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    async fn wait(&mut self) {
        let pause = self.next(Instant::now());
        sleep(pause).await;
    }

    fn next(&mut self, now: Instant) -> Duration {
        let pause = match self.last {
            Some((last, pause)) if now.duration_since(last) < pause + CALM => {
                (pause * 2).clamp(PAUSE, MAX_PAUSE)
            }
            _ => Duration::ZERO,
        };
        self.last = Some((now, pause));
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fights_gets_slower() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..20 {
            let pause = pace.next(now);
            now += pause;
            pauses.push(pause);
        }
        assert_eq!(pauses[..3], [Duration::ZERO, PAUSE, PAUSE * 2]);
        assert_eq!(pauses[19], MAX_PAUSE);
        assert_eq!(pace.next(now + CALM), Duration::ZERO);
    }
}
