//! What the daemon counts.

use std::time::Duration;

use coracle_api::ServerConfig;
use serde_json::json;

use super::{Daemon, NOTHING};

#[tokio::test]
async fn metrics_and_history() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sleep", "1000"]).await;
    d.ok("GET", "/containers/web", NOTHING, 200).await;
    let metrics = d.send("GET", "/metrics", "", b"").await;
    assert!(
        metrics
            .header("Content-Type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let text = metrics.text();
    for line in [
        "coracle_http_requests_total{method=\"GET\",route=\"/api/v1/containers/{container}\",status=\"200\"} 1",
        "coracle_containers{state=\"running\"} 1",
        "coracle_open_connections 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in {text}"
        );
    }
    assert!(text.contains("coracle_container_memory_bytes{id=\""));
    // The first question begins it.
    let mut history = d
        .ok("GET", "/containers/web/stats/history", NOTHING, 200)
        .await
        .json();
    for _ in 0..100 {
        if history["readings"] != json!([]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        history = d
            .ok("GET", "/containers/web/stats/history", NOTHING, 200)
            .await
            .json();
    }
    assert!(
        history["readings"][0]["memory"].as_u64().unwrap() > 0,
        "{history}"
    );
    assert_eq!(history["interval"], 10);
    d.ok("GET", "/containers/nosuch/stats/history", NOTHING, 404)
        .await;
}
