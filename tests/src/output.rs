//! Running a command to its end, with a limit on time.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long one command may take.
pub const LIMIT: Duration = Duration::from_secs(90);

/// What a command said and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command, for messages.
    pub line: String,
    /// Its exit code; 128 and the signal's number if one killed it.
    pub code: i32,
    /// Standard output; bytes that are no UTF-8 replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Standard output as it came.
    pub bytes: Vec<u8>,
}

impl Output {
    /// Standard output without the blanks at its ends, if the command succeeded.
    ///
    /// # Panics
    /// If it failed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout.trim().to_owned()
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// If it is another one.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Checks that either stream has `text`, for what docker writes to the wrong one.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn mentions(self, text: &str) -> Self {
        let both = format!("{}{}", self.stdout, self.stderr).to_lowercase();
        assert!(
            both.contains(&text.to_lowercase()),
            "expected {text:?}: {self}"
        );
        self
    }

    /// Checks that standard error has `text`, whatever the case of its letters.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.to_lowercase().contains(&text.to_lowercase()),
            "expected {text:?} on standard error: {self}"
        );
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            line,
            code,
            stdout,
            stderr,
            ..
        } = self;
        write!(
            out,
            "`{line}` ended with {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}

/// Runs a command with `input` on its standard input.
///
/// # Panics
/// If it can't be started, or takes longer than [`LIMIT`].
#[track_caller]
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let line = line(command);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("`{line}`: {error}"));
    finish(child, line, input.to_vec())
}

/// The command as one would type it.
#[must_use]
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Waits for a child whose three streams are pipes.
///
/// # Panics
/// If it takes longer than [`LIMIT`].
#[track_caller]
pub fn finish(mut child: Child, line: String, input: Vec<u8>) -> Output {
    let mut stdin = child.stdin.take();
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let feed = std::thread::spawn(move || {
        if let Some(stdin) = &mut stdin {
            // A command need not read what it is given.
            let _ = stdin.write_all(&input);
        }
    });
    let out = std::thread::spawn(move || slurp(stdout.as_mut()));
    let err = std::thread::spawn(move || slurp(stderr.as_mut()));
    let code = wait(&mut child, LIMIT);
    if code.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let bytes = out.join().unwrap_or_default();
    let errors = err.join().unwrap_or_default();
    let _ = feed.join();
    let output = Output {
        line,
        code: code.unwrap_or(-1),
        stdout: String::from_utf8_lossy(&bytes).into_owned(),
        stderr: String::from_utf8_lossy(&errors).into_owned(),
        bytes,
    };
    assert!(code.is_some(), "took longer than {LIMIT:?}: {output}");
    output
}

fn slurp(stream: Option<&mut impl Read>) -> Vec<u8> {
    let mut data = Vec::new();
    if let Some(stream) = stream {
        let _ = stream.read_to_end(&mut data);
    }
    data
}

/// Waits for a child's end; nothing if it takes longer than `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    use std::os::unix::process::ExitStatusExt;
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                return Some(status.code().unwrap_or(128 + status.signal().unwrap_or(0)));
            }
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

/// Waits until `check` holds, for 20 seconds at most.
///
/// # Panics
/// If it doesn't come true.
#[track_caller]
pub fn wait_until(what: &str, check: impl FnMut() -> bool) {
    wait_for(what, Duration::from_secs(20), check);
}

/// As [`wait_until`], with a limit of one's own.
///
/// # Panics
/// If it doesn't come true.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !check() {
        assert!(
            Instant::now() < end,
            "waited {limit:?} in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// This moment as `--since` and `--until` take it. `0s` would be its second's beginning.
#[must_use]
pub fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap_or_default();
    format!("{}.{:09}", now.as_secs(), now.subsec_nanos())
}
