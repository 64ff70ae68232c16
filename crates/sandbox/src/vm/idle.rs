//! Has a machine that idles give memory back.
//!
//! What a VMM holds to be fast (translated code, under emulation) is of no use while the guest sleeps, and
//! is made anew when it doesn't. A guest that is soon busy again pays for that in vain: the next time it
//! is left alone for longer.

use std::fs;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use coracle_guest::Agent;
use coracle_vmm::Machine;

use super::machine::complain;
use super::setup;

/// How often it is looked what a machine does.
const LOOK: Duration = Duration::from_secs(5);

/// A machine idles that uses less than one processor's time divided by this.
const BUSY: u32 = 33;

/// For how long a machine idles before it gives memory back, at first and at most.
const FIRST: Duration = Duration::from_secs(20);
const LAST: Duration = Duration::from_secs(3600);

/// What a machine that gave memory back must have been left in peace for, in units of its patience.
const PEACE: u32 = 30;

/// How often it may fail before it isn't tried any more.
const FAILURES: u32 = 3;

/// Watches over a machine until it ends. Holds nothing of it.
pub(super) fn watch(machine: &Arc<dyn Machine>, agent: Agent) {
    let machine = Arc::downgrade(machine);
    tokio::spawn(async move {
        let mut idleness = Idleness::new();
        let (mut used, mut failures) = (None, 0);
        while failures < FAILURES {
            tokio::time::sleep(LOOK).await;
            let Some(machine) = machine.upgrade() else {
                return;
            };
            let Some(now) = processor_time(machine.pid()) else {
                return;
            };
            let before: Option<Duration> = used.replace(now);
            let busy = before.is_none_or(|before| now.saturating_sub(before) * BUSY > LOOK);
            if !idleness.looked(Instant::now(), busy) {
                continue;
            }
            match machine.shed().await {
                Ok(true) => {
                    idleness.shed(Instant::now());
                    // Its clock has stood still. An error means that it ends.
                    let _ = agent.set_time(setup::now()).await;
                }
                Ok(false) => {}
                Err(coracle_vmm::Error::Unsupported(why)) => {
                    complain(&format!("an idle machine keeps its memory: {why}"));
                    return;
                }
                Err(error) => {
                    failures += 1;
                    complain(&format!("an idle machine keeps its memory: {error}"));
                }
            }
        }
    });
}

/// How much time of processors a process has used.
fn processor_time(pid: i32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may have anything in it: the 14th and 15th field.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let ticks = next()?.checked_add(next()?)?;
    let second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(
        ticks.saturating_mul(1000) / second.max(1),
    ))
}

/// When a machine gives memory back.
struct Idleness {
    patience: Duration,
    /// Since when it idles.
    since: Option<Instant>,
    /// Whether it was asked in this time.
    asked: bool,
    /// When it last gave any.
    gave: Option<Instant>,
}

impl Idleness {
    fn new() -> Self {
        Self {
            patience: FIRST,
            since: None,
            asked: false,
            gave: None,
        }
    }

    /// It was looked whether it is busy; whether it is to give memory back now. Once each time.
    fn looked(&mut self, now: Instant, busy: bool) -> bool {
        if busy {
            self.since = None;
            self.asked = false;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let due = !self.asked && now.saturating_duration_since(since) >= self.patience;
        self.asked |= due;
        due
    }

    /// It did, and more than little: what it gave before it has needed again.
    fn shed(&mut self, now: Instant) {
        let before = self.gave.replace(now);
        let soon = |before| now.saturating_duration_since(before) < self.patience * PEACE;
        self.patience = match before.is_some_and(soon) {
            true => (self.patience * 2).min(LAST),
            false => FIRST,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks until it is asked, or so often.
    fn looks_until_asked(idleness: &mut Idleness, now: &mut Instant, most: u32) -> Option<u32> {
        (1..=most).find(|_| {
            *now += LOOK;
            idleness.looked(*now, false)
        })
    }

    #[test]
    fn it_is_asked_once_in_each_time_that_it_idles() {
        let (mut idleness, mut now) = (Idleness::new(), Instant::now());
        assert!(!idleness.looked(now, true));
        let first = looks_until_asked(&mut idleness, &mut now, 100).unwrap();
        assert_eq!(LOOK * (first - 1), FIRST);
        assert_eq!(looks_until_asked(&mut idleness, &mut now, 1000), None);
        // Whether or not there was something to give.
        now += LOOK;
        assert!(!idleness.looked(now, true));
        let again = looks_until_asked(&mut idleness, &mut now, 100);
        assert_eq!(again, Some(first));
    }

    #[test]
    fn one_that_needs_it_again_soon_is_left_alone_for_longer() {
        let (mut idleness, mut now) = (Idleness::new(), Instant::now());
        let mut before = Duration::ZERO;
        for _ in 0..20 {
            idleness.looked(now, true);
            assert!(looks_until_asked(&mut idleness, &mut now, 10_000).is_some());
            idleness.shed(now);
            assert!(idleness.patience >= before && idleness.patience <= LAST);
            before = idleness.patience;
        }
        assert_eq!(before, LAST);
        now += LAST * PEACE;
        idleness.looked(now, true);
        assert!(looks_until_asked(&mut idleness, &mut now, 10_000).is_some());
        idleness.shed(now);
        assert_eq!(idleness.patience, FIRST);
    }

    #[test]
    fn a_process_tells_what_it_used() {
        let own = std::process::id() as i32;
        let begun = processor_time(own).unwrap();
        assert!(processor_time(own).unwrap() >= begun);
        assert!(processor_time(i32::MAX).is_none());
    }
}
