//! What a simulated process has: files, variables, streams.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use coracle_runtime::io::StreamKind;

use crate::fs::Fs;
use crate::process::tty::cooked;
use crate::process::{Input, Output, Processes, Target, Tty};

/// What all processes of a container share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) fs: Arc<Mutex<Fs>>,
    pub(crate) processes: Arc<Processes>,
    pub(crate) hostname: String,
}

impl World {
    pub(crate) fn fs(&self) -> MutexGuard<'_, Fs> {
        self.fs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who a process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: Option<String>,
}

/// Where input comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Null,
    Input(Arc<Input>),
    Bytes(Arc<Mutex<Bytes>>),
}

impl Source {
    pub(crate) fn bytes(bytes: Bytes) -> Self {
        Self::Bytes(Arc::new(Mutex::new(bytes)))
    }

    /// The next bytes, at most `most`; `None` at the end.
    pub(crate) async fn read(&self, most: usize) -> Option<Bytes> {
        match self {
            Self::Null => None,
            Self::Input(input) => input.read(most).await,
            Self::Bytes(bytes) => {
                let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                let length = bytes.len().min(most);
                let piece = bytes.split_to(length);
                (!piece.is_empty()).then_some(piece)
            }
        }
    }

    /// The next line, with its end where it has one; `None` at the end.
    pub(crate) async fn line(&self) -> Option<Vec<u8>> {
        if let Self::Input(input) = self {
            return input.line().await;
        }
        let mut line = Vec::new();
        while let Some(byte) = self.read(1).await {
            line.extend_from_slice(&byte);
            if line.ends_with(b"\n") {
                break;
            }
        }
        (!line.is_empty()).then_some(line)
    }

    /// All that comes.
    pub(crate) async fn all(&self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = self.read(usize::MAX).await {
            all.extend_from_slice(&piece);
        }
        all
    }
}

/// Where output goes.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    Null,
    Stream {
        output: Arc<Output>,
        kind: StreamKind,
        tty: bool,
    },
    Buffer(Arc<Mutex<Vec<u8>>>),
    Pipe(Arc<Input>),
    /// A file that was made already, by its path.
    File(String),
}

/// A process' three streams.
#[derive(Clone, Debug)]
pub(crate) struct Io {
    pub(crate) stdin: Source,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
}

/// A process' environment.
#[derive(Clone, Debug)]
pub(crate) struct Env {
    pub(crate) world: Arc<World>,
    pub(crate) target: Arc<Target>,
    /// Values, and whether children get them.
    pub(crate) vars: BTreeMap<String, (String, bool)>,
    pub(crate) cwd: String,
    pub(crate) user: User,
    pub(crate) tty: Option<Arc<Tty>>,
    pub(crate) io: Io,
}

impl Env {
    /// The same, as another process.
    pub(crate) fn at(mut self, target: Arc<Target>) -> Self {
        self.target = target;
        self
    }

    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(|(value, _)| value.as_str())
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        let exported = self.vars.get(name).is_some_and(|(_, exported)| *exported);
        self.vars.insert(name.to_owned(), (value.into(), exported));
    }

    /// Writes; `false` where nobody reads any more.
    pub(crate) async fn write(&self, sink: &Sink, bytes: &[u8]) -> bool {
        match sink {
            Sink::Null => true,
            Sink::Stream { output, kind, tty } => {
                let bytes = if *tty {
                    cooked(bytes)
                } else {
                    Bytes::copy_from_slice(bytes)
                };
                output.write(*kind, bytes).await;
                true
            }
            Sink::Buffer(buffer) => {
                buffer
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(bytes);
                true
            }
            Sink::Pipe(input) => input.write(bytes).await,
            Sink::File(path) => self.world.fs().write("/", path, bytes, true).is_ok(),
        }
    }

    pub(crate) async fn out(&self, text: impl AsRef<[u8]>) -> bool {
        self.write(&self.io.stdout, text.as_ref()).await
    }

    pub(crate) async fn err(&self, text: impl AsRef<[u8]>) -> bool {
        self.write(&self.io.stderr, text.as_ref()).await
    }

    /// Says what is wrong, and gives the exit code for it.
    pub(crate) async fn fail(&self, code: i32, text: impl AsRef<str>) -> i32 {
        self.err(format!("{}\n", text.as_ref())).await;
        code
    }
}
