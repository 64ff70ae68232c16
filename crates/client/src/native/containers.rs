//! Containers.

use coracle_native::Line;
use coracle_native::container::Container;
use coracle_native::create::ContainerCreate;
use coracle_native::exec::ExecCreate;
use coracle_native::outcome::{Changed, ContainerCreated, ExitStatus, Processes, Updated};
use coracle_native::query::{ContainersQuery, LogsQuery};
use coracle_native::request::{Kill, Rename, Stop};
use coracle_native::stats::{Stats, StatsHistory};
use coracle_native::stream::{LogLine, Output};
use coracle_native::update::ContainerUpdate;
use http::{HeaderMap, Method};

use super::{Native, Stream, named, path};
use crate::error::Result;
use crate::query::Query;
use crate::response::{Download, parse};
use crate::{Upload, client};

/// What an action without options sends.
#[derive(serde::Serialize)]
struct Plain {}

fn one(name: &str, after: &str) -> Query {
    named("/containers/", name, after)
}

impl Native<'_> {
    /// Lists containers, newest first. Limit and cursor of the query are not used: all are given.
    pub async fn containers(&self, which: &ContainersQuery) -> Result<Vec<Container>> {
        let mut query = path("/containers");
        for status in &which.status {
            query = query.add("status", status);
        }
        for label in &which.label {
            query = query.add("label", label);
        }
        if let Some(name) = &which.name {
            query = query.add("name", name);
        }
        if which.size {
            query = query.add("size", "true");
        }
        self.all(&query).await
    }

    /// Makes a container, and does not start it.
    pub async fn create_container(&self, body: &ContainerCreate) -> Result<ContainerCreated> {
        self.post(&path("/containers"), body).await
    }

    /// Looks at one.
    pub async fn container(&self, name: &str) -> Result<Container> {
        self.get(&one(name, "")).await
    }

    /// Starts it; whether it did not run already.
    pub async fn start_container(&self, name: &str) -> Result<bool> {
        let changed: Changed = self.post(&one(name, "/start"), &Plain {}).await?;
        Ok(changed.changed)
    }

    /// Stops it; whether it ran.
    pub async fn stop_container(&self, name: &str, how: &Stop) -> Result<bool> {
        let changed: Changed = self.post(&one(name, "/stop"), how).await?;
        Ok(changed.changed)
    }

    /// Stops and starts it.
    pub async fn restart_container(&self, name: &str, how: &Stop) -> Result<()> {
        self.act(&one(name, "/restart"), how).await
    }

    /// Sends it a signal; `KILL` where none is named.
    pub async fn kill_container(&self, name: &str, signal: &str) -> Result<()> {
        let body = Kill {
            signal: signal.into(),
        };
        self.act(&one(name, "/kill"), &body).await
    }

    /// Freezes it.
    pub async fn pause_container(&self, name: &str) -> Result<()> {
        self.act(&one(name, "/pause"), &Plain {}).await
    }

    /// Thaws it.
    pub async fn unpause_container(&self, name: &str) -> Result<()> {
        self.act(&one(name, "/unpause"), &Plain {}).await
    }

    /// Waits until it does not run.
    pub async fn wait_container(&self, name: &str) -> Result<ExitStatus> {
        self.post(&one(name, "/wait"), &Plain {}).await
    }

    /// Gives it another name.
    pub async fn rename_container(&self, name: &str, new: &str) -> Result<()> {
        let body = Rename { name: new.into() };
        self.act(&one(name, "/rename"), &body).await
    }

    /// Changes limits and restart policy.
    pub async fn update_container(&self, name: &str, update: &ContainerUpdate) -> Result<Updated> {
        let query = one(name, "");
        let (headers, body) = client::json_body(&query, update)?;
        let whole = self.client.whole(Method::PATCH, &query, headers, body);
        parse(&whole.await?.1, &query)
    }

    /// Removes it.
    pub async fn remove_container(&self, name: &str, force: bool, volumes: bool) -> Result<()> {
        let query = one(name, "")
            .add("force", force.to_string())
            .add("volumes", volumes.to_string());
        self.delete(&query).await
    }

    /// Reads its log.
    pub async fn container_logs(&self, name: &str, which: &LogsQuery) -> Result<Stream<LogLine>> {
        let switch = |on: Option<bool>| on.unwrap_or(true).to_string();
        let mut query = one(name, "/logs")
            .add("follow", which.follow.to_string())
            .add("stdout", switch(which.stdout))
            .add("stderr", switch(which.stderr));
        if which.boot {
            query = query.add("boot", "true");
        }
        if let Some(tail) = which.tail {
            query = query.add("tail", tail.to_string());
        }
        for (key, time) in [("since", which.since), ("until", which.until)] {
            if let Some(time) = time {
                query = query.add(key, time.to_string());
            }
        }
        self.stream(Method::GET, &query).await
    }

    /// Reads what it uses: every second with `stream`, else once.
    pub async fn container_stats(&self, name: &str, stream: bool) -> Result<Stream<Stats>> {
        let query = one(name, "/stats").add("stream", stream.to_string());
        self.stream(Method::GET, &query).await
    }

    /// What it used in the last ten minutes.
    pub async fn stats_history(&self, name: &str) -> Result<StatsHistory> {
        self.get(&one(name, "/stats/history")).await
    }

    /// Its processes.
    pub async fn processes(&self, name: &str) -> Result<Processes> {
        self.get(&one(name, "/processes")).await
    }

    /// Runs a further process: its output, and in the end its exit code. For one that is detached see
    /// the daemon's answer, which is none of a stream.
    pub async fn exec(&self, name: &str, what: &ExecCreate) -> Result<Stream<Output>> {
        let what = ExecCreate {
            detach: false,
            ..what.clone()
        };
        let query = one(name, "/exec");
        let lines = self.client.post_lines::<_, Line<Output>>(&query, &what);
        Ok(Stream::new(lines.await?))
    }

    /// Reads a path inside, as a tar.
    pub async fn read_files(&self, name: &str, inside: &str) -> Result<Download> {
        let query = one(name, "/files").add("path", inside);
        self.client.download(Method::GET, &query).await
    }

    /// Extracts a tar into a directory inside.
    pub async fn write_files(&self, name: &str, inside: &str, tar: Upload) -> Result<()> {
        let query = one(name, "/files").add("path", inside);
        self.client.upload(Method::PUT, &query, tar).await
    }

    pub(super) async fn stream<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        query: &Query,
    ) -> Result<Stream<T>> {
        let lines = self.client.lines(method, query, HeaderMap::new());
        Ok(Stream::new(lines.await?))
    }
}
