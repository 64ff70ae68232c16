//! What containers write: attach, logs, statistics.

use coracle_docker::stats::StatsResponse;
use http::{HeaderMap, Method};

use super::containers::{AttachQuery, LogsQuery, about};
use crate::client::Client;
use crate::error::Result;
use crate::frames::FrameReader;
use crate::hijack::Hijacked;
use crate::lines::Lines;
use crate::query::Query;
use crate::response::Download;

const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// The version since which an answer says whether it comes in frames.
const SAYS_FRAMED: u32 = 42;

fn logs(name: &str, query: &LogsQuery, stdout: bool, stderr: bool) -> Query {
    about(name, "/logs")
        .flag("stdout", stdout)
        .flag("stderr", stderr)
        .flag("follow", query.follow)
        .flag("timestamps", query.timestamps)
        .flag("details", query.details)
        .text("since", &query.since)
        .text("until", &query.until)
        .text("tail", &query.tail)
        .flag("boot", query.boot)
}

impl Client {
    /// Attaches to a container's streams.
    pub async fn attach_container(&self, name: &str, query: &AttachQuery) -> Result<Hijacked> {
        let request = about(name, "/attach")
            .flag("stream", true)
            .flag("stdin", query.stdin)
            .flag("stdout", query.stdout)
            .flag("stderr", query.stderr)
            .flag("logs", query.logs)
            .text("detachKeys", &query.detach_keys);
        self.hijack::<()>(&request, None).await
    }

    /// A container's log.
    pub async fn container_logs(
        &self,
        name: &str,
        query: &LogsQuery,
    ) -> Result<FrameReader<Download>> {
        let request = logs(name, query, true, true);
        let log = self.download(Method::GET, &request).await?;
        let framed = if self.minor() >= SAYS_FRAMED {
            log.header("content-type") == MULTIPLEXED
        } else {
            !self.inspect_container(name).await?.config.tty
        };
        Ok(FrameReader::new(log, framed))
    }

    /// The same of some streams only, of a container that is known to have a terminal or not.
    pub async fn logs_of(
        &self,
        name: &str,
        query: &LogsQuery,
        stdout: bool,
        stderr: bool,
        tty: bool,
    ) -> Result<FrameReader<Download>> {
        let request = logs(name, query, stdout, stderr);
        let log = self.download(Method::GET, &request).await?;
        Ok(FrameReader::new(log, !tty))
    }

    /// Statistics: one a second, or with `once` one alone, compared with one a second before.
    pub async fn container_stats(&self, name: &str, once: bool) -> Result<Lines<StatsResponse>> {
        let stream = if once { "0" } else { "1" };
        let query = about(name, "/stats").add("stream", stream);
        self.lines(Method::GET, &query, HeaderMap::new()).await
    }
}
