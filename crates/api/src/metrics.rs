//! `/metrics`: the daemon and its containers, in Prometheus' text format (version 0.0.4).
//!
//! Labels are bounded: routes are those that there are, and containers beyond a limit are only counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use coracle_native::stats::Sample;
use coracle_runtime::container::Container;
use coracle_runtime::{Runtime, Status};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Method, StatusCode, header};

use crate::Api;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// Upper ends of the buckets of durations, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 30.0, f64::INFINITY];
/// Containers whose use is told.
const MAX_CONTAINERS: usize = 1000;
/// Containers read at once.
const AT_ONCE: usize = 8;
/// How long one container may take to tell.
const LIMIT: Duration = Duration::from_secs(2);

/// What the server counts.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, String), Requests>>,
    connections: AtomicI64,
}

#[derive(Default)]
struct Requests {
    statuses: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS.len()],
    seconds: f64,
}

/// A connection that is open.
pub(crate) struct Open(Arc<Metrics>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts a connection until what is given is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Counts an answer.
    pub(crate) fn count(&self, method: &Method, response: &Response, took: Duration) {
        let route = response.extensions().get::<MatchedPath>();
        let route = route.map_or("none", MatchedPath::as_str).to_owned();
        let seconds = took.as_secs_f64();
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = requests.entry((method_name(method), route)).or_default();
        *entry
            .statuses
            .entry(response.status().as_u16())
            .or_default() += 1;
        entry.seconds += seconds;
        for (count, end) in entry.buckets.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= end);
        }
    }

    fn write(&self, out: &mut String) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        head(
            out,
            "coracle_http_requests_total",
            "counter",
            "Requests that were answered.",
        );
        for ((method, route), entry) in &*requests {
            for (status, count) in &entry.statuses {
                let labels = [
                    ("method", *method),
                    ("route", route),
                    ("status", &status.to_string()),
                ];
                line(out, "coracle_http_requests_total", &labels, count);
            }
        }
        let name = "coracle_http_request_duration_seconds";
        head(out, name, "histogram", "Time until an answer began.");
        for ((method, route), entry) in &*requests {
            let labels = [("method", *method), ("route", route.as_str())];
            for (count, end) in entry.buckets.iter().zip(BUCKETS) {
                let end = if end.is_finite() {
                    end.to_string()
                } else {
                    "+Inf".to_owned()
                };
                let [method, route] = labels;
                line(
                    out,
                    &format!("{name}_bucket"),
                    &[method, route, ("le", &end)],
                    count,
                );
            }
            line(out, &format!("{name}_sum"), &labels, entry.seconds);
            line(
                out,
                &format!("{name}_count"),
                &labels,
                entry.statuses.values().sum::<u64>(),
            );
        }
        drop(requests);
        gauge(
            out,
            "coracle_open_connections",
            "Connections to the API.",
            self.connections.load(Ordering::Relaxed),
        );
    }
}

/// One of few: clients make methods up.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

