//! Containers: what there is, and what becomes of them.

use coracle_client::{Filters as WireFilters, Query, RemoveContainerQuery};
use coracle_docker::container::{
    ContainerInspect, ContainerSummary, ContainersPruned, CreateResponse, WaitResponse,
};
use coracle_runtime::container::{
    Changed, Container, Created, ExitStatus, Pruned, RemoveOptions, StopOptions, Top,
    UpdateOptions, WaitCondition,
};
use coracle_runtime::event::EventKind;
use coracle_runtime::spec::ContainerSpec;
use coracle_runtime::{Filters, Result, RuntimeError};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use crate::convert::container::container;
use crate::error::About;
use crate::options::{self, Request};
use crate::runtime::Bridge;
use crate::{names, streams};

/// Things of a list that are asked about at once.
pub(crate) const AT_ONCE: usize = 16;

/// How often podman is asked again for a list that failed.
const PODMANS_LISTS: u32 = 5;

/// Filters on the wire.
pub(crate) fn filters(filters: &Filters) -> WireFilters {
    let mut wire = WireFilters::default();
    for (key, values) in filters.iter() {
        for value in values {
            wire.add(key, value);
        }
    }
    wire
}

fn about(name: &str, verb: &str) -> Query {
    Query::named("/containers/", name, verb)
}

impl Bridge {
    /// A list has less to say of each than the trait, so each is asked about. Those that are gone by
    /// then are left out.
    pub(crate) async fn list_containers(&self, size: bool) -> Result<Vec<Container>> {
        let asked = stream::iter(self.summaries().await?)
            .map(|summary| async move {
                let mut container = self.inspect_container(&summary.id, size).await?;
                let names = summary
                    .names
                    .iter()
                    .filter_map(|name| name.strip_prefix('/'));
                let linked = names.filter(|name| name.contains('/'));
                container.linked_as = linked.map(str::to_owned).collect();
                Ok(container)
            })
            .buffered(AT_ONCE);
        present(asked.collect().await)
    }

    /// All containers, as lists tell them.
    pub(crate) async fn summaries(&self) -> Result<Vec<ContainerSummary>> {
        let query = Query::new("/containers/json").add("all", "1");
        let mut again = if self.engine.podman { PODMANS_LISTS } else { 0 };
        loop {
            match self.ask(About::Thing, self.client.get(&query)).await {
                // Podman's list fails as a whole where one of it is removed meanwhile.
                Err(RuntimeError::Backend(_)) if again > 0 => again -= 1,
                listed => return listed,
            }
        }
    }

    pub(crate) async fn inspect_container(&self, name: &str, size: bool) -> Result<Container> {
        let query = about(names::linked(name)?, "/json").flag("size", size);
        let found: ContainerInspect = self.ask(About::Thing, self.client.get(&query)).await?;
        let mut found = container(found);
        found.platform = self.platform(&found).await;
        Ok(found)
    }

    /// An image's platform, of which engines tell a container's system only. An image that is gone had
    /// the engine's.
    async fn platform(&self, container: &Container) -> String {
        let id = &container.image_id;
        if let Some(known) = self.platforms.get(id) {
            return known;
        }
        let platform = match self.inspect_image(id).await {
            Ok(image) if !image.variant.is_empty() => {
                format!("{}/{}/{}", image.os, image.architecture, image.variant)
            }
            Ok(image) => format!("{}/{}", image.os, image.architecture),
            Err(_) => return self.engine.platform.clone(),
        };
        self.platforms.remember(id, platform.clone());
        platform
    }

    pub(crate) async fn create_container(&self, spec: ContainerSpec) -> Result<Created> {
        let request = Request::new(spec, &self.engine)?;
        let client = self.client.clone();
        // In a task of its own: one that is begun is whole or is taken back.
        let creating = tokio::spawn(async move {
            let query = Query::new("/containers/create")
                .text("name", &request.name)
                .text("platform", &request.platform);
            let created: CreateResponse = client.post_json(&query, &request.body).await?;
            for (network, endpoint) in request.later {
                let joined = client.connect_network(&network, &created.id, endpoint);
                if let Err(error) = joined.await {
                    let force = RemoveContainerQuery {
                        force: true,
                        volumes: true,
                        link: false,
                    };
                    client.remove_container(&created.id, force).await?;
                    return Err(error);
                }
            }
            Ok(created)
        });
        let created = async {
            let joined = creating.await;
            joined.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
        };
        let created = self.change(About::Creation, created).await?;
        Ok(Created {
            id: created.id,
            warnings: created.warnings,
        })
    }

    pub(crate) async fn start_container(&self, name: &str) -> Result<Changed> {
        let name = names::container(name)?;
        let start = self.client.start_container(name);
        self.change(About::Thing, start).await.map(Changed)
    }

    pub(crate) async fn stop_container(&self, name: &str, options: StopOptions) -> Result<Changed> {
        let name = names::container(name)?;
        let signal = options.signal.as_deref();
        options::stop_signal(signal, &self.engine)?;
        let stop = self
            .client
            .stop_container(name, signal.unwrap_or_default(), options.timeout);
        self.change(About::Thing, stop).await.map(Changed)
    }

