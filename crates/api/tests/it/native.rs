//! The native API over a runtime in memory: what the checks by its description don't see, as they ask
//! without sense. (`tests/native_api/run.sh` asks all routes.)

use std::sync::Arc;
use std::time::Duration;

use coracle_api::{Keys, Server, ServerConfig};
use coracle_mock::MockRuntime;
use coracle_native::key::Scope;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::{Answer, parse};

pub(crate) struct Daemon {
    address: std::net::SocketAddr,
    keys: Arc<Keys>,
    key: Option<String>,
}

impl Daemon {
    pub(crate) async fn start(config: ServerConfig) -> Self {
        let runtime = MockRuntime::new()
            .with_image("busybox")
            .with_remote_image("alpine");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Keys::in_memory();
        let server = Server::with_keys(Arc::new(runtime), config, keys.clone());
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        Self {
            address,
            keys,
            key: None,
        }
    }

    async fn send(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let key = match &self.key {
            Some(key) => format!("Authorization: Bearer {key}\r\n"),
            None => String::new(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}{head}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        timeout(Duration::from_secs(20), read)
            .await
            .unwrap()
            .unwrap();
        parse(&bytes)
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let path = format!("/api/v1{path}");
        if body.is_null() {
            return self.send(method, &path, "", b"").await;
        }
        let head = "Content-Type: application/json\r\n";
        self.send(method, &path, head, body.to_string().as_bytes())
            .await
    }

    /// The same; it has to end with this status.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: Value, status: u16) -> Answer {
        let answer = self.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer
    }

    pub(crate) async fn container(&self, name: &str, command: &[&str]) {
        let body = json!({"image": "busybox", "name": name, "command": command});
        self.ok("POST", "/containers", body, 201).await;
        let start = format!("/containers/{name}/start");
        self.ok("POST", &start, Value::Null, 200).await;
    }
}

pub(crate) fn lines(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn the_life_of_a_container() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sh", "-c", "echo out; echo err >&2; sleep 1000"])
        .await;
    let again = d
        .ok("POST", "/containers/web/start", Value::Null, 200)
        .await;
    assert_eq!(again.json()["changed"], false);
    let seen = d
        .ok("GET", "/containers/web", Value::Null, 200)
        .await
        .json();
    assert_eq!(seen["state"]["status"], "running");
    assert_eq!(seen["id"].as_str().unwrap().len(), 64);
    let by_state = d
        .ok(
            "GET",
            "/containers?status=running&label=x",
            Value::Null,
            200,
        )
        .await;
    assert_eq!(by_state.json()["items"], json!([]));
    for (action, status) in [("pause", "paused"), ("unpause", "running")] {
        d.ok(
            "POST",
            &format!("/containers/web/{action}"),
            Value::Null,
            204,
        )
        .await;
        let seen = d
            .ok("GET", "/containers/web", Value::Null, 200)
            .await
            .json();
        assert_eq!(seen["state"]["status"], status);
    }
    let refused = d
        .ok("DELETE", "/containers/web", Value::Null, 409)
        .await
        .json();
    assert_eq!(refused["error"], "invalidState");
    let update =
        json!({"resources": {"memory": 67_108_864}, "restartPolicy": {"name": "onFailure"}});
    d.ok("PATCH", "/containers/web", update, 200).await;
    let seen = d
        .ok("GET", "/containers/web", Value::Null, 200)
        .await
        .json();
    assert_eq!(seen["resources"]["memory"], 67_108_864);
    assert_eq!(seen["restartPolicy"]["name"], "onFailure");
    d.ok(
        "POST",
        "/containers/web/rename",
        json!({"name": "other"}),
        204,
    )
    .await;
    d.ok("GET", "/containers/other/processes", Value::Null, 200)
        .await;
    d.ok(
        "POST",
        "/containers/other/restart",
        json!({"timeout": 0}),
        204,
    )
    .await;
    d.ok(
        "POST",
        "/containers/other/kill",
        json!({"signal": "KILL"}),
        204,
    )
    .await;
    let exit = d
        .ok("POST", "/containers/other/wait", Value::Null, 200)
        .await
        .json();
    assert_eq!(exit["exitCode"], 137);
    d.ok(
        "DELETE",
        "/containers/other?force=true&volumes=true",
        Value::Null,
        204,
    )
    .await;
    d.ok("GET", "/containers/other", Value::Null, 404).await;
}

