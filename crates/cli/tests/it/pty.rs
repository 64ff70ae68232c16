//! A terminal, with somebody who types on it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

const PATIENCE: Duration = Duration::from_secs(30);

/// The terminal's end where somebody sits, and the program on the other.
pub struct Terminal {
    control: File,
    /// Kept open, so that the terminal is there after the program, to be looked at.
    other: File,
    shown: Receiver<Vec<u8>>,
    pub seen: String,
    child: Child,
}

impl Terminal {
    /// Runs a program with all three streams on a new terminal of 24 rows and 80 columns. It isn't
    /// the program's controlling terminal: keys don't make signals.
    pub fn run(mut command: Command) -> Self {
        let control =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&control).unwrap();
        unlockpt(&control).unwrap();
        let name = ptsname(&control, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let other = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
        resize(&control, 24, 80);
        let child = command
            .stdin(Stdio::from(other.try_clone().unwrap()))
            .stdout(Stdio::from(other.try_clone().unwrap()))
            .stderr(Stdio::from(other.try_clone().unwrap()))
            .spawn()
            .unwrap();
        let control = File::from(control);
        let mut reader = control.try_clone().unwrap();
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with the terminal.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            control,
            other,
            shown,
            seen: String::new(),
            child,
        }
    }

    pub fn attributes(&self) -> Termios {
        tcgetattr(&self.other).unwrap()
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub fn types(&mut self, keys: &str) {
        self.control.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until a text is shown, after what was waited for before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let from = self.seen.len();
        let deadline = Instant::now() + PATIENCE;
        while !self.seen[from..].contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} is not shown after {:?}", &self.seen);
                }
            }
        }
    }

    /// Waits for the program's end; gives its exit code.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "no end after {:?}", self.seen);
            std::thread::sleep(Duration::from_millis(10));
        };
        // What was written last may be on its way. The terminal itself has no end.
        while let Ok(bytes) = self.shown.recv_timeout(Duration::from_millis(100)) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        status.code().unwrap_or(-1)
    }
}

fn resize(control: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(control, size).unwrap();
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Ended already, where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
