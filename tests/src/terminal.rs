//! A pseudo-terminal to run docker in.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::output::{self, LIMIT};

/// A command whose standard streams, and whose controlling terminal, are a pseudo-terminal's.
#[derive(Debug)]
pub struct Terminal {
    ours: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    line: String,
    resized: AtomicU16,
}

impl Terminal {
    /// Starts the command in a terminal of 80 columns and 24 rows.
    ///
    /// # Panics
    /// If there is no terminal to be had, or the command can't be started.
    #[track_caller]
    #[must_use]
    pub fn start(command: &Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("open a terminal");
        grantpt(&ours).expect("grantpt");
        unlockpt(&ours).expect("unlockpt");
        let name = ptsname(&ours, Vec::new()).expect("the terminal's name");
        let name = name.to_str().expect("a plain name").to_owned();
        // `setsid --ctty` makes it the controlling one, so that changes of its size are told.
        let theirs = File::options()
            .read(true)
            .write(true)
            .open(name)
            .expect("open the other side");
        let mut inner = Command::new("setsid");
        inner
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inner.env(key, value),
                None => inner.env_remove(key),
            };
        }
        let side = || theirs.try_clone().expect("another descriptor");
        let child = inner
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("run setsid");
        drop(inner);
        drop(theirs);
        let ours = File::from(ours);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut reader = ours.try_clone().expect("another descriptor");
        let sink = seen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends with EIO when the other side is closed.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
        });
        let terminal = Self {
            ours,
            child,
            seen,
            line: output::line(command),
            resized: AtomicU16::new(0),
        };
        terminal.resize(80, 24);
        terminal
    }

    /// Types.
    ///
    /// # Panics
    /// If the terminal is gone.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.ours
            .write_all(text.as_bytes())
            .expect("type into the terminal");
    }

    /// Waits until the screen has shown `text`.
    ///
    /// # Panics
    /// If it doesn't within 20 seconds.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.screen().contains(text) {
            assert!(
                Instant::now() < end,
                "`{}`: {text:?} isn't in {:?}",
                self.line,
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that was shown so far.
    #[must_use]
    pub fn screen(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Changes the size. The same size again is told again.
    ///
    /// docker's client misses what changes between its first look at the size and its wait for
    /// changes, so whoever waits for a size says it again and again.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            // The kernel tells of what differs only.
            ws_xpixel: self.resized.fetch_add(1, Ordering::Relaxed),
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.ours, size).expect("resize the terminal");
    }

    /// Waits for the command's end; the answer is its exit code.
    ///
    /// # Panics
    /// If it doesn't end.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let code = output::wait(&mut self.child, LIMIT);
        code.unwrap_or_else(|| panic!("`{}` doesn't end: {:?}", self.line, self.screen()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Hangs up; `setsid` itself is not in the terminal's session.
        if output::wait(&mut self.child, Duration::ZERO).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
