//! Hijacked connections, events, and what happens when clients leave.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::harness::{Harness, parse};

const SECOND: Duration = Duration::from_secs(1);

async fn create(harness: &Harness, json: &str) -> String {
    let answer = harness.post("/containers/create", json).await;
    answer.json()["Id"].as_str().unwrap().to_owned()
}

async fn dropped(harness: &Harness, what: &str) {
    timeout(5 * SECOND, async {
        while !harness.stub.dropped.lock().unwrap().contains(&what) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{what} goes on"));
}

fn hijack(path: &str, upgrade: bool, json: &str) -> String {
    let upgrade = if upgrade {
        "Connection: Upgrade\r\nUpgrade: tcp\r\n"
    } else {
        ""
    };
    let content = if json.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\n{upgrade}{content}Content-Length: {}\r\n\r\n{json}",
        json.len()
    )
}

#[tokio::test]
async fn attach_goes_both_ways_with_a_half_close() {
    for upgrade in [true, false] {
        let harness = Harness::new();
        let id = create(
            &harness,
            r#"{"Image":"busybox","Cmd":["cat"],"OpenStdin":true,"StdinOnce":true}"#,
        )
        .await;
        let mut stream = harness.connect().await;
        let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1");
        // The first input comes right behind the request.
        let request = hijack(&path, upgrade, "") + "one ";
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        harness.post(&format!("/containers/{id}/start"), "").await;
        stream.write_all(b"two").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        timeout(5 * SECOND, stream.read_to_end(&mut bytes))
            .await
            .unwrap()
            .unwrap();
        let answer = parse(&bytes);
        if upgrade {
            assert!(answer.head.starts_with("HTTP/1.1 101 UPGRADED\r\n"));
            assert_eq!(answer.header("Upgrade"), Some("tcp"));
            assert_eq!(
                answer.header("Content-Type"),
                Some("application/vnd.docker.multiplexed-stream")
            );
        } else {
            assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"));
            assert_eq!(
                answer.header("Content-Type"),
                Some("application/vnd.docker.raw-stream")
            );
        }
        let payload: Vec<u8> = frames(&answer.body).concat();
        assert_eq!(payload, b"one two");
    }
}

fn frames(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        frames.push(bytes[8..8 + length].to_vec());
        bytes = &bytes[8 + length..];
    }
    frames
}

