//! The files of containers. A container's root is that of its first process while that runs, mounts
//! included, else its layers.

use tokio::io::AsyncReadExt;

use crate::agent::{Agent, unexpected};
use crate::error::{Error, Result};
use crate::message::{Reply, Request, decode};
use crate::mux::{Channel, ChannelReader, Direction};
use crate::types::{Change, PathStat, WriteOptions};

impl Agent {
    /// What a path of a container is.
    ///
    /// # Errors
    /// Of the kind `NotFound`, among others.
    pub async fn stat(&self, id: &str, path: &str) -> Result<PathStat> {
        let (id, path) = (id.into(), path.into());
        match self.call(&Request::StatPath { id, path }).await? {
            Reply::Stat(stat) => Ok(stat),
            reply => Err(unexpected(&reply)),
        }
    }

    /// A path of a container, with all that is in it, as a tar. What goes wrong later is an error of
    /// the reader.
    pub async fn read(&self, id: &str, path: &str) -> Result<(PathStat, ChannelReader)> {
        let channel = self.open_channel(Direction::ToHost)?;
        let request = Request::ReadPath {
            id: id.into(),
            path: path.into(),
            channel: channel.id(),
        };
        match self.call(&request).await? {
            Reply::Stat(stat) => Ok((stat, channel.into_split().0)),
            reply => Err(unexpected(&reply)),
        }
    }

    /// Unpacks a tar, which may be compressed, into a directory of a container: what is written to
    /// the channel, of [`Direction::ToGuest`] and named by its id. Resolves when all of it is unpacked:
    /// poll it while you write. Failing the channel ([`Channel::fail`]) stops it.
    ///
    /// ```no_run
    /// # async fn example(agent: coracle_guest::Agent, mut tar: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    /// use coracle_guest::Direction;
    /// let mut channel = agent.open_channel(Direction::ToGuest)?;
    /// let written = agent.write("id", "/tmp", Default::default(), channel.id());
    /// let copied = async move { tokio::io::copy(&mut tar, &mut channel).await };
    /// let (written, _) = tokio::join!(written, copied);
    /// written?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn write(
        &self,
        id: &str,
        path: &str,
        options: WriteOptions,
        channel: u32,
    ) -> Result<()> {
        let request = Request::WritePath {
            id: id.into(),
            path: path.into(),
            options,
            channel,
        };
        self.order(&request).await
    }

    /// What of a container differs from its image, sorted by path; at most `limit` bytes of it, beyond
    /// which it is an error.
    pub async fn changes(&self, id: &str, limit: usize) -> Result<Vec<Change>> {
        let (channel, mut reader) = self.incoming()?;
        let id = id.into();
        self.order(&Request::Changes { id, channel }).await?;
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        (&mut reader)
            .take(most)
            .read_to_end(&mut bytes)
            .await
            .map_err(|error| Error::gone(&error))?;
        if bytes.len() > limit {
            return Err(Error::protocol("too many changes"));
        }
        parse_changes(&bytes).map_err(|error| Error::protocol(&error))
    }

    /// What of a container differs from its image, as a layer's tar.
    pub async fn diff(&self, id: &str) -> Result<ChannelReader> {
        let (channel, reader) = self.incoming()?;
        let id = id.into();
        self.order(&Request::Diff { id, channel }).await?;
        Ok(reader)
    }

    /// The whole root file system of a container as a tar, without what is mounted in it.
    pub async fn export(&self, id: &str) -> Result<ChannelReader> {
        let (channel, reader) = self.incoming()?;
        let id = id.into();
        self.order(&Request::Export { id, channel }).await?;
        Ok(reader)
    }

    fn incoming(&self) -> Result<(u32, ChannelReader)> {
        let channel: Channel = self.open_channel(Direction::ToHost)?;
        Ok((channel.id(), channel.into_split().0))
    }
}

/// Each with its length before it.
fn parse_changes(mut bytes: &[u8]) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (change, rest) = rest.split_at_checked(length).ok_or("a truncated change")?;
        changes.push(decode(change)?);
        bytes = rest;
    }
    match bytes.is_empty() {
        true => Ok(changes),
        false => Err("a truncated change".into()),
    }
}

/// As [`Agent::changes`] reads them.
#[must_use]
pub fn encode_change(change: &Change) -> Vec<u8> {
    let body = postcard::to_stdvec(change).unwrap_or_default();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ChangeKind;

    #[test]
    fn changes_read_as_written() {
        let changes: Vec<Change> = (0..5)
            .map(|n| Change {
                path: vec![b'/'; n * 100],
                kind: ChangeKind::Deleted,
            })
            .collect();
        let bytes: Vec<u8> = changes.iter().flat_map(encode_change).collect();
        assert_eq!(parse_changes(&bytes).unwrap(), changes);
        for cut in [1, 3, 5, bytes.len() - 1] {
            assert!(parse_changes(&bytes[..cut]).is_err());
        }
    }
}
