//! What comes out of containers: logs, files, statistics, images.

use serde_json::json;

use crate::containers::{create, finished};
use crate::harness::Harness;
use crate::stub::IMAGE;

#[tokio::test]
async fn logs_are_framed() {
    let harness = Harness::new();
    finished(&harness, "one", "echo out; sleep 0.1; echo err >&2").await;
    let answer = harness.get("/containers/one/logs?stdout=1&stderr=1").await;
    assert_eq!(
        answer.header("Content-Type"),
        Some("application/vnd.docker.multiplexed-stream")
    );
    assert_eq!(
        answer.body,
        b"\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x04err\n"
    );
    let old = harness
        .get("/v1.41/containers/one/logs?stdout=1&stderr=1")
        .await;
    assert_eq!(
        old.header("Content-Type"),
        Some("application/vnd.docker.raw-stream")
    );
    let neither = harness.get("/containers/one/logs").await;
    assert_eq!(neither.status, 400);
    assert_eq!(
        neither.message(),
        "Bad parameters: you must choose at least one stream"
    );
    let bad = harness.get("/containers/one/logs?stdout=1&since=x").await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn archives() {
    let harness = Harness::new();
    create(&harness, "?name=one", r#"{"Image":"busybox"}"#).await;
    let head = harness
        .request("HEAD", "/containers/one/archive?path=/etc", "")
        .await;
    let stat = head.header("X-Docker-Container-Path-Stat").unwrap();
    let stat = coracle_docker::archive::ContainerPathStat::from_header(stat).unwrap();
    assert_eq!(stat.name, "etc");
    let get = harness.get("/containers/one/archive?path=/etc").await;
    assert_eq!(get.header("Content-Type"), Some("application/x-tar"));
    assert_eq!(get.text(), "tar");
    let missing = harness.get("/containers/one/archive").await;
    assert_eq!(missing.status, 400);
    let put = harness
        .request("PUT", "/containers/one/archive?path=/", "12345")
        .await;
    assert_eq!(put.status, 200);
    assert_eq!(harness.stub.seen.lock().unwrap()["write_path"], "5");
    // What breaks on the way has no proper end.
    let mut stream = harness.connect().await;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream
        .write_all(b"GET /containers/one/export HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert!(
        bytes.ends_with(b"3\r\ntar\r\n"),
        "{:?}",
        String::from_utf8_lossy(&bytes)
    );
}

#[tokio::test]
async fn stats_compare_two_readings() {
    let harness = Harness::new();
    create(
        &harness,
        "?name=one",
        r#"{"Image":"busybox","Cmd":["sleep","2"]}"#,
    )
    .await;
    let stopped = harness.get("/containers/one/stats?stream=0").await.json();
    assert_eq!(stopped["name"], "/one");
    assert_eq!(stopped["read"], "0001-01-01T00:00:00Z");
    harness.post("/containers/one/start", "").await;
    let once = harness.get("/containers/one/stats?stream=0").await.json();
    assert_eq!(once["cpu_stats"]["cpu_usage"]["total_usage"], 2);
    assert_eq!(once["precpu_stats"]["cpu_usage"]["total_usage"], 1);
    assert_eq!(once["preread"], "1970-01-01T00:00:01Z");
    let shot = harness
        .get("/containers/one/stats?stream=0&one-shot=1")
        .await
        .json();
    assert_eq!(shot["cpu_stats"]["cpu_usage"]["total_usage"], 1);
    assert_eq!(shot["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    assert_eq!(shot["pids_stats"], json!({"current": 1, "limit": u64::MAX}));
    let stream = harness.get("/containers/one/stats").await.text();
    assert_eq!(stream.lines().count(), 2);
}

#[tokio::test]
async fn commit_and_changes() {
    let harness = Harness::new();
    create(&harness, "?name=one", r#"{"Image":"busybox"}"#).await;
    let changes = harness.get("/containers/one/changes").await.json();
    assert_eq!(changes, json!([{"Path": "/a", "Kind": 1}]));
    let commit = harness
        .post("/commit?container=one&repo=a&tag=b&pause=0", "")
        .await;
    assert_eq!((commit.status, commit.json()), (201, json!({"Id": IMAGE})));
    assert_eq!(
        harness.stub.seen.lock().unwrap()["commit"],
        "Some(\"a:b\") false"
    );
}
