//! Docker's `--init`: a first process that forwards signals to the command and reaps orphans.

use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::error::{Context, Kind, Stage, Step};
use crate::helper::Caller;
use crate::process::Prepared;
use crate::sys;

/// Starts the command as a child of this process, and stays to serve it, as the same user and
/// under the same filter. Returns only what went wrong before.
pub(crate) fn serve(caller: &Caller, prepared: Prepared) -> Step<()> {
    let group = prepared.has_terminal();
    // Orphans come to the first process of a pid namespace by themselves; with the host's pid
    // namespace this one must ask for them.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .during(Stage::Process, || "become a reaper")?;
    sys::block_signals();
    let reaper = Some(rustix::process::getpid());
    let Some(command) = sys::fork().during(Stage::Process, || "fork the command")? else {
        sys::reset_signals();
        let failure = match prepared.follow(reaper) {
            Ok(()) => prepared.execute(),
            Err(failure) => failure,
        };
        sys::exit(caller.fail(failure));
    };
    let _ = rustix::thread::set_name(c"init");
    let confined = prepared.confine();
    // The caller takes the end of the last copy of its socket for the command's execution; and the
    // streams are the command's alone.
    let _ = sys::close_all_from(0);
    if confined.is_err() {
        sys::kill(command, false, libc::SIGKILL);
        sys::exit(Kind::Setup.exit_code());
    }
    sys::exit(wait(command, group))
}

/// Forwards and reaps until the command ends; the code to end with.
fn wait(command: i32, group: bool) -> i32 {
    loop {
        match sys::wait_signal() {
            Ok(libc::SIGCHLD) => {
                if let Some(code) = reap(command) {
                    return code;
                }
            }
            Ok(signal) => sys::kill(command, group, signal),
            // Interrupted, by a stop and its end.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Kind::Setup.exit_code(),
        }
    }
}

/// Takes the exit statuses of all that has ended; the command's as an exit code.
fn reap(command: i32) -> Option<i32> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if Pid::from_raw(command) == Some(pid) {
            code = exit_code(status);
        }
    }
    code
}

fn exit_code(status: WaitStatus) -> Option<i32> {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}
