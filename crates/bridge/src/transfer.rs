//! Images on the move: registries and archives.

use bytes::Bytes;
use coracle_client::{ImportQuery, Lines, Query};
use coracle_docker::auth::AuthConfig;
use coracle_docker::image::{DistributionInspect, Platform};
use coracle_docker::progress::ProgressMessage;
use coracle_runtime::image::{
    Distribution, ImportRequest, LoginStatus, Progress, PullRequest, PushRequest, RegistryAuth,
};
use coracle_runtime::io::{BoxStream, ByteStream};
use coracle_runtime::{Result, RuntimeError};
use futures_util::StreamExt;

use crate::convert::container::image_id;
use crate::convert::image as convert;
use crate::error::{self, About};
use crate::runtime::Bridge;
use crate::{names, streams};

/// The tag of names that have none, where not all are meant.
const LATEST: &str = "latest";

impl Bridge {
    /// The lines of an operation. Its events are told before its end.
    fn progress(&self, lines: Lines<ProgressMessage>, about: About) -> BoxStream<Progress> {
        let host = self.client.host();
        let steps = streams::lines(lines, about, host, move |line: ProgressMessage| {
            let detail = line.error_detail.as_ref();
            let told = detail.map_or("", |detail| detail.message.as_str());
            let failure = if told.is_empty() { &line.error } else { told };
            if failure.is_empty() {
                return Ok(convert::progress(line));
            }
            Err(error::in_stream(about, failure.to_owned()))
        });
        let events = self.events.clone();
        let end = futures_util::stream::once(async move {
            events.catch_up().await;
            None
        });
        let steps = steps.map(Some).chain(end);
        Box::pin(steps.filter_map(std::future::ready))
    }

    pub(crate) async fn pull_image(&self, request: PullRequest) -> Result<BoxStream<Progress>> {
        let (repository, tag) = names::split_image(&request.reference)?;
        let tag = if tag.is_empty() && !request.all_tags {
            LATEST
        } else {
            tag
        };
        let platform = request.platform.unwrap_or_default();
        let auth = request.auth.map(convert::auth);
        let pulling = self
            .client
            .pull_image(repository, tag, &platform, auth.as_ref());
        let lines = self.ask(About::Registry, pulling).await?;
        Ok(self.progress(lines, About::Registry))
    }

    pub(crate) async fn push_image(&self, request: PushRequest) -> Result<BoxStream<Progress>> {
        let (repository, tag) = names::split_image(&request.reference)?;
        let tag = if tag.is_empty() && !request.all_tags {
            LATEST
        } else {
            tag
        };
        let platform = match &request.platform {
            None => String::new(),
            Some(_) if self.engine.minor < 46 => {
                return Err(RuntimeError::InvalidArgument(
                    "pushing one platform needs an engine of API 1.46".into(),
                ));
            }
            Some(platform) => platform_json(platform)?,
        };
        let auth = request.auth.map(convert::auth).unwrap_or_default();
        let repository = names::image(repository)?;
        let pushing = self.client.push_image(repository, tag, &platform, &auth);
        let lines = self.ask(About::Registry, pushing).await?;
        Ok(self.progress(lines, About::Registry))
    }

    pub(crate) async fn save_images(&self, names: &[String]) -> Result<ByteStream> {
        let tar = self
            .change(About::Image, self.client.save_images(names))
            .await?;
        Ok(streams::download(tar, self.client.host()))
    }

    pub(crate) async fn load_images(&self, tar: ByteStream) -> Result<BoxStream<Progress>> {
        let loading = self.client.load_images(streams::upload(tar), false);
        let lines = self.ask(About::Archive, loading).await?;
        Ok(self.progress(lines, About::Archive))
    }

    pub(crate) async fn import_image(&self, request: ImportRequest) -> Result<String> {
        let (repository, tag) = names::split_optional(request.reference.as_deref())?;
        let import = ImportQuery {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            message: request.message,
            changes: request.changes,
            platform: request.platform.unwrap_or_default(),
        };
        let importing = self
            .client
            .import_image(streams::upload(request.tar), &import);
        let lines = self.ask(About::Archive, importing).await?;
        let mut steps = self.progress(lines, About::Archive);
        let mut id = None;
        while let Some(step) = steps.next().await {
            let status = image_id(step?.status.trim().to_owned());
            if status.starts_with("sha256:") {
                id = Some(status);
            }
        }
        id.ok_or_else(|| RuntimeError::Backend("the engine doesn't say what it imported".into()))
    }

    pub(crate) async fn inspect_distribution(
        &self,
        name: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<Distribution> {
        let query = Query::named("/distribution/", names::image(name)?, "/json");
        let auth = auth.map(convert::auth);
        let asking = self.client.get_as(&query, auth.as_ref());
        let found: DistributionInspect = self.ask(About::Registry, asking).await?;
        Ok(convert::distribution(found))
    }

    pub(crate) async fn registry_login(&self, auth: RegistryAuth) -> Result<LoginStatus> {
        let auth: AuthConfig = convert::auth(auth);
        let told = self
            .ask(About::Thing, self.client.registry_login(&auth))
            .await?;
        Ok(LoginStatus {
            status: told.status,
            identity_token: told.identity_token,
        })
    }

    pub(crate) async fn build_image(
        &self,
        _context: ByteStream,
        _options: Bytes,
    ) -> Result<BoxStream<Progress>> {
        Err(RuntimeError::NotSupported("build".into()))
    }
}

/// A platform as OCI's JSON, as `push` has it.
fn platform_json(text: &str) -> Result<String> {
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    let platform = Platform {
        os: parts.next().unwrap_or_default(),
        architecture: parts.next().unwrap_or_default(),
        variant: parts.next().unwrap_or_default(),
        ..Platform::default()
    };
    serde_json::to_string(&platform).map_err(|error| RuntimeError::Internal(error.to_string()))
}