    pub(crate) async fn restart_container(&self, name: &str, options: StopOptions) -> Result<()> {
        let name = names::container(name)?;
        let signal = options.signal.as_deref();
        options::stop_signal(signal, &self.engine)?;
        let restart =
            self.client
                .restart_container(name, signal.unwrap_or_default(), options.timeout);
        self.change(About::Thing, restart).await
    }

    pub(crate) async fn kill_container(&self, name: &str, signal: &str) -> Result<()> {
        let name = names::container(name)?;
        self.change(About::Thing, self.client.kill_container(name, signal))
            .await
    }

    pub(crate) async fn pause_container(&self, name: &str) -> Result<()> {
        self.can(self.engine.capabilities.pause, "pause")?;
        let name = names::container(name)?;
        self.change(About::Thing, self.client.pause_container(name))
            .await
    }

    pub(crate) async fn unpause_container(&self, name: &str) -> Result<()> {
        self.can(self.engine.capabilities.pause, "unpause")?;
        let name = names::container(name)?;
        self.change(About::Thing, self.client.unpause_container(name))
            .await
    }

    pub(crate) async fn wait_container(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> Result<BoxFuture<'static, Result<ExitStatus>>> {
        let name = names::container(name)?;
        let condition = match condition {
            WaitCondition::NotRunning => coracle_client::WaitCondition::NotRunning,
            WaitCondition::NextExit => coracle_client::WaitCondition::NextExit,
            WaitCondition::Removed => coracle_client::WaitCondition::Removed,
        };
        let waiting = self.client.wait_container(name, condition);
        let lines = self.ask(About::Thing, waiting).await?;
        let exit = streams::lines(lines, About::Thing, self.client.host(), exit);
        let events = self.events.clone();
        Ok(Box::pin(async move {
            let (exit, _) = exit.into_future().await;
            events.catch_up().await;
            exit.unwrap_or_else(|| {
                Err(RuntimeError::Unavailable(
                    "the engine ended the wait without an answer".into(),
                ))
            })
        }))
    }

    pub(crate) async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        let name = names::container(name)?;
        let rename = self.client.rename_container(name, new_name);
        self.change(About::Name, rename).await
    }

    pub(crate) async fn update_container(
        &self,
        name: &str,
        options: UpdateOptions,
    ) -> Result<Vec<String>> {
        self.can(self.engine.capabilities.update, "update")?;
        let name = names::container(name)?;
        let update = self.client.update_container(name, &options.host);
        Ok(self.change(About::Thing, update).await?.warnings)
    }

    pub(crate) async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()> {
        let name = names::linked(name)?;
        let query = RemoveContainerQuery {
            force: options.force,
            volumes: options.volumes,
            link: options.link,
        };
        self.change(About::Thing, self.client.remove_container(name, query))
            .await
    }

    pub(crate) async fn prune_containers(&self, which: &Filters) -> Result<Pruned> {
        let which = filters(which);
        let prune = self.client.prune_containers(&which);
        let pruned: ContainersPruned = self.change(About::Thing, prune).await?;
        Ok(Pruned {
            deleted: pruned.containers_deleted,
            space_reclaimed: pruned.space_reclaimed,
        })
    }

    /// Clients leave by keys that we look for, so the engine doesn't know of it, and we tell.
    pub(crate) async fn detach_container(&self, name: &str) -> Result<()> {
        let container = self.inspect_container(name, false).await?;
        let mut attributes = container.config.labels;
        attributes.insert("image".to_owned(), container.config.image);
        attributes.insert("name".to_owned(), container.name);
        let bus = self.events.bus();
        bus.publish(EventKind::Container, "detach", container.id, attributes);
        Ok(())
    }

    pub(crate) async fn container_top(&self, name: &str, ps_args: &str) -> Result<Top> {
        let name = names::container(name)?;
        let top = self.client.top_container(name, ps_args);
        let top = self.change(About::Thing, top).await?;
        Ok(Top {
            titles: top.titles,
            processes: top.processes,
        })
    }

    /// Refuses what the engine can't do.
    pub(crate) fn can(&self, can: bool, what: &str) -> Result<()> {
        if can {
            Ok(())
        } else {
            Err(RuntimeError::NotSupported(what.to_owned()))
        }
    }
}

/// What was found, without what is gone by now.
pub(crate) fn present<T>(found: Vec<Result<T>>) -> Result<Vec<T>> {
    let gone = |found: &Result<T>| {
        matches!(
            found,
            Err(RuntimeError::NotFound(_) | RuntimeError::ImageNotFound(_))
        )
    };
    found.into_iter().filter(|found| !gone(found)).collect()
}

fn exit(told: WaitResponse) -> Result<ExitStatus> {
    let code = i32::try_from(told.status_code).map_err(|_| {
        RuntimeError::Backend(format!("the exit code {} is none", told.status_code))
    })?;
    Ok(ExitStatus {
        code,
        error: told
            .error
            .map(|error| error.message)
            .filter(|message| !message.is_empty()),
    })
}
