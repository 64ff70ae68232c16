//! Images, networks, volumes, events, and the daemon itself.

use coracle_native::event::Event;
use coracle_native::image::{Image, ImagePull, ImagePush, ImageTag, ImagesRemoved};
use coracle_native::network::{Network, NetworkConnect, NetworkCreate, NetworkDisconnect};
use coracle_native::query::EventsQuery;
use coracle_native::stream::ProgressLine;
use coracle_native::system::{Capabilities, Health, Info, Version};
use coracle_native::volume::{Volume, VolumeCreate};
use http::Method;

use super::{Native, Stream, named, path};
use crate::error::Result;

impl Native<'_> {
    /// That the daemon answers.
    pub async fn health(&self) -> Result<Health> {
        self.get(&path("/health")).await
    }

    /// What runs.
    pub async fn version(&self) -> Result<Version> {
        self.get(&path("/version")).await
    }

    /// The host and the daemon's state.
    pub async fn info(&self) -> Result<Info> {
        self.get(&path("/info")).await
    }

    /// What the daemon can do.
    pub async fn capabilities(&self) -> Result<Capabilities> {
        self.get(&path("/capabilities")).await
    }

    /// What happens, as it happens.
    pub async fn events(&self, which: &EventsQuery) -> Result<Stream<Event>> {
        let mut query = path("/events").add("follow", which.follow.unwrap_or(true).to_string());
        for (key, time) in [("since", which.since), ("until", which.until)] {
            if let Some(time) = time {
                query = query.add(key, time.to_string());
            }
        }
        if let Some(after) = which.after {
            query = query.add("after", after.to_string());
        }
        for kind in &which.kind {
            query = query.add("kind", kind);
        }
        for action in &which.action {
            query = query.add("action", action);
        }
        if let Some(actor) = &which.actor {
            query = query.add("actor", actor);
        }
        self.stream(Method::GET, &query).await
    }

    /// Lists images, newest first.
    pub async fn images(&self) -> Result<Vec<Image>> {
        self.all(&path("/images")).await
    }

    /// Looks at one.
    pub async fn image(&self, name: &str) -> Result<Image> {
        self.get(&named("/images/", name, "")).await
    }

    /// Pulls one: its progress.
    pub async fn pull_image(&self, what: &ImagePull) -> Result<Stream<ProgressLine>> {
        let query = path("/images/pull");
        Ok(Stream::new(self.client.post_lines(&query, what).await?))
    }

    /// Pushes one: its progress.
    pub async fn push_image(&self, name: &str, how: &ImagePush) -> Result<Stream<ProgressLine>> {
        let query = named("/images/", name, "/push");
        Ok(Stream::new(self.client.post_lines(&query, how).await?))
    }

    /// Puts a name on one.
    pub async fn tag_image(&self, name: &str, new: &str) -> Result<()> {
        let body = ImageTag { name: new.into() };
        self.act(&named("/images/", name, "/tag"), &body).await
    }

    /// Takes a name off, and removes what has none then.
    pub async fn remove_image(&self, name: &str, force: bool) -> Result<ImagesRemoved> {
        let query = named("/images/", name, "").add("force", force.to_string());
        self.client.json(Method::DELETE, &query).await
    }

    /// Lists networks.
    pub async fn networks(&self) -> Result<Vec<Network>> {
        self.all(&path("/networks")).await
    }

    /// Looks at one.
    pub async fn network(&self, name: &str) -> Result<Network> {
        self.get(&named("/networks/", name, "")).await
    }

    /// Makes one.
    pub async fn create_network(&self, body: &NetworkCreate) -> Result<Network> {
        self.post(&path("/networks"), body).await
    }

    /// Removes one that nothing uses.
    pub async fn remove_network(&self, name: &str) -> Result<()> {
        self.delete(&named("/networks/", name, "")).await
    }

    /// Puts a container on one.
    pub async fn connect_network(&self, name: &str, body: &NetworkConnect) -> Result<()> {
        self.act(&named("/networks/", name, "/connect"), body).await
    }

    /// Takes a container off one.
    pub async fn disconnect_network(&self, name: &str, body: &NetworkDisconnect) -> Result<()> {
        self.act(&named("/networks/", name, "/disconnect"), body)
            .await
    }

    /// Lists volumes.
    pub async fn volumes(&self) -> Result<Vec<Volume>> {
        self.all(&path("/volumes")).await
    }

    /// Looks at one.
    pub async fn volume(&self, name: &str) -> Result<Volume> {
        self.get(&named("/volumes/", name, "")).await
    }

    /// Makes one, or gives the one of that name.
    pub async fn create_volume(&self, body: &VolumeCreate) -> Result<Volume> {
        self.post(&path("/volumes"), body).await
    }

    /// Removes one that nothing uses.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        self.delete(&named("/volumes/", name, "")).await
    }
}
