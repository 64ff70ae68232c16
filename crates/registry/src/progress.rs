//! What a pull or push tells while it runs, in the words of Docker's API.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// News about one layer, or about the whole transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressEvent {
    /// The first twelve digits of the layer's digest; the tag (or digest) for
    /// [`Status::Resolving`]; empty for the whole of a push.
    pub id: String,
    /// What happens to it.
    pub status: Status,
}

/// What happens to a layer. [`fmt::Display`] gives Docker's `status` text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The pull of a repository starts.
    Resolving {
        /// The path of the repository, such as `library/busybox`.
        repository: String,
    },
    /// The layer belongs to the image and will be fetched.
    PullingFsLayer,
    /// It waits for a free transfer slot.
    Waiting,
    /// The layer is there already.
    AlreadyExists,
    /// Bytes come in.
    Downloading {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// All bytes came; the digest is being checked.
    VerifyingChecksum,
    /// The blob is in the store.
    DownloadComplete,
    /// It is being unpacked (sent by the engine).
    Extracting {
        /// Compressed bytes unpacked so far.
        current: u64,
        /// Compressed bytes in all.
        total: u64,
    },
    /// It is unpacked (sent by the engine).
    PullComplete,
    /// The push looks whether the layer is needed.
    Preparing,
    /// Bytes go out.
    Pushing {
        /// Bytes so far.
        current: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The registry has taken it.
    Pushed,
    /// The registry has it already.
    LayerAlreadyExists,
    /// The registry took it over from another of its repositories.
    Mounted {
        /// That repository's path.
        from: String,
    },
    /// A try failed, the next one is due in so many seconds.
    Retrying {
        /// Whole seconds, at least 1.
        seconds: u64,
    },
}

impl Status {
    /// Bytes done and in all, where it has them.
    pub fn amounts(&self) -> Option<(u64, u64)> {
        match *self {
            Self::Downloading { current, total }
            | Self::Extracting { current, total }
            | Self::Pushing { current, total } => Some((current, total)),
            _ => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolving { repository } => write!(f, "Pulling from {repository}"),
            Self::PullingFsLayer => f.write_str("Pulling fs layer"),
            Self::Waiting => f.write_str("Waiting"),
            Self::AlreadyExists => f.write_str("Already exists"),
            Self::Downloading { .. } => f.write_str("Downloading"),
            Self::VerifyingChecksum => f.write_str("Verifying Checksum"),
            Self::DownloadComplete => f.write_str("Download complete"),
            Self::Extracting { .. } => f.write_str("Extracting"),
            Self::PullComplete => f.write_str("Pull complete"),
            Self::Preparing => f.write_str("Preparing"),
            Self::Pushing { .. } => f.write_str("Pushing"),
            Self::Pushed => f.write_str("Pushed"),
            Self::LayerAlreadyExists => f.write_str("Layer already exists"),
            Self::Mounted { from } => write!(f, "Mounted from {from}"),
            Self::Retrying { seconds: 1 } => f.write_str("Retrying in 1 second"),
            Self::Retrying { seconds } => write!(f, "Retrying in {seconds} seconds"),
        }
    }
}

/// Where events go. The function is called from within the transfer: it must not block.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(ProgressEvent) + Send + Sync>>);

impl Progress {
    /// Nobody listens.
    pub fn none() -> Self {
        Self(None)
    }

    /// `listener` gets every event.
    pub fn new(listener: impl Fn(ProgressEvent) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn send(&self, id: &str, status: Status) {
        if let Some(listener) = &self.0 {
            listener(ProgressEvent {
                id: id.to_owned(),
                status,
            });
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.0.is_some()).finish()
    }
}

/// Lets byte counts pass ten times a second.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Option<Instant>);

impl Throttle {
    pub(crate) fn ready(&mut self) -> bool {
        let now = Instant::now();
        let ready = self
            .0
            .is_none_or(|last| now - last >= Duration::from_millis(100));
        if ready {
            self.0 = Some(now);
        }
        ready
    }
}

/// A wait in whole seconds for [`Status::Retrying`].
pub(crate) fn seconds(wait: Duration) -> u64 {
    (wait.as_millis().div_ceil(1000) as u64).max(1)
}
