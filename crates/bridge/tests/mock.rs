//! The conformance suite over a socket: DockerRuntime, the HTTP API, the mock.

use std::sync::Arc;

use coracle_api::{Server, ServerConfig};
use coracle_bridge::DockerRuntime;
use coracle_mock::MockRuntime;
use coracle_runtime::Runtime;
use coracle_runtime::conformance::Fixture;
use tempfile::TempDir;
use tokio::net::UnixListener;

/// An engine for each check, on a socket of its own.
struct Bridged(TempDir);

impl Bridged {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }
}

impl Fixture for Bridged {
    async fn runtime(&self) -> Arc<dyn Runtime> {
        let mock = MockRuntime::new()
            .with_image("busybox")
            .with_remote_image("remote/image:1");
        let path = self.0.path().join("engine.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let server = Server::new(Arc::new(mock), ServerConfig::default());
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        let host = format!("unix://{}", path.display());
        let bridge = DockerRuntime::connect(&host, None).await;
        Arc::new(bridge.expect("the engine answers"))
    }

    fn remote_image(&self) -> Option<String> {
        Some("remote/image:1".into())
    }
}

coracle_runtime::conformance_tests!(Bridged::new());
