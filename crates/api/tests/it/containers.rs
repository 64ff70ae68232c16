//! Containers over raw HTTP.

use serde_json::{Value, json};

use crate::harness::Harness;
use crate::stub::IMAGE;

pub(crate) async fn create(harness: &Harness, query: &str, json: &str) -> String {
    let answer = harness
        .post(&format!("/containers/create{query}"), json)
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["Id"].as_str().unwrap().to_owned()
}

pub(crate) async fn finished(harness: &Harness, name: &str, script: &str) {
    let json = json!({"Image": "busybox", "Cmd": ["sh", "-c", script]}).to_string();
    create(harness, &format!("?name={name}"), &json).await;
    let (wait, start) = tokio::join!(
        async {
            let path = format!("/containers/{name}/wait?condition=next-exit");
            harness.post(&path, "").await
        },
        async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            harness.post(&format!("/containers/{name}/start"), "").await
        }
    );
    assert_eq!((wait.status, start.status), (200, 204));
}

#[tokio::test]
async fn create_is_strict() {
    let harness = Harness::new();
    for (query, body, text) in [
        (
            "?name=-x",
            r#"{"Image":"busybox"}"#,
            "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        ),
        ("", "", "invalid JSON: got EOF while reading request body"),
        (
            "",
            "null",
            "config cannot be empty in order to create a container",
        ),
        ("", r#"{"Image":"a"} x"#, "unexpected content after JSON"),
        (
            "",
            r#"{"Image":"busybox","Env":["="]}"#,
            "invalid environment variable: =",
        ),
    ] {
        let answer = harness
            .post(&format!("/containers/create{query}"), body)
            .await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.message(), text);
    }
    let answer = harness.post("/containers/create", "{").await;
    assert!(answer.message().starts_with("invalid JSON: "));
    let answer = harness
        .post("/containers/create", r#"{"Image":"busybox","Tty":"yes"}"#)
        .await;
    assert_eq!(answer.status, 400);
    let missing = harness
        .post("/containers/create", r#"{"Image":"nope"}"#)
        .await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.message(), "No such image: nope:latest");
    let text = harness
        .raw(
            "POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
        )
        .await;
    assert_eq!(
        text.message(),
        "unsupported Content-Type header (text/plain): must be 'application/json'"
    );
}

#[tokio::test]
async fn names_conflict() {
    let harness = Harness::new();
    create(&harness, "?name=/web", r#"{"Image":"busybox"}"#).await;
    let answer = harness
        .post("/containers/create?name=web", r#"{"Image":"busybox"}"#)
        .await;
    assert_eq!(answer.status, 409);
    assert!(
        answer
            .message()
            .starts_with("Conflict. The container name \"/web\"")
    );
}

#[tokio::test]
async fn a_summary_is_dockers() {
    let harness = Harness::new();
    let id = create(
        &harness,
        "?name=web",
        r#"{"Image":"busybox","Cmd":["sh","-c","sleep 1"],"Labels":{"a":"b"}}"#,
    )
    .await;
    let list = harness.get("/containers/json?all=1").await.json();
    let created = list[0]["Created"].clone();
    assert_eq!(
        list,
        json!([{
            "Id": id,
            "Names": ["/web"],
            "Image": "busybox",
            "ImageID": IMAGE,
            "Command": "sh -c 'sleep 1'",
            "Created": created,
            "Ports": [],
            "Labels": {"a": "b"},
            "State": "created",
            "Status": "Created",
            "HostConfig": {"NetworkMode": "bridge"},
            "NetworkSettings": {"Networks": {}},
            "Mounts": [],
        }])
    );
    assert_eq!(harness.get("/containers/json").await.json(), json!([]));
}

#[tokio::test]
async fn inspect_has_null_and_empty_where_dockerd_has() {
    let harness = Harness::new();
    create(&harness, "?name=web", r#"{"Image":"busybox"}"#).await;
    let answer = harness.get("/containers/web/json").await;
    let body = answer.json();
    assert_eq!(body["Name"], "/web");
    assert_eq!(body["ExecIDs"], Value::Null);
    assert_eq!(body["AppArmorProfile"], "");
    assert_eq!(body["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(body["State"]["Status"], "created");
    assert_eq!(body["State"]["Running"], false);
    assert!(body["State"].get("Health").is_none());
    assert!(body.get("SizeRw").is_none());
    let host = &body["HostConfig"];
    for null in [
        "Binds",
        "CapAdd",
        "CapDrop",
        "VolumesFrom",
        "ExtraHosts",
        "GroupAdd",
        "Links",
        "SecurityOpt",
        "DeviceRequests",
        "DeviceCgroupRules",
        "PidsLimit",
        "MemorySwappiness",
    ] {
        assert_eq!(host[null], Value::Null, "{null}");
        assert!(host.get(null).is_some(), "{null}");
    }
    for empty in [
        "Dns",
        "DnsOptions",
        "DnsSearch",
        "Devices",
        "Ulimits",
        "BlkioWeightDevice",
    ] {
        assert_eq!(host[empty], json!([]), "{empty}");
    }
    assert_eq!(host["PortBindings"], json!({}));
    assert_eq!(host["ConsoleSize"], json!([0, 0]));
    assert_eq!(
        host["RestartPolicy"],
        json!({"Name": "no", "MaximumRetryCount": 0})
    );
    assert!(
        host["MaskedPaths"]
            .as_array()
            .unwrap()
            .contains(&json!("/proc/kcore"))
    );
    assert!(host.get("Init").is_none());
    assert_eq!(body["Config"]["Volumes"], Value::Null);
    assert_eq!(body["Config"]["Entrypoint"], Value::Null);
    assert!(body["Config"].get("Healthcheck").is_none());
    assert_eq!(body["NetworkSettings"]["SecondaryIPAddresses"], Value::Null);
    assert_eq!(body["NetworkSettings"]["Ports"], json!({}));
    // The order is dockerd's too: `docker inspect` shows it.
    let text = answer.text();
    let place = |key: &str| text.find(&format!("\"{key}\":")).unwrap();
    assert!(place("Id") < place("Created") && place("Created") < place("Path"));
    assert!(
        place("HostConfig") < place("GraphDriver") && place("Mounts") < place("NetworkSettings")
    );
}

#[tokio::test]
async fn lists_are_filtered() {
    let harness = Harness::new();
    finished(&harness, "one", "exit 3").await;
    create(
        &harness,
        "?name=two",
        r#"{"Image":"busybox","Labels":{"x":"1"}}"#,
    )
    .await;
    create(
        &harness,
        "?name=three",
        r#"{"Image":"busybox","ExposedPorts":{"80/tcp":{}},
            "HostConfig":{"PortBindings":{"53/udp":[{"HostPort":"53"}]}}}"#,
    )
    .await;
    for (query, names) in [
        ("all=1", vec!["three", "two", "one"]),
        ("limit=2", vec!["three", "two"]),
        ("limit=-1", vec![]),
        (r#"all=1&filters={"name":["t"]}"#, vec!["three", "two"]),
        (r#"all=1&filters={"name":["^/t.o$"]}"#, vec!["two"]),
        (r#"all=1&filters={"label":["x"]}"#, vec!["two"]),
        (r#"filters={"status":["exited"]}"#, vec!["one"]),
        (
            r#"filters={"status":{"created":true}}"#,
            vec!["three", "two"],
        ),
        (r#"all=1&filters={"exited":["3"]}"#, vec!["one"]),
        (r#"all=1&filters={"exited":["4"]}"#, vec![]),
        (r#"all=1&filters={"before":["two"]}"#, vec!["one"]),
        (r#"all=1&filters={"since":["two"]}"#, vec!["three"]),
        ("all=1&since=one", vec!["three", "two"]),
        (
            r#"all=1&filters={"ancestor":["busybox"]}"#,
            vec!["three", "two", "one"],
        ),
        (r#"all=1&filters={"ancestor":["nope"]}"#, vec![]),
        (r#"all=1&filters={"expose":["80"]}"#, vec![]),
        (r#"all=1&filters={"publish":["50-60/udp"]}"#, vec![]),
        (
            r#"all=1&filters={"health":["none"]}"#,
            vec!["three", "two", "one"],
        ),
        (r#"all=1&filters={"is-task":["true"]}"#, vec![]),
        (r#"all=1&filters={"network":["nope"]}"#, vec![]),
        (r#"all=1&filters={"volume":["data"]}"#, vec![]),
    ] {
        let query = query
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22");
        let query = query
            .replace('^', "%5E")
            .replace('[', "%5B")
            .replace(']', "%5D");
        let answer = harness.get(&format!("/containers/json?{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        let json = answer.json();
        let found: Vec<&str> = json
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["Names"][0].as_str().unwrap().trim_start_matches('/'))
            .collect();
        assert_eq!(found, names, "{query}");
    }
    // As people type it.
    let raw = harness
        .raw(
            "GET /containers/json?filters={\"status\":[\"exited\"]} HTTP/1.1\r\nHost: x\r\n\
             Connection: close\r\n\r\n",
        )
        .await;
    assert_eq!(raw.json()[0]["Names"][0], "/one");
    for (query, status) in [
        ("limit=x", 400),
        ("filters=%7B%22nope%22:%5B%22x%22%5D%7D", 400),
        ("filters=%7B%22status%22:%5B%22nope%22%5D%7D", 400),
        ("filters=%7B%22before%22:%5B%22nope%22%5D%7D", 404),
        ("filters=x", 400),
    ] {
        let answer = harness.get(&format!("/containers/json?{query}")).await;
        assert_eq!(answer.status, status, "{query}");
    }
}

#[tokio::test]
async fn lifecycle_statuses_are_dockers() {
    let harness = Harness::new();
    finished(&harness, "one", "echo out; echo err >&2").await;
    assert_eq!(harness.post("/containers/one/stop", "").await.status, 304);
    harness
        .post("/v1.41/containers/one/stop?signal=INT&t=5", "")
        .await;
    let seen = harness.stub.seen.lock().unwrap()["stop"].clone();
    assert_eq!(seen, "StopOptions { signal: None, timeout: Some(5) }");
    let kill = harness.post("/containers/one/kill", "").await;
    assert_eq!(kill.status, 409);
    assert_eq!(harness.stub.seen.lock().unwrap()["kill"], "KILL");
    assert_eq!(
        harness.post("/containers/one/stop?t=x", "").await.status,
        400
    );
    assert_eq!(harness.post("/containers/nope/start", "").await.status, 404);
    let body = harness
        .post("/containers/one/start", r#"{"Binds":[]}"#)
        .await;
    assert_eq!(body.status, 400);
    assert_eq!(
        harness
            .post("/containers/one/rename?name=two", "")
            .await
            .status,
        204
    );
    assert_eq!(
        harness
            .post("/containers/two/rename?name=/-", "")
            .await
            .status,
        400
    );
    assert_eq!(harness.post("/containers/two/rename", "").await.status, 400);
    assert_eq!(
        harness
            .post("/containers/two/resize?h=10&w=20", "")
            .await
            .status,
        200
    );
    assert_eq!(
        harness.post("/containers/two/resize?h=x", "").await.status,
        400
    );
    let update = harness
        .post("/containers/two/update", r#"{"PidsLimit":-1}"#)
        .await;
    assert_eq!(update.json(), json!({"Warnings": null}));
    assert_eq!(harness.stub.seen.lock().unwrap()["update"], "Some(0)");
    let bad = r#"{"RestartPolicy":{"Name":"x"}}"#;
    assert_eq!(
        harness.post("/containers/two/update", bad).await.status,
        400
    );
    assert_eq!(harness.post("/containers/two/pause", "").await.status, 501);
    let prune = harness.post("/containers/prune", "").await;
    assert_eq!(
        prune.json(),
        json!({"ContainersDeleted": null, "SpaceReclaimed": 0})
    );
    assert_eq!(
        harness
            .request("DELETE", "/containers/two", "")
            .await
            .status,
        204
    );
    assert_eq!(
        harness
            .request("DELETE", "/containers/two", "")
            .await
            .status,
        404
    );
}
