//! Statistics.

use coracle_client::Query;
use coracle_docker::stats::StatsResponse;
use coracle_runtime::Result;
use coracle_runtime::io::BoxStream;
use coracle_runtime::stats::Stats;

use crate::convert::stats::reading;
use crate::error::About;
use crate::runtime::Bridge;
use crate::{names, streams};

impl Bridge {
    pub(crate) async fn container_stats(
        &self,
        name: &str,
        stream: bool,
    ) -> Result<BoxStream<Stats>> {
        self.can(self.engine.capabilities.stats, "stats")?;
        let name = names::container(name)?;
        if stream {
            let asking = self.client.container_stats(name, false);
            let lines = self.ask(About::Thing, asking).await?;
            let host = self.client.host();
            let convert = |told: StatsResponse| Ok(reading(told));
            return Ok(streams::lines(lines, About::Thing, host, convert));
        }
        let query = Query::named("/containers/", name, "/stats")
            .add("stream", "0")
            .add("one-shot", "1");
        let told: StatsResponse = self.ask(About::Thing, self.client.get(&query)).await?;
        Ok(Box::pin(futures_util::stream::iter([Ok(reading(told))])))
    }
}
