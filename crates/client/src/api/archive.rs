//! Files in and out of containers.

use coracle_docker::archive::{ContainerPathStat, HEADER};
use http::{HeaderMap, Method};

use super::containers::about;
use crate::body::{RequestBody, Upload};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::response::Download;

fn stat(header: &str) -> Result<ContainerPathStat> {
    ContainerPathStat::from_header(header).map_err(|error| Error::Answer {
        request: "archive".to_owned(),
        why: error.to_string(),
    })
}

impl Client {
    /// What a path in a container is.
    pub async fn stat_path(&self, name: &str, path: &str) -> Result<ContainerPathStat> {
        let query = about(name, "/archive").add("path", path);
        let sent = self.whole(Method::HEAD, &query, HeaderMap::new(), RequestBody::Empty);
        let (parts, _) = sent.await.map_err(|error| match error {
            // An answer to HEAD has no body that could say so.
            Error::Api { status, .. } if status.as_u16() == 404 => Error::Api {
                status,
                message: format!("Could not find the file {path} in container {name}"),
            },
            error => error,
        })?;
        let value = parts.headers.get(HEADER);
        stat(
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default(),
        )
    }

    /// A path as a tar archive, whose entries begin with its last part, and what it is.
    pub async fn read_path(&self, name: &str, path: &str) -> Result<(ContainerPathStat, Download)> {
        let query = about(name, "/archive").add("path", path);
        let tar = self.download(Method::GET, &query).await?;
        Ok((stat(tar.header(HEADER))?, tar))
    }

    /// Unpacks a tar archive into a directory of a container's. `keep_owner` keeps the archive's
    /// owners in place of the container's user.
    pub async fn write_path(
        &self,
        name: &str,
        path: &str,
        tar: Upload,
        keep_owner: bool,
    ) -> Result<()> {
        let query = about(name, "/archive")
            .add("path", path)
            .flag("noOverwriteDirNonDir", true)
            .flag("copyUIDGID", keep_owner);
        self.upload(Method::PUT, &query, tar).await
    }

    /// A container's whole root as a tar archive.
    pub async fn export_container(&self, name: &str) -> Result<Download> {
        self.download(Method::GET, &about(name, "/export")).await
    }
}
