//! What is refused, and how.

use std::time::Duration;

use coracle_api::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Daemon, NOTHING};
use crate::harness::parse;

#[tokio::test]
async fn failures_have_one_form() {
    let d = Daemon::start(ServerConfig {
        max_json: 2000,
        ..ServerConfig::default()
    })
    .await;
    let json = "Content-Type: application/json\r\n";
    let long = vec![b' '; 3000];
    for (method, path, head, body, status, kind) in [
        ("GET", "/api", "", &b""[..], 404, "routeNotFound"),
        ("GET", "/api/v2/containers", "", b"", 404, "routeNotFound"),
        (
            "PUT",
            "/api/v1/containers",
            "",
            b"",
            405,
            "methodNotAllowed",
        ),
        (
            "POST",
            "/api/v1/containers",
            json,
            &long,
            413,
            "payloadTooLarge",
        ),
        (
            "POST",
            "/api/v1/containers",
            "",
            b"{}",
            415,
            "unsupportedMediaType",
        ),
        ("POST", "/api/v1/containers", json, b"{", 400, "invalidJson"),
        ("POST", "/api/v1/containers", json, b"", 400, "invalidJson"),
        (
            "POST",
            "/api/v1/containers",
            json,
            b"{\"image\":\"x\",\"nope\":1}",
            400,
            "invalidJson",
        ),
        (
            "GET",
            "/api/v1/containers?limit=x",
            "",
            b"",
            400,
            "invalidQuery",
        ),
        (
            "GET",
            "/api/v1/containers?limit=0",
            "",
            b"",
            400,
            "invalidQuery",
        ),
        (
            "GET",
            "/api/v1/containers?nope=1",
            "",
            b"",
            400,
            "invalidQuery",
        ),
        ("GET", "/api/v1/containers/nosuch", "", b"", 404, "notFound"),
        (
            "GET",
            "/api/v1/images/nosuch",
            "",
            b"",
            404,
            "imageNotFound",
        ),
    ] {
        let head = format!("{head}X-Request-Id: mine-1\r\n");
        let answer = d.send(method, path, &head, body).await;
        let told = answer.json();
        assert_eq!(answer.status, status, "{method} {path}: {told}");
        assert_eq!(told["error"], kind, "{method} {path}: {told}");
        assert_eq!(
            (&told["code"], &told["requestId"]),
            (&json!(status), &json!("mine-1"))
        );
        assert_eq!(answer.header("X-Request-Id"), Some("mine-1"));
    }
    let named = d
        .send("GET", "/api/v1/containers?limit=x", "", b"")
        .await
        .message();
    assert!(named.contains("limit: "), "{named}");
    let named = d
        .send(
            "POST",
            "/api/v1/networks",
            json,
            b"{\"name\":\"x\",\n\"nope\":1}",
        )
        .await;
    assert!(named.message().contains("`nope`") && named.message().contains("line 2"));
    // What is no id is not taken over.
    let odd = d
        .send("GET", "/api/v1/health", "X-Request-Id: a b\"\r\n", b"")
        .await;
    assert_eq!(odd.header("X-Request-Id").unwrap().len(), 16);
    assert!(
        d.send("GET", "/_ping", "", b"")
            .await
            .header("X-Request-Id")
            .is_some()
    );
}

#[tokio::test]
async fn too_many_requests_are_told_to_wait() {
    let d = Daemon::start(ServerConfig {
        rate: 1,
        ..ServerConfig::default()
    })
    .await;
    let mut last = d.ask("GET", "/health", NOTHING).await;
    for _ in 0..5 {
        last = d.ask("GET", "/health", NOTHING).await;
    }
    assert_eq!(last.status, 429);
    assert!(last.header("Retry-After").is_some());
    assert_eq!(last.json()["error"], "tooManyRequests");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limit = Duration::from_millis(100);
    let d = Daemon::start(ServerConfig {
        body_timeout: limit,
        ..ServerConfig::default()
    })
    .await;
    let mut stream = TcpStream::connect(d.address).await.unwrap();
    let head = "POST /api/v1/volumes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    let answer = parse(&bytes);
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (408, &json!("timeout"))
    );
}
