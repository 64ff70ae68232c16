//! The conformance suite, all of it at once on one mock: checks keep out of each other's way.

use std::sync::Arc;

use coracle_mock::MockRuntime;
use coracle_runtime::Runtime;
use coracle_runtime::conformance::{CHECKS, Fixture, run_all};

struct Shared(Arc<dyn Runtime>);

impl Fixture for Shared {
    async fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.clone()
    }

    fn remote_image(&self) -> Option<String> {
        Some("remote/image:1".into())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_at_once_on_one_runtime() {
    let mock = MockRuntime::new()
        .with_image("busybox")
        .with_remote_image("remote/image:1");
    let fixture = Shared(Arc::new(mock));
    let report = run_all(&fixture, "", CHECKS.len()).await;
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert_eq!(report.passed, CHECKS.len());
    // Each has cleared up after itself.
    let left = fixture.0.list_containers(false).await.unwrap();
    assert!(
        left.is_empty(),
        "{:?}",
        left.iter()
            .map(|container| &container.name)
            .collect::<Vec<_>>()
    );
}
