//! Files in and out of containers.

use coracle_client::Query;
use coracle_docker::archive::ContainerPathStat;
use coracle_docker::container::{ChangeItem, IdResponse};
use coracle_runtime::archive::{ExtractOptions, PathArchive, PathStat};
use coracle_runtime::container::{Change, ChangeKind};
use coracle_runtime::image::CommitRequest;
use coracle_runtime::io::ByteStream;
use coracle_runtime::{Result, RuntimeError};
use jiff::Timestamp;

use crate::convert::container::image_id;
use crate::error::About;
use crate::runtime::Bridge;
use crate::{names, streams};

fn stat(told: ContainerPathStat) -> PathStat {
    PathStat {
        name: told.name,
        size: told.size,
        mode: told.mode,
        mtime: told.mtime.0.unwrap_or(Timestamp::UNIX_EPOCH),
        link_target: told.link_target,
    }
}

impl Bridge {
    pub(crate) async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        let asked = names::container(name)?;
        match self.client.stat_path(asked, path).await {
            Ok(told) => Ok(stat(told)),
            Err(error) => {
                // An answer to HEAD has a status only. If the container isn't there, that is why.
                self.inspect_container(name, false).await?;
                Err(self.error(About::Thing, error))
            }
        }
    }

    pub(crate) async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive> {
        let reading = self.client.read_path(names::container(name)?, path);
        let (told, tar) = self.change(About::Thing, reading).await?;
        Ok(PathArchive {
            stat: stat(told),
            tar: streams::download(tar, self.client.host()),
        })
    }

    pub(crate) async fn write_path(
        &self,
        name: &str,
        path: &str,
        options: ExtractOptions,
        tar: ByteStream,
    ) -> Result<()> {
        let query = Query::named("/containers/", names::container(name)?, "/archive")
            .add("path", path)
            .flag("noOverwriteDirNonDir", options.no_overwrite_dir_non_dir)
            .flag("copyUIDGID", options.copy_uid_gid);
        let writing = self.client.put_tar(&query, streams::upload(tar));
        self.change(About::Thing, writing).await
    }

    pub(crate) async fn export_container(&self, name: &str) -> Result<ByteStream> {
        let exporting = self.client.export_container(names::container(name)?);
        let tar = self.change(About::Thing, exporting).await?;
        Ok(streams::download(tar, self.client.host()))
    }

    pub(crate) async fn container_changes(&self, name: &str) -> Result<Vec<Change>> {
        let changes = self.client.container_changes(names::container(name)?);
        let changes = self.ask(About::Thing, changes).await?;
        let mut changes: Vec<Change> = changes.into_iter().map(change).collect::<Result<_>>()?;
        changes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(changes)
    }

    pub(crate) async fn commit_container(&self, request: CommitRequest) -> Result<String> {
        let name = names::container(&request.container)?;
        let (repository, tag) = names::split_optional(request.reference.as_deref())?;
        let query = Query::new("/commit")
            .add("container", name)
            .text("repo", repository)
            .text("tag", tag)
            .text("comment", &request.comment)
            .text("author", &request.author)
            .add("pause", if request.pause { "1" } else { "0" });
        let changes = request.changes.iter();
        let query = changes.fold(query, |query, change| query.add("changes", change));
        let committing = self.client.post_json(&query, &request.config);
        let made: IdResponse = self.change(About::Thing, committing).await?;
        Ok(image_id(made.id))
    }
}

fn change(item: ChangeItem) -> Result<Change> {
    let kind = match item.kind {
        0 => ChangeKind::Modified,
        1 => ChangeKind::Added,
        2 => ChangeKind::Deleted,
        other => {
            return Err(RuntimeError::Backend(format!(
                "the engine tells a change of the unknown kind {other}"
            )));
        }
    };
    Ok(Change {
        path: item.path,
        kind,
    })
}
