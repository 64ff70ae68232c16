//! The host's side: a stream of requests, answered from a directory or a file.

mod caller;
mod dispatch;
mod fs;
mod handles;
mod locks;
mod nodes;
mod ops_attributes;
mod ops_directories;
mod ops_files;
mod ops_names;
mod ops_xattrs;
mod pool;
mod server;
mod source;
mod sys;
mod wire;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

/// How a share is served.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Every change is refused (`EROFS`).
    pub read_only: bool,
    /// Mounts of the host below the source are part of the share (as `rbind`), as they are when
    /// serving begins; else what is below them shows (as `bind`). Without the privilege to copy
    /// mounts (`CAP_SYS_ADMIN`), and not recursive, going into one is refused (`EACCES`).
    pub recursive: bool,
    /// How long the guest believes names and attributes without asking again: so long a change
    /// made by others on the host may go unseen. The default, 100 ms, is less than it takes to
    /// make a change and then start something that looks for it, and enough that one program
    /// that walks a tree asks once for each directory. Names that are not there are always
    /// asked for again. What is read of a file is as new as the file's open.
    pub cache: Duration,
    /// The guest's kernel enforces POSIX ACLs. It asks for one with every file it looks at.
    pub acl: bool,
    /// The guest may make device nodes. Making one takes `CAP_MKNOD` on either side; the host
    /// never opens one.
    pub devices: bool,
    /// Most calls under way at once, each a thread and up to 2 MiB of memory while it lasts.
    pub parallel: usize,
    /// Most descriptors of the host. Half of them are for files that the guest has open
    /// (`ENFILE` beyond), an eighth for processes of the guest with locks (`ENOLCK`), the others
    /// come and go.
    pub max_files: usize,
    /// Most files that the guest may know of at a time (`ENFILE` beyond), some 250 bytes each.
    pub max_nodes: usize,
}

impl Default for ServeOptions {
    /// `max_files` is half of what the process may have open.
    fn default() -> ServeOptions {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let limit = limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(1 << 20);
        ServeOptions {
            read_only: false,
            recursive: false,
            cache: Duration::from_millis(100),
            acl: false,
            devices: true,
            parallel: 8,
            max_files: (limit / 2).min(1 << 19),
            max_nodes: 1 << 20,
        }
    }
}

/// Answers the requests that come over `stream` from `source`, a directory or a regular file
/// (`O_PATH` is enough), until the stream ends. Dropping the future closes everything; a call
/// that hangs is not waited for.
///
/// Needs a tokio runtime with time; calls that may block run on threads of its own.
///
/// # Errors
/// `InvalidInput` if `source` is neither directory nor file, `InvalidData` if the guest doesn't
/// speak FUSE, `UnexpectedEof` if the stream ends within a request; else what the stream says.
pub async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    source: OwnedFd,
    options: ServeOptions,
) -> io::Result<()> {
    server::serve(stream, source, options).await
}
