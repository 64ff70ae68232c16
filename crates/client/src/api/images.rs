//! Images.

use coracle_docker::auth::{AuthConfig, AuthResponse};
use coracle_docker::container::IdResponse;
use coracle_docker::image::{DeleteItem, HistoryItem, ImageInspect, ImageSummary, ImagesPruned};
use coracle_docker::progress::ProgressMessage;
use http::{HeaderMap, Method};

use crate::body::Upload;
use crate::client::{Client, header};
use crate::error::Result;
use crate::lines::Lines;
use crate::query::{Filters, Query};
use crate::response::Download;

/// What to make an image of a container's changes with.
#[derive(Clone, Debug, Default)]
pub struct CommitQuery {
    /// The container.
    pub container: String,
    /// Name, without the tag; empty for none.
    pub repository: String,
    /// Tag.
    pub tag: String,
    /// Comment.
    pub comment: String,
    /// Author.
    pub author: String,
    /// Build instructions to apply.
    pub changes: Vec<String>,
    /// Let it run meanwhile.
    pub no_pause: bool,
}

/// What to make an image of a root file system's archive with.
#[derive(Clone, Debug, Default)]
pub struct ImportQuery {
    /// Name, without the tag; empty for none.
    pub repository: String,
    /// Tag.
    pub tag: String,
    /// Comment.
    pub message: String,
    /// Build instructions to apply.
    pub changes: Vec<String>,
    /// `os/arch[/variant]`; empty means the daemon's.
    pub platform: String,
}

fn about(name: &str, verb: &str) -> Query {
    Query::named("/images/", name, verb)
}

fn credentials(auth: Option<&AuthConfig>) -> Result<HeaderMap> {
    auth.map_or_else(
        || Ok(HeaderMap::new()),
        |auth| header("x-registry-auth", &auth.to_header()),
    )
}

impl Client {
    /// Lists images, newest first.
    pub async fn list_images(&self, all: bool, filters: &Filters) -> Result<Vec<ImageSummary>> {
        let query = Query::new("/images/json").flag("all", all);
        self.get(&query.filters(filters)).await
    }

    /// Everything about an image.
    pub async fn inspect_image(&self, name: &str) -> Result<ImageInspect> {
        self.get(&about(name, "/json")).await
    }

    /// How an image was made, newest step first.
    pub async fn image_history(&self, name: &str) -> Result<Vec<HistoryItem>> {
        self.get(&about(name, "/history")).await
    }

    /// Pulls an image; with an empty tag all of the repository's. A digest is given as the tag.
    pub async fn pull_image(
        &self,
        repository: &str,
        tag: &str,
        platform: &str,
        auth: Option<&AuthConfig>,
    ) -> Result<Lines<ProgressMessage>> {
        let query = Query::new("/images/create")
            .add("fromImage", repository)
            .text("tag", tag)
            .text("platform", platform);
        let headers = credentials(auth)?;
        self.lines(Method::POST, &query, headers).await
    }

    /// Pushes an image; with an empty tag all of the repository's. `platform` is OCI's JSON or empty.
    pub async fn push_image(
        &self,
        repository: &str,
        tag: &str,
        platform: &str,
        auth: &AuthConfig,
    ) -> Result<Lines<ProgressMessage>> {
        let query = about(repository, "/push")
            .text("tag", tag)
            .text("platform", platform);
        // The header must be there, even where there are no credentials.
        let headers = header("x-registry-auth", &auth.to_header())?;
        self.lines(Method::POST, &query, headers).await
    }

    /// Gives an image one more name.
    pub async fn tag_image(&self, name: &str, repository: &str, tag: &str) -> Result<()> {
        let query = about(name, "/tag").add("repo", repository).text("tag", tag);
        self.post(&query).await.map(drop)
    }

    /// Takes a name off an image, and removes it with the last one.
    pub async fn remove_image(
        &self,
        name: &str,
        force: bool,
        no_prune: bool,
    ) -> Result<Vec<DeleteItem>> {
        let query = about(name, "")
            .flag("force", force)
            .flag("noprune", no_prune);
        self.json(Method::DELETE, &query).await
    }

    /// Images as one archive.
    pub async fn save_images(&self, names: &[String]) -> Result<Download> {
        let query = names.iter().fold(Query::new("/images/get"), |query, name| {
            query.add("names", name)
        });
        self.download(Method::GET, &query).await
    }

    /// Takes in images of an archive.
    pub async fn load_images(
        &self,
        archive: Upload,
        quiet: bool,
    ) -> Result<Lines<ProgressMessage>> {
        let query = Query::new("/images/load").add("quiet", if quiet { "1" } else { "0" });
        self.upload_lines(Method::POST, &query, archive).await
    }

    /// Makes an image of a root file system's archive.
    pub async fn import_image(
        &self,
        archive: Upload,
        import: &ImportQuery,
    ) -> Result<Lines<ProgressMessage>> {
        let query = Query::new("/images/create")
            .add("fromSrc", "-")
            .text("repo", &import.repository)
            .text("tag", &import.tag)
            .text("message", &import.message)
            .text("platform", &import.platform);
        let query = import
            .changes
            .iter()
            .fold(query, |query, change| query.add("changes", change));
        self.upload_lines(Method::POST, &query, archive).await
    }

    /// Makes an image of a container's changes; gives its id.
    pub async fn commit_container(&self, commit: &CommitQuery) -> Result<String> {
        let query = Query::new("/commit")
            .add("container", &commit.container)
            .text("repo", &commit.repository)
            .text("tag", &commit.tag)
            .text("comment", &commit.comment)
            .text("author", &commit.author)
            .add("pause", if commit.no_pause { "0" } else { "1" });
        let query = commit
            .changes
            .iter()
            .fold(query, |query, change| query.add("changes", change));
        let made: IdResponse = self.json(Method::POST, &query).await?;
        Ok(made.id)
    }

    /// Removes images that nothing names or uses.
    pub async fn prune_images(&self, filters: &Filters) -> Result<ImagesPruned> {
        let query = Query::new("/images/prune").filters(filters);
        self.json(Method::POST, &query).await
    }

    /// Asks a registry whether credentials are good.
    pub async fn registry_login(&self, auth: &AuthConfig) -> Result<AuthResponse> {
        self.post_json(&Query::new("/auth"), auth).await
    }
}
