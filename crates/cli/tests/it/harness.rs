//! A daemon whose containers are simulated, and the binary run against it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::{Server, ServerConfig};
use coracle_mock::MockRuntime;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::process::Command;
use tokio::sync::oneshot;

/// No command here takes anywhere near that long.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Daemon {
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    /// Standard output of a success.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    /// The same, without the line end.
    #[track_caller]
    pub fn line(self) -> String {
        self.ok().trim_end().to_owned()
    }

    /// Standard error of a failure with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.err
    }
}

/// The binary, away from the environment of whoever runs the tests.
pub fn binary(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("TZ", "UTC")
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs to the end, with this on standard input.
pub async fn finish(mut command: Command, input: &[u8]) -> Done {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    let input = input.to_owned();
    let feed = tokio::spawn(async move {
        if let Some(mut stdin) = stdin {
            // A command that reads no input is no failure.
            let _ = stdin.write_all(&input).await;
        }
    });
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .expect("the command ends in time")
        .unwrap();
    feed.await.unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Daemon {
    /// With busybox here, and alpine to be pulled.
    pub fn start() -> Self {
        let runtime = MockRuntime::new()
            .with_image("busybox")
            .with_remote_image("alpine");
        Self::of(runtime)
    }

    pub fn of(runtime: MockRuntime) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let server = Server::new(Arc::new(runtime), ServerConfig::default());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            server
                .serve(listener, async {
                    let _ = stopped.await;
                })
                .await;
        });
        Self {
            dir,
            stop: Some(stop),
        }
    }

    /// The user's home, and where commands are run.
    pub fn home(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.path("s").display())
    }

    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = binary(self.home());
        command.env("CORACLE_HOST", self.host()).args(arguments);
        command
    }

    /// Runs words that have no spaces in them.
    pub async fn run(&self, line: &str) -> Done {
        finish(self.command(line.split_whitespace()), b"").await
    }

    /// Runs words, whatever is in them.
    pub async fn args(&self, words: &[&str]) -> Done {
        finish(self.command(words), b"").await
    }

    /// Runs words with something on standard input.
    pub async fn feed(&self, words: &[&str], input: &[u8]) -> Done {
        finish(self.command(words), input).await
    }

    /// A container that runs until it is stopped.
    pub async fn sleeper(&self, name: &str) -> String {
        let line = format!("run -d --name {name} busybox sleep 1000");
        self.run(&line).await.line()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}
