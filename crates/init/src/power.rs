//! The end.

use rustix::system::RebootCommand;

/// Ends the machine. Returns only where this may not.
pub(crate) fn off() {
    rustix::fs::sync();
    let failed = rustix::system::reboot(RebootCommand::PowerOff);
    crate::complain(&format!("cannot power off: {failed:?}"));
}