#[tokio::test]
async fn streams_say_how_they_ended() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sh", "-c", "echo out; echo err >&2"])
        .await;
    d.ok("POST", "/containers/web/wait", Value::Null, 200).await;
    let log = lines(
        &d.ok("GET", "/containers/web/logs?follow=true", Value::Null, 200)
            .await,
    );
    assert_eq!(
        (&log[0]["stream"], &log[0]["text"]),
        (&json!("stdout"), &json!("out"))
    );
    assert_eq!(log.last().unwrap(), &json!({"end": "complete"}));
    let only = lines(
        &d.ok("GET", "/containers/web/logs?stdout=false", Value::Null, 200)
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
    d.ok("GET", &format!("/execs/{id}"), Value::Null, 200).await;

    let pulled = lines(
        &d.ok("POST", "/images/pull", json!({"image": "alpine"}), 200)
            .await,
    );
    assert_eq!(pulled.last().unwrap(), &json!({"end": "complete"}));
    let missing = d
        .ask("POST", "/images/pull", json!({"image": "nosuch"}))
        .await;
    assert_eq!(missing.status, 404, "{}", missing.text());
    let stats = lines(
        &d.ok("GET", "/containers/long/stats", Value::Null, 200)
            .await,
    );
    assert!(stats[0]["memory"]["usage"].as_u64().unwrap() > 0 && stats.len() == 2);
    let events = d
        .ok(
            "GET",
            "/events?follow=false&after=0&kind=container",
            Value::Null,
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
    assert_eq!(lines(&d.ok("GET", &none, Value::Null, 200).await).len(), 1);
}

#[tokio::test]
async fn images_files_networks_volumes_and_secrets() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.ok(
        "POST",
        "/images/busybox/tag",
        json!({"name": "localhost:5000/a/b:c"}),
        204,
    )
    .await;
    let tagged = d
        .ok("GET", "/images/localhost:5000%2Fa%2Fb:c", Value::Null, 200)
        .await
        .json();
    d.ok("GET", "/images/busybox/history", Value::Null, 200)
        .await;
    let saved = d
        .ok("GET", "/image-archives?name=busybox", Value::Null, 200)
        .await;
    let tar = "Content-Type: application/x-tar\r\n";
    let loaded = d
        .send("POST", "/api/v1/image-archives", tar, &saved.body)
        .await;
    assert_eq!(lines(&loaded).last().unwrap(), &json!({"end": "complete"}));
    let removed = d
        .ok(
            "DELETE",
            "/images/localhost:5000%2Fa%2Fb:c",
            Value::Null,
            200,
        )
        .await
        .json();
    assert_eq!(
        removed["untagged"],
        json!(["localhost:5000/a/b:c"]),
        "{tagged}"
    );

    d.container("web", &["sleep", "1000"]).await;
    let files = d
        .ok(
            "GET",
            "/containers/web/files?path=/etc/passwd",
            Value::Null,
            200,
        )
        .await;
    let put = "/api/v1/containers/web/files?path=/tmp";
    assert_eq!(d.send("PUT", put, tar, &files.body).await.status, 204);
    let info = d
        .ok(
            "GET",
            "/containers/web/files/info?path=/tmp/passwd",
            Value::Null,
            200,
        )
        .await;
    assert_eq!(info.json()["name"], "passwd");
    let changes = d
        .ok("GET", "/containers/web/changes", Value::Null, 200)
        .await
        .json();
    assert!(changes.to_string().contains("/tmp/passwd"), "{changes}");

    let made = d
        .ok(
            "POST",
            "/networks",
            json!({"name": "back", "labels": {"a": "b"}}),
            201,
        )
        .await;
    assert_eq!(made.json()["labels"]["a"], "b");
    d.ok(
        "POST",
        "/networks/back/connect",
        json!({"container": "web"}),
        204,
    )
    .await;
    d.ok("DELETE", "/networks/back", Value::Null, 409).await;
    d.ok(
        "POST",
        "/networks/back/disconnect",
        json!({"container": "web"}),
        204,
    )
    .await;
    d.ok("DELETE", "/networks/back", Value::Null, 204).await;

    for name in ["vc", "va", "vb"] {
        d.ok("POST", "/volumes", json!({"name": name}), 201).await;
    }
    let first = d
        .ok("GET", "/volumes?limit=2", Value::Null, 200)
        .await
        .json();
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = d
        .ok(
            "GET",
            &format!("/volumes?cursor={cursor}"),
            Value::Null,
            200,
        )
        .await
        .json();
    assert_eq!(
        (&rest["items"][0]["name"], rest.get("nextCursor")),
        (&json!("vc"), None)
    );
    d.ok("DELETE", "/volumes/vc", Value::Null, 204).await;
    d.ok("POST", "/volumes/prune", json!({"all": true}), 200)
        .await;

    let secret = json!({"name": "s", "base64": "b3BlbiBzZXNhbWU="});
    let id = d.ok("POST", "/secrets", secret, 201).await.json()["id"].clone();
    let seen = d.ok("GET", "/secrets/s", Value::Null, 200).await.text();
    assert!(
        seen.contains(id.as_str().unwrap()) && !seen.contains("b3Blb"),
        "{seen}"
    );
    let odd = json!({"name": "t", "base64": 5, "hush": "open sesame"});
    let refused = d.ok("POST", "/secrets", odd, 400).await.text();
    assert!(!refused.contains("sesame"), "{refused}");
    d.ok(
        "POST",
        "/configs",
        json!({"name": "c", "base64": "eA=="}),
        201,
    )
    .await;
    assert_eq!(
        d.ok("GET", "/configs/c", Value::Null, 200).await.json()["base64"],
        "eA=="
    );
    d.ok("POST", "/secrets/rotate", Value::Null, 200).await;
}

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
async fn keys_open_both_apis() {
    let mut d = Daemon::start(ServerConfig::default()).await;
    assert_eq!(d.send("GET", "/_ping", "", b"").await.status, 200);
    let (reader, read) = d.keys.create("r", Scope::Read, None).await.unwrap();
    let (_, write) = d.keys.create("w", Scope::Write, None).await.unwrap();
    let (_, admin) = d.keys.create("a", Scope::Admin, None).await.unwrap();
    for path in ["/_ping", "/v1.47/info", "/api/v1/health", "/metrics"] {
        let answer = d.send("GET", path, "", b"").await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.header("WWW-Authenticate"), Some("Bearer"));
    }
    let volume = json!({"name": "vol"});
    for (key, looks, changes, keys) in [
        (&read, 200, 403, 403),
        (&write, 200, 201, 403),
        (&admin, 200, 201, 200),
    ] {
        d.key = Some(key.clone());
        assert_eq!(d.ask("GET", "/volumes", Value::Null).await.status, looks);
        assert_eq!(d.send("GET", "/info", "", b"").await.status, looks);
        assert_eq!(
            d.ask("POST", "/volumes", volume.clone()).await.status,
            changes
        );
        assert_eq!(d.ask("GET", "/keys", Value::Null).await.status, keys);
    }
    let made = d
        .ok("POST", "/keys", json!({"name": "n", "scope": "read"}), 201)
        .await
        .json();
    let listed = d.ok("GET", "/keys", Value::Null, 200).await.text();
    assert!(!listed.contains(made["secret"].as_str().unwrap()));

    // A stream that a key opened ends with the key.
    let mut follow = TcpStream::connect(d.address).await.unwrap();
    let head =
        format!("GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {read}\r\n\r\n");
    follow.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 4096];
    assert!(follow.read(&mut bytes).await.unwrap() > 0);
    d.ok("DELETE", &format!("/keys/{}", reader.id), Value::Null, 204)
        .await;
    bytes.clear();
    timeout(Duration::from_secs(5), follow.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    d.key = Some(read);
    d.ok("GET", "/health", Value::Null, 401).await;
}

