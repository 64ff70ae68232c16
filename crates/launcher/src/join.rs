//! The second stage of an exec: a process in a running container.

use rustix::fs::{Mode, OFlags};

use crate::console::Console;
use crate::error::{Context, Stage, Step};
use crate::helper::Caller;
use crate::job::Report;
use crate::path::Root;
use crate::process::Subject;

/// Executes the command. Returns only what went wrong.
pub(crate) fn second_stage(caller: &Caller, subject: Subject) -> Step<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", flags, Mode::empty())
        .map(Root::new)
        .during(Stage::Rootfs, || "open the container's root")?;
    let identity = subject.identity(&root)?;
    let process = &subject.process;
    let console = process
        .terminal()
        .unwrap_or_default()
        .then(|| Console::open_in(&root, caller, process.console_size(), identity.uid))
        .transpose()?;
    let (prepared, warnings) = subject.prepare(caller, &root, &identity, console)?;
    // This fails without a caller: so there was one when the death signal was set.
    caller.tell(&Report::Ready { warnings })?;
    Err(prepared.execute())
}
