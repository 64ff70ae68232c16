//! Connections, limits, shutdown.

use std::time::Duration;

use coracle_api::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::{Harness, parse};

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_goes_on() {
    let harness = Harness::new();
    let mut stream = harness.connect().await;
    let request = b"GET /containers/panic/json HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(request).await.unwrap();
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).await.unwrap();
        let answer = parse(&bytes[..length]);
        assert_eq!(answer.status, 500);
        assert_eq!(answer.message(), "internal error");
    }
}

#[tokio::test]
async fn bodies_are_bounded() {
    let harness = Harness::with_config(ServerConfig {
        max_json: 100,
        ..ServerConfig::default()
    });
    let long = format!(r#"{{"Image":"{}"}}"#, "x".repeat(200));
    let answer = harness.post("/containers/create", &long).await;
    assert_eq!(answer.status, 413);
    assert_eq!(
        answer.message(),
        "the request's body is longer than 100 bytes"
    );
}

#[tokio::test]
async fn heads_are_bounded() {
    let harness = Harness::new();
    let headers: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let answer = harness
        .raw(&format!("GET /_ping HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
        .await;
    assert_eq!(answer.status, 431);
    let long = "x".repeat(100_000);
    let answer = harness
        .raw(&format!("GET /_ping?{long} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .await;
    assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
}

#[tokio::test]
async fn connections_are_bounded() {
    let harness = Harness::with_config(ServerConfig {
        max_connections: 1,
        ..ServerConfig::default()
    });
    let first = harness.connect().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(
        timeout(Duration::from_millis(200), harness.get("/_ping"))
            .await
            .is_err()
    );
    drop(first);
    let answer = timeout(Duration::from_secs(20), harness.get("/_ping"))
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn shutdown_lets_requests_end_and_ends_streams() {
    let harness = Harness::new();
    let mut idle = harness.connect().await;
    let mut events = harness.connect().await;
    events
        .write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut work = harness.connect().await;
    work.write_all(b"DELETE /volumes/v HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = harness.stop();
    timeout(Duration::from_secs(5), ended).await.unwrap();
    let mut bytes = Vec::new();
    work.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(parse(&bytes).status, 204);
    bytes.clear();
    events.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.ends_with(b"0\r\n\r\n"));
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn rubbish_is_refused() {
    let harness = Harness::new();
    for rubbish in [
        "\x16\x03\x01\x02\0\x01\0",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = harness.connect().await;
        stream.write_all(rubbish.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        timeout(Duration::from_secs(2), stream.read_to_end(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert!(
            bytes.is_empty() || parse(&bytes).status == 400,
            "{rubbish:?}"
        );
    }
    assert_eq!(harness.get("/_ping").await.status, 200);
}

#[tokio::test]
async fn a_refused_upload_gets_its_answer() {
    let harness = Harness::new();
    for _ in 0..20 {
        let (mut reader, mut writer) = tokio::io::split(harness.connect().await);
        let upload = tokio::spawn(async move {
            let head = "PUT /containers/x/archive HTTP/1.1\r\nHost: x\r\n\
                        Content-Length: 20000000\r\n\r\n";
            writer.write_all(head.as_bytes()).await.unwrap();
            let chunk = vec![0; 1 << 20];
            while writer.write_all(&chunk).await.is_ok() {}
        });
        let mut bytes = vec![0; 4096];
        let length = timeout(Duration::from_secs(5), reader.read(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(parse(&bytes[..length]).status, 400);
        drop(reader);
        upload.abort();
    }
}

#[tokio::test]
async fn what_does_not_end_is_cut_off() {
    let harness = Harness::with_config(ServerConfig {
        drain_limit: Duration::from_millis(100),
        ..ServerConfig::default()
    });
    let mut work = harness.connect().await;
    work.write_all(b"DELETE /volumes/v HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ended = harness.stop();
    timeout(Duration::from_secs(2), ended).await.unwrap();
    let mut bytes = Vec::new();
    work.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
}