/// Leaves the route's pattern in its answer, for [`Metrics::count`].
pub(crate) async fn remember_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string can't fail, here and below.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    out.push_str(name);
    for (index, (key, value)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{key}=\"", if index == 0 { '{' } else { ',' });
        for letter in value.chars() {
            match letter {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                letter => out.push(letter),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

fn gauge(out: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    head(out, name, "gauge", help);
    line(out, name, &[], value);
}

/// `GET /metrics`.
pub(crate) async fn serve(State(api): State<Api>) -> Response {
    let mut out = String::new();
    head(&mut out, "coracle_build_info", "gauge", "What runs.");
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    line(&mut out, "coracle_build_info", &version, 1);
    gauge(
        &mut out,
        "coracle_uptime_seconds",
        "Since the daemon began to serve.",
        api.started.elapsed().as_secs(),
    );
    if let Some(bytes) = resident() {
        gauge(
            &mut out,
            "process_resident_memory_bytes",
            "The daemon's memory.",
            bytes,
        );
    }
    api.metrics.write(&mut out);
    head(
        &mut out,
        "coracle_events_total",
        "counter",
        "Events since the daemon's start.",
    );
    line(
        &mut out,
        "coracle_events_total",
        &[],
        api.runtime.events().latest(),
    );
    match api.runtime.list_containers(false).await {
        Ok(containers) => write_containers(&mut out, &*api.runtime, &containers).await,
        // The daemon's own are worth having without them.
        Err(error) => tracing::warn!(%error, "metrics have no containers"),
    }
    let mut response = Response::new(Body::from(out));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// The daemon's resident memory in bytes (proc_pid_status(5)).
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// What is told of each container: name, kind, help, and how to have it.
type Measure = (&'static str, &'static str, &'static str, fn(&Sample) -> f64);

#[allow(
    clippy::cast_precision_loss,
    reason = "metrics are floating point numbers"
)]
const MEASURES: [Measure; 7] = [
    (
        "coracle_container_cpu_seconds_total",
        "counter",
        "Processor time.",
        |s| s.cpu as f64 / 1e9,
    ),
    (
        "coracle_container_memory_bytes",
        "gauge",
        "Memory, without cache that could be dropped.",
        |s| s.memory as f64,
    ),
    (
        "coracle_container_pids",
        "gauge",
        "Processes and threads.",
        |s| s.pids as f64,
    ),
    (
        "coracle_container_network_receive_bytes_total",
        "counter",
        "Bytes received.",
        |s| s.rx_bytes as f64,
    ),
    (
        "coracle_container_network_transmit_bytes_total",
        "counter",
        "Bytes sent.",
        |s| s.tx_bytes as f64,
    ),
    (
        "coracle_container_block_read_bytes_total",
        "counter",
        "Bytes read from block devices.",
        |s| s.read_bytes as f64,
    ),
    (
        "coracle_container_block_write_bytes_total",
        "counter",
        "Bytes written to block devices.",
        |s| s.write_bytes as f64,
    ),
];

async fn write_containers(out: &mut String, runtime: &dyn Runtime, containers: &[Container]) {
    let mut states = BTreeMap::<&str, u64>::new();
    for container in containers {
        *states.entry(container.state.status.as_str()).or_default() += 1;
    }
    head(out, "coracle_containers", "gauge", "Containers, by state.");
    for (state, count) in states {
        line(out, "coracle_containers", &[("state", state)], count);
    }
    if !runtime.capabilities().stats {
        return;
    }
    let alive = |one: &&Container| matches!(one.state.status, Status::Running | Status::Paused);
    let names: Vec<(String, String)> = containers
        .iter()
        .filter(alive)
        .take(MAX_CONTAINERS)
        .map(|one| (one.id.clone(), one.name.clone()))
        .collect();
    let told: Vec<(String, String, Sample)> = stream::iter(names)
        .map(|(id, name)| async move {
            let read = async {
                let mut readings = runtime.container_stats(&id, false).await.ok()?;
                readings.next().await?.ok()
            };
            let stats = tokio::time::timeout(LIMIT, read).await.ok()??;
            Some((id, name, Sample::from(&stats)))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    for (name, kind, help, measure) in MEASURES {
        head(out, name, kind, help);
        for (id, container, sample) in &told {
            line(
                out,
                name,
                &[("id", id), ("name", container)],
                measure(sample),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        line(&mut out, "a", &[("x", "1\"2\\3\n"), ("y", "")], 4);
        line(&mut out, "b", &[], 0.5);
        assert_eq!(out, "a{x=\"1\\\"2\\\\3\\n\",y=\"\"} 4\nb 0.5\n");
    }

    #[test]
    fn requests_are_counted_by_route() {
        let metrics = Metrics::default();
        let response = Response::new(Body::empty());
        metrics.count(&Method::GET, &response, Duration::from_millis(3));
        let odd = Method::from_bytes(b"ODD").unwrap();
        metrics.count(&odd, &response, Duration::from_secs(100));
        let mut out = String::new();
        metrics.write(&mut out);
        for expected in [
            "coracle_http_requests_total{method=\"GET\",route=\"none\",status=\"200\"} 1\n",
            "coracle_http_request_duration_seconds_bucket{method=\"GET\",route=\"none\",le=\"0.001\"} 0\n",
            "coracle_http_request_duration_seconds_bucket{method=\"GET\",route=\"none\",le=\"0.005\"} 1\n",
            "coracle_http_request_duration_seconds_bucket{method=\"other\",route=\"none\",le=\"30\"} 0\n",
            "coracle_http_request_duration_seconds_bucket{method=\"other\",route=\"none\",le=\"+Inf\"} 1\n",
        ] {
            assert!(out.contains(expected), "{expected} in {out}");
        }
    }
}
