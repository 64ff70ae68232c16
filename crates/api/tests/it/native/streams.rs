//! Streams of lines.

use coracle_api::ServerConfig;
use serde_json::json;

use super::{Daemon, NOTHING, lines};

#[tokio::test]
async fn streams_say_how_they_ended() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sh", "-c", "echo out; echo err >&2"])
        .await;
    d.ok("POST", "/containers/web/wait", NOTHING, 200).await;
    let log = lines(
        &d.ok("GET", "/containers/web/logs?follow=true", NOTHING, 200)
            .await,
    );
    assert_eq!(
        (&log[0]["stream"], &log[0]["text"]),
        (&json!("stdout"), &json!("out"))
    );
    assert_eq!(log.last().unwrap(), &json!({"end": "complete"}));
    let only = lines(
        &d.ok("GET", "/containers/web/logs?stdout=false", NOTHING, 200)
            .await,
    );
    assert_eq!((&only[0]["text"], only.len()), (&json!("err"), 2));

    d.container("long", &["sleep", "1000"]).await;
    let body = json!({"command": ["sh", "-c", "cat; exit 3"], "stdin": "hello"});
    let answer = d.ok("POST", "/containers/long/exec", body, 200).await;
    assert_eq!(answer.header("Content-Type"), Some("application/x-ndjson"));
    let output = lines(&answer);
    assert_eq!(output[0], json!({"stream": "stdout", "text": "hello"}));
    assert_eq!(
        output.last().unwrap(),
        &json!({"end": "complete", "exitCode": 3})
    );
    let detached = json!({"command": ["sleep", "5"], "detach": true});
    let exec = d
        .ok("POST", "/containers/long/exec", detached, 200)
        .await
        .json();
    let id = exec["id"].as_str().unwrap();
    d.ok("GET", &format!("/execs/{id}"), NOTHING, 200).await;

    let pulled = lines(
        &d.ok("POST", "/images/pull", json!({"image": "alpine"}), 200)
            .await,
    );
    assert_eq!(pulled.last().unwrap(), &json!({"end": "complete"}));
    let missing = d
        .ask("POST", "/images/pull", json!({"image": "nosuch"}))
        .await;
    assert_eq!(missing.status, 404, "{}", missing.text());
    let stats = lines(&d.ok("GET", "/containers/long/stats", NOTHING, 200).await);
    assert!(stats[0]["memory"]["usage"].as_u64().unwrap() > 0 && stats.len() == 2);
    let events = d
        .ok(
            "GET",
            "/events?follow=false&after=0&kind=container",
            NOTHING,
            200,
        )
        .await;
    let events = lines(&events);
    let actions: Vec<_> = events
        .iter()
        .filter_map(|event| event["action"].as_str())
        .collect();
    assert!(actions.starts_with(&["create", "start"]), "{actions:?}");
    let last = events[events.len() - 2]["sequence"].as_u64().unwrap();
    let none = format!("/events?follow=false&after={last}&kind=container");
    assert_eq!(lines(&d.ok("GET", &none, NOTHING, 200).await).len(), 1);
}