#[tokio::test]
async fn attach_refuses_before_it_takes_the_connection() {
    let harness = Harness::new();
    let id = create(&harness, r#"{"Image":"busybox"}"#).await;
    let keys = harness
        .post(&format!("/containers/{id}/attach?detachKeys=nope"), "")
        .await;
    assert_eq!(keys.status, 400);
    assert_eq!(keys.message(), "Invalid detach keys (nope) provided");
    let missing = harness.post("/containers/nope/attach?stream=1", "").await;
    assert_eq!(missing.status, 404);
    let websocket = harness.get(&format!("/containers/{id}/attach/ws")).await;
    assert_eq!(websocket.status, 400);
    assert_eq!(
        websocket.message(),
        "not a WebSocket handshake of version 13"
    );
}

#[tokio::test]
async fn attach_over_a_websocket() {
    let harness = Harness::new();
    let id = create(
        &harness,
        r#"{"Image":"busybox","Cmd":["cat"],"OpenStdin":true,"StdinOnce":true}"#,
    )
    .await;
    let mut stream = harness.connect().await;
    let request = format!(
        "GET /v1.47/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    harness.post(&format!("/containers/{id}/start"), "").await;
    // Frames with a mask of zeros: a text, a ping, a close.
    let mut bytes = Vec::new();
    for (frame, answer) in [
        (&b"\x81\x85\0\0\0\0hello"[..], &b"\x82\x05hello"[..]),
        (b"\x89\x81\0\0\0\0p", b"\x8a\x01p"),
        (b"\x88\x80\0\0\0\0", b"\x88\x02\x03\xe8"),
    ] {
        stream.write_all(frame).await.unwrap();
        while !bytes.windows(answer.len()).any(|part| part == answer) {
            let read = timeout(5 * SECOND, stream.read_buf(&mut bytes)).await;
            assert_ne!(read.unwrap().unwrap(), 0, "{bytes:?}");
        }
    }
    let end = timeout(5 * SECOND, stream.read_to_end(&mut bytes)).await;
    end.unwrap().unwrap();
    let answer = parse(&bytes);
    assert_eq!(answer.status, 101);
    assert_eq!(
        answer.header("Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
}

#[tokio::test]
async fn exec_runs_and_tells_its_exit_code() {
    let harness = Harness::new();
    let id = create(&harness, r#"{"Image":"busybox","Cmd":["sleep","5"]}"#).await;
    let exec = async |json: &str| {
        let answer = harness.post(&format!("/containers/{id}/exec"), json).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["Id"].as_str().unwrap().to_owned()
    };
    let start = async |id: &str, json: &str, input: &[u8]| {
        let mut stream = harness.connect().await;
        let request = hijack(&format!("/exec/{id}/start"), true, json);
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(input).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        parse(&bytes)
    };
    let cat =
        exec(r#"{"Cmd":["sh","-c","cat; exit 7"],"AttachStdin":true,"AttachStdout":true}"#).await;
    let answer = start(&cat, r#"{"Detach":false,"Tty":false}"#, b"hello").await;
    assert_eq!(answer.status, 101);
    assert_eq!(frames(&answer.body).concat(), b"hello");
    assert_eq!(answer.header("Api-Version"), Some("1.47"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let inspect = harness.get(&format!("/exec/{cat}/json")).await.json();
    assert_eq!(inspect["ExitCode"], 7);
    assert_eq!(inspect["ProcessConfig"]["entrypoint"], "sh");
    assert_eq!(inspect["ContainerID"], Value::String(id.clone()));

    // A command that can't run is told in the stream, where the CLI looks for it.
    let nope = exec(r#"{"Cmd":["nope"],"AttachStdout":true}"#).await;
    let answer = start(&nope, r#"{"Detach":false,"Tty":false}"#, b"").await;
    assert_eq!(
        frames(&answer.body).concat(),
        b"executable file not found in $PATH\r\n"
    );
    let detached = harness
        .post(&format!("/exec/{nope}/start"), r#"{"Detach":true}"#)
        .await;
    assert_eq!(detached.status, 400);

    let empty = harness.post(&format!("/containers/{id}/exec"), "{}").await;
    assert_eq!(
        (empty.status, empty.message().as_str()),
        (400, "No exec command specified")
    );
    assert_eq!(harness.post("/exec/nope/start", "{}").await.status, 404);
}

#[tokio::test]
async fn wait_answers_its_head_at_once() {
    let harness = Harness::new();
    let id = create(
        &harness,
        r#"{"Image":"busybox","Cmd":["sh","-c","exit 42"]}"#,
    )
    .await;
    let mut stream = harness.connect().await;
    let request = hijack(
        &format!("/containers/{id}/wait?condition=next-exit"),
        false,
        "",
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    timeout(SECOND, stream.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    harness.post(&format!("/containers/{id}/start"), "").await;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with('{') {
        line.clear();
        timeout(5 * SECOND, reader.read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(line, "{\"StatusCode\":42}\n");
    let bad = harness
        .post(&format!("/containers/{id}/wait?condition=x"), "")
        .await;
    assert_eq!(
        (bad.status, bad.message().as_str()),
        (400, "invalid condition: \"x\"")
    );
}

#[tokio::test]
async fn a_client_that_leaves_frees_what_it_waited_for() {
    let harness = Harness::new();
    let id = create(&harness, r#"{"Image":"busybox"}"#).await;
    for (what, request) in [
        (
            "wait",
            hijack(
                &format!("/containers/{id}/wait?condition=next-exit"),
                false,
                "",
            ),
        ),
        (
            "pull",
            hijack("/images/create?fromImage=slow&tag=latest", false, ""),
        ),
        (
            "logs",
            format!("GET /containers/{id}/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n"),
        ),
    ] {
        let mut stream = harness.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(
            !harness.stub.dropped.lock().unwrap().contains(&what),
            "{what}"
        );
        drop(stream);
        dropped(&harness, what).await;
    }
}

#[tokio::test]
async fn what_changes_something_runs_to_its_end() {
    let harness = Harness::new();
    let mut stream = harness.connect().await;
    stream
        .write_all(b"DELETE /volumes/v HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(
        harness
            .stub
            .seen
            .lock()
            .unwrap()
            .contains_key("remove_volume")
    );
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answer() {
    let harness = Harness::new();
    let mut stream = harness.connect().await;
    stream
        .write_all(b"DELETE /volumes/v HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    timeout(5 * SECOND, stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(parse(&bytes).status, 204);
}

#[tokio::test]
async fn events_are_seen_from_the_head_on() {
    let harness = Harness::new();
    let mut stream = harness.connect().await;
    stream
        .write_all(b"GET /events?filters=%7B%22type%22:%5B%22container%22%5D%7D HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        timeout(SECOND, reader.read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
    }
    let id = create(&harness, r#"{"Image":"busybox","Labels":{"a":"b"}}"#).await;
    while !line.starts_with('{') {
        line.clear();
        timeout(SECOND, reader.read_line(&mut line))
            .await
            .unwrap()
            .unwrap();
    }
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["status"], "create");
    assert_eq!(event["Action"], "create");
    assert_eq!(event["id"], Value::String(id.clone()));
    assert_eq!(event["from"], "busybox");
    assert_eq!(event["Type"], "container");
    assert_eq!(event["scope"], "local");
    assert_eq!(event["Actor"]["Attributes"]["a"], "b");
    assert_eq!(
        event["timeNano"].as_i64().unwrap() / 1_000_000_000,
        event["time"].as_i64().unwrap()
    );
}

#[tokio::test]
async fn events_end_at_until() {
    let harness = Harness::new();
    let started = jiff::Timestamp::now();
    create(&harness, r#"{"Image":"busybox"}"#).await;
    let now = jiff::Timestamp::now();
    let seconds =
        |time: jiff::Timestamp| format!("{}.{:09}", time.as_second(), time.subsec_nanosecond());
    let path = format!("/events?since={}&until={}", seconds(started), seconds(now));
    let past = timeout(SECOND, harness.get(&path)).await.unwrap();
    assert_eq!(past.text().lines().count(), 1);
    let soon = now + Duration::from_millis(1300);
    let path = format!("/events?until={}", seconds(soon));
    let future = timeout(3 * SECOND, harness.get(&path)).await.unwrap();
    assert_eq!(future.text(), "");
    assert!(jiff::Timestamp::now() >= soon);
    let swapped = harness.get("/events?since=20&until=10").await;
    assert_eq!(swapped.status, 400);
    assert_eq!(
        swapped.message(),
        "`since` time (20) cannot be after `until` time (10)"
    );
}
