//! `system logs`: what the daemon wrote.

use std::io::SeekFrom;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use clap::Args;
use rustix::fs::inotify;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::place;
use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::Output;

const CHUNK: usize = 64 * 1024;

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Go on as more is written
    #[arg(short = 'f', long)]
    follow: bool,
    /// So many of the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<usize>,
}

impl Run for LogsArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let path = place(context)?.log;
        let failed = |error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                return Error::advice(
                    format!("there is no log at {}", path.display()),
                    "only a daemon that this program started writes there; systemd's is in `journalctl -u coracled`",
                );
            }
            Error::io(path.display(), error)
        };
        let mut file = File::open(&path).await.map_err(failed)?;
        let changes = if self.follow {
            Some(watch(&path).map_err(failed)?)
        } else {
            None
        };
        if let Some(lines) = self.tail {
            let start = start_of_tail(&mut file, lines).await.map_err(failed)?;
            file.seek(SeekFrom::Start(start)).await.map_err(failed)?;
        }
        loop {
            copy(&mut file, &path).await?;
            let Some(changes) = &changes else {
                return Ok(0);
            };
            // Only that something changed matters. Blocks: there is nothing else to be done.
            rustix::io::read(changes, &mut [0; 4096]).map_err(|error| failed(error.into()))?;
        }
    }
}

async fn copy(file: &mut File, path: &std::path::Path) -> Result<()> {
    let mut buffer = Vec::with_capacity(CHUNK);
    loop {
        buffer.clear();
        let read = file.read_buf(&mut buffer).await;
        if read.map_err(|error| Error::io(path.display(), error))? == 0 {
            return Ok(());
        }
        Output::Stdout
            .write(&Bytes::copy_from_slice(&buffer))
            .await?;
    }
}

/// Where the last lines begin.
async fn start_of_tail(file: &mut File, lines: usize) -> std::io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    let mut left = lines;
    let mut last = true;
    while end > 0 {
        let length = end.min(CHUNK as u64);
        file.seek(SeekFrom::Start(end - length)).await?;
        let mut bytes = Vec::new();
        (&mut *file).take(length).read_to_end(&mut bytes).await?;
        for (at, byte) in bytes.iter().enumerate().rev() {
            // The last line's own end begins no line.
            if *byte == b'\n' && !std::mem::take(&mut last) {
                if left <= 1 {
                    let line = if left == 0 { bytes.len() } else { at + 1 };
                    return Ok(end - length + line as u64);
                }
                left -= 1;
            }
            last = false;
        }
        end -= length;
    }
    Ok(0)
}

fn watch(path: &std::path::Path) -> std::io::Result<OwnedFd> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    inotify::add_watch(&fd, path, inotify::WatchFlags::MODIFY)?;
    Ok(fd)
}
