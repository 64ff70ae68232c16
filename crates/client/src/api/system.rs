//! The system.

use coracle_docker::event::EventMessage;
use coracle_docker::system::{BuildPruned, DiskUsageResponse, InfoResponse, VersionResponse};
use http::{HeaderMap, Method};

use crate::client::Client;
use crate::error::Result;
use crate::lines::Lines;
use crate::query::{Filters, Query};

/// Which events to read.
#[derive(Clone, Debug, Default)]
pub struct EventsQuery {
    /// From this time on: Unix seconds with a fraction; empty means now.
    pub since: String,
    /// To this time; empty means for ever.
    pub until: String,
    /// Which.
    pub filters: Filters,
}

impl Client {
    /// The daemon's version.
    pub async fn version(&self) -> Result<VersionResponse> {
        self.get(&Query::new("/version")).await
    }

    /// What the daemon is and has.
    pub async fn info(&self) -> Result<InfoResponse> {
        self.get(&Query::new("/info")).await
    }

    /// What takes space.
    pub async fn disk_usage(&self) -> Result<DiskUsageResponse> {
        self.get(&Query::new("/system/df")).await
    }

    /// Events as they happen.
    pub async fn events(&self, query: &EventsQuery) -> Result<Lines<EventMessage>> {
        let request = Query::new("/events")
            .text("since", &query.since)
            .text("until", &query.until)
            .filters(&query.filters);
        self.lines(Method::GET, &request, HeaderMap::new()).await
    }

    /// Removes what builds left.
    pub async fn prune_builds(&self, all: bool, filters: &Filters) -> Result<BuildPruned> {
        let query = Query::new("/build/prune").flag("all", all).filters(filters);
        self.json(Method::POST, &query).await
    }
}