#[tokio::test]
async fn too_many_requests_are_told_to_wait() {
    let d = Daemon::start(ServerConfig {
        rate: 1,
        ..ServerConfig::default()
    })
    .await;
    let mut last = d.ask("GET", "/health", Value::Null).await;
    for _ in 0..5 {
        last = d.ask("GET", "/health", Value::Null).await;
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

#[tokio::test]
async fn metrics_and_history() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sleep", "1000"]).await;
    d.ok("GET", "/containers/web", Value::Null, 200).await;
    let metrics = d.send("GET", "/metrics", "", b"").await;
    assert!(
        metrics
            .header("Content-Type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let text = metrics.text();
    for line in [
        "coracle_http_requests_total{method=\"GET\",route=\"/api/v1/containers/{container}\",status=\"200\"} 1",
        "coracle_containers{state=\"running\"} 1",
        "coracle_open_connections 1",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in {text}"
        );
    }
    assert!(text.contains("coracle_container_memory_bytes{id=\""));
    // The first question begins it.
    let mut history = d
        .ok("GET", "/containers/web/stats/history", Value::Null, 200)
        .await
        .json();
    for _ in 0..100 {
        if history["readings"] != json!([]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        history = d
            .ok("GET", "/containers/web/stats/history", Value::Null, 200)
            .await
            .json();
    }
    assert!(
        history["readings"][0]["memory"].as_u64().unwrap() > 0,
        "{history}"
    );
    assert_eq!(history["interval"], 10);
    d.ok("GET", "/containers/nosuch/stats/history", Value::Null, 404)
        .await;
}

#[tokio::test]
async fn the_description_is_whole() {
    let d = Daemon::start(ServerConfig::default()).await;
    let api = d.ok("GET", "/openapi.json", Value::Null, 200).await.json();
    assert_eq!(api["openapi"], "3.1.0");
    // Whatever is referred to is there.
    let text = api.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(api["components"]["schemas"].get(name).is_some(), "{name}");
    }
    let paths = api["paths"].as_object().unwrap();
    assert!(paths.len() > 50, "{}", paths.len());
    for path in [
        "/version",
        "/info",
        "/capabilities",
        "/disk-usage",
        "/kernels",
        "/secrets",
    ] {
        assert!(paths.contains_key(path), "{path}");
        d.ok("GET", path, Value::Null, 200).await;
    }
}
