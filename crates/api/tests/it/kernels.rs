//! Guest kernels, over a runtime that has none.

use crate::harness::Harness;

#[tokio::test]
async fn a_runtime_without_them_says_so() {
    let harness = Harness::new();
    for (method, path, body) in [
        ("GET", "/api/v1/kernels", ""),
        ("POST", "/api/v1/kernels", r#"{"path":"/x"}"#),
        ("GET", "/api/v1/kernels/default", ""),
        ("PUT", "/api/v1/kernels/default", r#"{"name":"x"}"#),
        ("GET", "/api/v1/kernels/x", ""),
        ("DELETE", "/api/v1/kernels/x", ""),
    ] {
        let answer = harness.request(method, path, body).await;
        assert_eq!(answer.status, 501, "{method} {path}: {}", answer.text());
        assert!(answer.message().ends_with("not supported by this runtime"));
        assert_eq!(answer.json()["error"], "notSupported");
    }
}

#[tokio::test]
async fn bad_requests() {
    let harness = Harness::new();
    for (method, path, body, status) in [
        ("POST", "/api/v1/kernels", "", 400),
        ("POST", "/api/v1/kernels", "{", 400),
        ("POST", "/api/v1/kernels", r#"{"Path":"/x"}"#, 400),
        ("PUT", "/api/v1/kernels/default", "", 400),
        ("DELETE", "/api/v1/kernels/default", "", 405),
        ("PATCH", "/api/v1/kernels", "", 405),
        ("GET", "/api/v1/kernels/a/b", "", 404),
    ] {
        let answer = harness.request(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.json()["code"], status);
        let id = answer.header("X-Request-Id").unwrap();
        assert_eq!(answer.json()["requestId"], id);
    }
}
