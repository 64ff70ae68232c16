//! The clock.

use coracle_guest::Time;
use rustix::time::{ClockId, Timespec};

use crate::error::{During, Result, invalid};

/// Sets it.
pub(crate) fn set(time: Time) -> Result<()> {
    if time.nanos >= 1_000_000_000 {
        return Err(invalid(format!(
            "{} nanoseconds are no fraction of a second",
            time.nanos
        )));
    }
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanos.into(),
    };
    rustix::time::clock_settime(ClockId::Realtime, time).during(|| "set the clock")
}
