//! The conformance suite on the mock.

use std::sync::Arc;

use coracle_mock::MockRuntime;
use coracle_runtime::Runtime;
use coracle_runtime::conformance::Fixture;

/// A mock for each check.
struct Mock;

impl Fixture for Mock {
    async fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(
            MockRuntime::new()
                .with_image("busybox")
                .with_remote_image("remote/image:1"),
        )
    }

    fn remote_image(&self) -> Option<String> {
        Some("remote/image:1".into())
    }
}

coracle_runtime::conformance_tests!(Mock);
