//! Containers: what there is, and what becomes of them.

use coracle_docker::container::{
    ChangeItem, ContainerInspect, ContainerSummary, ContainersPruned, CreateBody, CreateResponse,
    TopResponse, UpdateResponse, WaitResponse,
};
use coracle_runtime::spec::HostConfig;
use http::{HeaderMap, Method};

use crate::client::Client;
use crate::error::Result;
use crate::lines::Lines;
use crate::query::{Filters, Query};

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListContainersQuery {
    /// Those that don't run, too.
    pub all: bool,
    /// So many of the newest, running or not; 0 means no limit.
    pub limit: i64,
    /// With sizes.
    pub size: bool,
    /// Which.
    pub filters: Filters,
}

/// What to attach to.
#[derive(Clone, Debug, Default)]
pub struct AttachQuery {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// What was written before.
    pub logs: bool,
    /// Keys that detach; empty means the daemon's.
    pub detach_keys: String,
}

/// Which log lines to read.
#[derive(Clone, Debug, Default)]
pub struct LogsQuery {
    /// Go on as they are written.
    pub follow: bool,
    /// With times.
    pub timestamps: bool,
    /// With extra attributes.
    pub details: bool,
    /// From this time on: Unix seconds with a fraction.
    pub since: String,
    /// To this time.
    pub until: String,
    /// So many of the last; empty means all.
    pub tail: String,
    /// What its virtual machine wrote to the console, in place of the log.
    pub boot: bool,
}

/// How to remove a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveContainerQuery {
    /// Kill it first.
    pub force: bool,
    /// Its anonymous volumes, too.
    pub volumes: bool,
    /// The link of that name, not the container.
    pub link: bool,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitCondition {
    /// That it doesn't run; at once where it doesn't.
    NotRunning,
    /// Its next end.
    NextExit,
    /// Its removal.
    Removed,
}

impl WaitCondition {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }
}

/// A request about one container.
pub(super) fn about(name: &str, verb: &str) -> Query {
    Query::named("/containers/", name, verb)
}

impl Client {
    /// Lists containers, newest first.
    pub async fn list_containers(
        &self,
        query: &ListContainersQuery,
    ) -> Result<Vec<ContainerSummary>> {
        let limit = Some(query.limit).filter(|limit| *limit > 0);
        let request = Query::new("/containers/json")
            .flag("all", query.all)
            .number("limit", limit)
            .flag("size", query.size)
            .filters(&query.filters);
        self.get(&request).await
    }

    /// Creates a container. `platform` is `os/arch[/variant]`, or empty.
    pub async fn create_container(
        &self,
        name: &str,
        platform: &str,
        body: &CreateBody,
    ) -> Result<CreateResponse> {
        let query = Query::new("/containers/create")
            .text("name", name)
            .text("platform", platform);
        self.post_json(&query, body).await
    }

    /// Everything about a container.
    pub async fn inspect_container(&self, name: &str) -> Result<ContainerInspect> {
        self.get(&about(name, "/json")).await
    }

    /// Starts a container; says whether it did not run before.
    pub async fn start_container(&self, name: &str) -> Result<bool> {
        self.post(&about(name, "/start")).await
    }

    /// Stops a container; says whether it ran before. `timeout` in seconds, -1 for ever.
    pub async fn stop_container(
        &self,
        name: &str,
        signal: &str,
        timeout: Option<i64>,
    ) -> Result<bool> {
        let query = about(name, "/stop").text("signal", signal);
        self.post(&query.number("t", timeout)).await
    }

    /// Stops and starts a container.
    pub async fn restart_container(
        &self,
        name: &str,
        signal: &str,
        timeout: Option<i64>,
    ) -> Result<()> {
        let query = about(name, "/restart").text("signal", signal);
        self.post(&query.number("t", timeout)).await.map(drop)
    }

    /// Sends a signal; empty means SIGKILL.
    pub async fn kill_container(&self, name: &str, signal: &str) -> Result<()> {
        let query = about(name, "/kill").text("signal", signal);
        self.post(&query).await.map(drop)
    }

    /// Freezes a container.
    pub async fn pause_container(&self, name: &str) -> Result<()> {
        self.post(&about(name, "/pause")).await.map(drop)
    }

    /// Thaws a container.
    pub async fn unpause_container(&self, name: &str) -> Result<()> {
        self.post(&about(name, "/unpause")).await.map(drop)
    }

    /// Gives a container another name.
    pub async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        let query = about(name, "/rename").add("name", new_name);
        self.post(&query).await.map(drop)
    }

    /// Changes limits and the restart policy; gives warnings.
    pub async fn update_container(
        &self,
        name: &str,
        changes: &HostConfig,
    ) -> Result<UpdateResponse> {
        self.post_json(&about(name, "/update"), changes).await
    }

    /// Removes a container.
    pub async fn remove_container(&self, name: &str, query: RemoveContainerQuery) -> Result<()> {
        let request = about(name, "")
            .flag("force", query.force)
            .flag("v", query.volumes)
            .flag("link", query.link);
        self.bytes(Method::DELETE, &request).await.map(drop)
    }

    /// Waits. When this returns, the daemon waits already; the one line comes at the end.
    pub async fn wait_container(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> Result<Lines<WaitResponse>> {
        let query = about(name, "/wait").add("condition", condition.as_str());
        self.lines(Method::POST, &query, HeaderMap::new()).await
    }

    /// Sets the size of a container's terminal.
    pub async fn resize_container(&self, name: &str, rows: u16, columns: u16) -> Result<()> {
        let query = about(name, "/resize").number("h", Some(rows.into()));
        self.post(&query.number("w", Some(columns.into())))
            .await
            .map(drop)
    }

    /// A container's processes, as `ps` with these arguments shows them.
    pub async fn top_container(&self, name: &str, arguments: &str) -> Result<TopResponse> {
        let query = about(name, "/top").text("ps_args", arguments);
        self.get(&query).await
    }

    /// What differs from the image.
    pub async fn container_changes(&self, name: &str) -> Result<Vec<ChangeItem>> {
        let changes: Option<Vec<ChangeItem>> = self.get(&about(name, "/changes")).await?;
        Ok(changes.unwrap_or_default())
    }

    /// Removes containers that don't run.
    pub async fn prune_containers(&self, filters: &Filters) -> Result<ContainersPruned> {
        let query = Query::new("/containers/prune").filters(filters);
        self.json(Method::POST, &query).await
    }
}
