//! The terminal of a process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Box as Size;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::OpenTreeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::error::{Context, Failure, Stage, Step};
use crate::helper::Caller;
use crate::job::Report;
use crate::path::Root;
use crate::process::dup_streams;

const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// The slave side of a new terminal; the master side is with the caller.
pub(crate) struct Console(OwnedFd);

impl Console {
    /// Makes a terminal in a devpts file system, sends its master side to the caller.
    ///
    /// `devpts` is the file system's root directory, taken from its mount and not from a path.
    pub(crate) fn open(
        devpts: BorrowedFd<'_>,
        caller: &Caller,
        size: Option<Size>,
        uid: u32,
    ) -> Step<Console> {
        let what = || "open a terminal";
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let master = rustix::fs::openat(devpts, "ptmx", flags, Mode::empty())
            .during(Stage::Console, what)?;
        rustix::pty::unlockpt(&master).during(Stage::Console, what)?;
        // By descriptor: the name of the slave may lead elsewhere.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).during(Stage::Console, what)?;
        if let Some(size) = size {
            let clamp = |cells: u64| u16::try_from(cells).unwrap_or(u16::MAX);
            let size = Winsize {
                ws_row: clamp(size.height()),
                ws_col: clamp(size.width()),
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            rustix::termios::tcsetwinsize(&master, size)
                .during(Stage::Console, || "set the terminal's size")?;
        }
        let uid = rustix::fs::Uid::from_raw(uid);
        // In a user namespace the id may not be mapped; then it stays root's.
        let _ = rustix::fs::fchown(&slave, Some(uid), None);
        caller.tell_with(&Report::Console, &[master.as_fd()])?;
        Ok(Console(slave))
    }

    /// Makes a terminal in a running container's devpts.
    pub(crate) fn open_in(
        root: &Root,
        caller: &Caller,
        size: Option<Size>,
        uid: u32,
    ) -> Step<Console> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let devpts = root
            .open_unlinked(Path::new("/dev/pts"), flags)
            .during(Stage::Console, || "open /dev/pts")?;
        let kind = rustix::fs::fstatfs(&devpts)
            .during(Stage::Console, || "look at /dev/pts")?
            .f_type as u64;
        if kind != DEVPTS_SUPER_MAGIC {
            return Err(Failure::new(
                Stage::Console,
                "a terminal needs devpts at /dev/pts, and something else is mounted there",
            ));
        }
        Console::open(devpts.as_fd(), caller, size, uid)
    }

    /// Binds the terminal to /dev/console.
    pub(crate) fn bind(&self, root: &Root) -> Step<()> {
        let what = || "bind the terminal to /dev/console";
        let place = root
            .ensure_file(Path::new("/dev/console"))
            .during(Stage::Console, what)?;
        if crate::path::kind(&place).during(Stage::Console, what)? == FileType::Symlink {
            return Err(Failure::new(Stage::Console, "/dev/console is a link"));
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let mount = rustix::mount::open_tree(&self.0, "", flags).during(Stage::Console, what)?;
        crate::mounts::attach(&mount, &place).during(Stage::Console, what)
    }

    /// Makes it the controlling terminal of the session, and the standard streams.
    pub(crate) fn take(self) -> Step<()> {
        let slave = self.0.as_fd();
        rustix::process::ioctl_tiocsctty(slave)
            .during(Stage::Console, || "make the terminal the controlling one")?;
        dup_streams(slave, slave, slave)
    }
}
