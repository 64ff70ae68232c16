//! The container's files, which the agent reads and writes.

use async_trait::async_trait;
use coracle_guest::Direction;
use coracle_guest::WriteOptions;
use coracle_task::files::Change;
use coracle_task::files::ChangeKind;
use coracle_task::files::ExtractOptions;
use coracle_task::files::PathStat;
use tokio::io::AsyncWriteExt;

use super::VmSandbox;
use super::from_guest;
use crate::Files;
use crate::Output;
use crate::Result;
use crate::SandboxError;

/// The most bytes of changes that are taken from a guest.
const MAX_CHANGES: usize = 12 << 20;

#[async_trait]
impl Files for VmSandbox {
    async fn stat(&self, path: &str) -> Result<PathStat> {
        let agent = self.running()?.agent;
        agent
            .stat(self.id(), path)
            .await
            .map(convert)
            .map_err(from_guest)
    }

    async fn read(&self, path: &str) -> Result<(PathStat, Output)> {
        let agent = self.running()?.agent;
        let (stat, tar) = agent.read(self.id(), path).await.map_err(from_guest)?;
        Ok((convert(stat), Box::new(tar)))
    }

    async fn write(&self, path: &str, options: ExtractOptions, mut tar: Output) -> Result<()> {
        let agent = self.running()?.agent;
        let mut channel = agent.open_channel(Direction::ToGuest).map_err(from_guest)?;
        let options = WriteOptions {
            no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
            devices: true,
            owner: options.owner,
        };
        let written = agent.write(self.id(), path, options, channel.id());
        let copied = async {
            match tokio::io::copy(&mut tar, &mut channel).await {
                Ok(_) => channel.shutdown().await,
                Err(error) => {
                    channel.fail("the archive ended early");
                    Err(error)
                }
            }
        };
        // The guest knows best what was wrong with the archive.
        let (written, copied) = tokio::join!(written, copied);
        written.map_err(from_guest)?;
        copied.map_err(|error| SandboxError::internal(format!("cannot read the archive: {error}")))
    }

    async fn export(&self) -> Result<Output> {
        let agent = self.running()?.agent;
        Ok(Box::new(agent.export(self.id()).await.map_err(from_guest)?))
    }

    async fn changes(&self) -> Result<Vec<Change>> {
        let agent = self.running()?.agent;
        let changes = agent.changes(self.id(), MAX_CHANGES).await;
        let changes = changes.map_err(from_guest)?.into_iter();
        Ok(changes
            .map(|change| Change {
                path: String::from_utf8_lossy(&change.path).into_owned(),
                kind: match change.kind {
                    coracle_guest::ChangeKind::Modified => ChangeKind::Modified,
                    coracle_guest::ChangeKind::Added => ChangeKind::Added,
                    coracle_guest::ChangeKind::Deleted => ChangeKind::Deleted,
                },
            })
            .collect())
    }

    async fn diff(&self) -> Result<Output> {
        let agent = self.running()?.agent;
        Ok(Box::new(agent.diff(self.id()).await.map_err(from_guest)?))
    }
}

fn convert(stat: coracle_guest::PathStat) -> PathStat {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    PathStat {
        name: text(stat.name),
        size: stat.size,
        mode: stat.mode,
        mtime: (stat.modified.seconds, stat.modified.nanos),
        link_target: text(stat.link_target),
    }
}
