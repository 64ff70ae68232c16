//! Events over an engine that goes away and comes back, and an engine that isn't there.

// Clippy's leave for tests ends at their helpers.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::{Server, ServerConfig};
use coracle_bridge::DockerRuntime;
use coracle_mock::MockRuntime;
use coracle_runtime::spec::{ContainerConfig, ContainerSpec};
use coracle_runtime::{Runtime, RuntimeError};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Serves a runtime on a socket until told to stop.
struct Served {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Served {
    fn start(runtime: Arc<dyn Runtime>, path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let (stop, mut stopped) = watch::channel(false);
        let server = Server::new(runtime, ServerConfig::default());
        let task = tokio::spawn(async move {
            let stopped = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            server.serve(listener, stopped).await;
        });
        Self { stop, task }
    }

    async fn stop(self, path: &Path) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
        std::fs::remove_file(path).unwrap();
    }
}

async fn make(runtime: &dyn Runtime, name: &str) {
    let spec = ContainerSpec {
        name: Some(name.into()),
        config: ContainerConfig {
            image: "busybox".into(),
            ..ContainerConfig::default()
        },
        ..ContainerSpec::default()
    };
    runtime.create_container(spec).await.unwrap();
}

#[tokio::test]
async fn none_is_lost_or_doubled_over_restarts_of_the_engine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let mock: Arc<dyn Runtime> = Arc::new(MockRuntime::new().with_image("busybox"));
    let mut served = Served::start(mock.clone(), &path);
    let host = format!("unix://{}", path.display());
    let bridge = DockerRuntime::connect(&host, None).await.unwrap();
    let mut events = bridge.events().subscribe(None);
    let mut expected = Vec::new();
    for round in 0..5 {
        for (what, runtime) in [("through", &bridge as &dyn Runtime), ("beside", &*mock)] {
            let name = format!("{what}-{round}");
            make(runtime, &name).await;
            expected.push(name);
        }
        served.stop(&path).await;
        // Nobody is told of this one when it happens.
        let name = format!("meanwhile-{round}");
        make(&*mock, &name).await;
        expected.push(name);
        let gone = bridge.list_containers(false).await.unwrap_err();
        assert!(matches!(gone, RuntimeError::Unavailable(_)), "{gone:?}");
        served = Served::start(mock.clone(), &path);
    }
    let mut told = Vec::new();
    let mut last = 0;
    while told.len() < expected.len() {
        let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await;
        let event = event.expect("another event").unwrap();
        assert_eq!(event.sequence, last + 1);
        last = event.sequence;
        told.push(event.attributes["name"].clone());
    }
    assert_eq!(told, expected);
    // Nor is one told again.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(events.try_next().is_none());
    served.stop(&path).await;
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told_with_its_address() {
    let error = DockerRuntime::connect("unix:///nowhere/engine.sock", None).await;
    let error = error.err().unwrap();
    assert!(matches!(error, RuntimeError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("unix:///nowhere/engine.sock"));
    let error = DockerRuntime::connect("nowhere", None).await.err().unwrap();
    assert!(
        matches!(error, RuntimeError::InvalidArgument(_)),
        "{error:?}"
    );
}
