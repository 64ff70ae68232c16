//! Images, networks, volumes over raw HTTP.

use serde_json::{Value, json};

use crate::harness::Harness;
use crate::stub::IMAGE;

#[tokio::test]
async fn names_with_slashes_are_routed() {
    let harness = Harness::new();
    let one = harness.get("/images/h:5000/a/b/json").await;
    assert_eq!(one.json()["Id"], "sha256:cc");
    let missing = harness.get("/images/h:5000/a/c/json").await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.message(), "No such image: h:5000/a/c");
    let tag = harness
        .post("/images/h:5000/a/b/tag?repo=x/y&tag=1", "")
        .await;
    assert_eq!(tag.status, 201);
    assert_eq!(harness.stub.seen.lock().unwrap()["tag"], "h:5000/a/b x/y:1");
    let push = harness.post("/images/h:5000/a/b/push?tag=1", "").await;
    assert_eq!(push.status, 200);
    assert_eq!(
        harness.stub.seen.lock().unwrap()["push"],
        "h:5000/a/b:1 false"
    );
    let escaped = harness.get("/images/h:5000%2Fa%2Fb/json").await;
    assert_eq!(escaped.status, 200);
    let removed = harness
        .request("DELETE", "/images/busybox:latest", "")
        .await;
    assert_eq!(
        removed.json(),
        json!([{"Untagged": "busybox:latest"}, {"Deleted": IMAGE}])
    );
}

#[tokio::test]
async fn lists_by_version() {
    let harness = Harness::new();
    let list = harness.get("/images/json").await.json();
    assert_eq!(
        list[0],
        json!({
            "Containers": -1,
            "Created": 1_767_323_045,
            "Id": IMAGE,
            "Labels": null,
            "ParentId": "",
            "RepoDigests": [format!("busybox@{IMAGE}")],
            "RepoTags": ["busybox:latest"],
            "SharedSize": -1,
            "Size": 4_261_550,
        })
    );
    assert_eq!(list[1]["RepoTags"], json!([]));
    let old = harness.get("/v1.42/images/json").await.json();
    assert_eq!(old[0]["VirtualSize"], 4_261_550);
    assert_eq!(old[1]["RepoTags"], json!(["<none>:<none>"]));
    let filtered = |json: &str| {
        let json = json
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22");
        format!("/images/json?filters={json}")
    };
    for (filter, count) in [
        (r#"{"dangling":["true"]}"#, 1),
        (r#"{"dangling":["0"]}"#, 1),
        (r#"{"reference":["busy*"]}"#, 1),
        (r#"{"reference":["x"]}"#, 0),
        (r#"{"label":["x"]}"#, 0),
        (r#"{"until":["1h"]}"#, 2),
        (r#"{"before":["busybox"]}"#, 1),
        (r#"{"since":["busybox"]}"#, 0),
    ] {
        let answer = harness.get(&filtered(filter)).await;
        assert_eq!(
            answer.json().as_array().map(Vec::len),
            Some(count),
            "{filter}"
        );
    }
    for bad in [
        r#"{"dangling":["x"]}"#,
        r#"{"until":["x"]}"#,
        r#"{"x":["x"]}"#,
    ] {
        assert_eq!(harness.get(&filtered(bad)).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn inspect_by_version() {
    let harness = Harness::new();
    let new = harness.get("/images/busybox/json").await.json();
    assert_eq!(
        new["RootFS"],
        json!({"Type": "layers", "Layers": ["sha256:11"]})
    );
    assert_eq!(new["Created"], "2026-01-02T03:04:05Z");
    assert!(new.get("VirtualSize").is_none() && new.get("ContainerConfig").is_none());
    let old = harness.get("/v1.40/images/busybox/json").await.json();
    assert_eq!(old["VirtualSize"], 4_261_550);
    assert!(old["ContainerConfig"].is_object());
    let history = harness.get("/images/busybox/history").await.json();
    assert_eq!(history[0]["Id"], IMAGE);
    assert_eq!(history[1]["Id"], "<missing>");
    assert_eq!(history[1]["Tags"], Value::Null);
}

#[tokio::test]
async fn pulls_stream_progress() {
    let harness = Harness::new();
    let answer = harness
        .post("/images/create?fromImage=busybox&tag=latest", "")
        .await;
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let text = answer.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"status":"Pulling from library/busybox","id":"latest"}"#
    );
    assert_eq!(
        lines[1],
        concat!(
            r#"{"status":"Downloading","progressDetail":{"current":5,"total":10},"progress":"#,
            r#""[=========================>                         ]       5B/10B","#,
            r#""id":"0123456789ab"}"#
        )
    );
    assert_eq!(
        lines[2],
        r#"{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}"#
    );
    let seen = || harness.stub.seen.lock().unwrap()["pull"].clone();
    assert_eq!(seen(), "busybox:latest false");
    harness.post("/images/create?fromImage=busybox", "").await;
    assert_eq!(seen(), "busybox true");
}

#[tokio::test]
async fn pull_errors_have_a_status_while_they_can() {
    let harness = Harness::new();
    let pull = async |name: &str| {
        harness
            .post(&format!("/images/create?fromImage={name}&tag=latest"), "")
            .await
    };
    let missing = pull("missing").await;
    assert_eq!(
        (missing.status, missing.message().as_str()),
        (404, "no such repository")
    );
    let late = pull("late").await;
    assert_eq!(
        (late.status, late.message().as_str()),
        (502, "registry on fire")
    );
    let broken = pull("broken").await;
    assert_eq!(broken.status, 200);
    assert_eq!(
        broken.text(),
        "{\"status\":\"Working\"}\r\n\
         {\"errorDetail\":{\"message\":\"registry on fire\"},\"error\":\"registry on fire\"}\r\n"
    );
    assert_eq!(harness.post("/images/create", "").await.status, 400);
    assert_eq!(
        harness
            .post("/images/create?fromSrc=http://x", "")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn credentials_come_in_a_header() {
    let harness = Harness::new();
    let auth = coracle_docker::auth::AuthConfig {
        username: "me".into(),
        ..Default::default()
    };
    let request = format!(
        "POST /images/create?fromImage=busybox&tag=latest HTTP/1.1\r\nHost: x\r\n\
         Connection: close\r\nX-Registry-Auth: {}\r\nContent-Length: 0\r\n\r\n",
        auth.to_header()
    );
    harness.raw(&request).await;
    assert_eq!(harness.stub.seen.lock().unwrap()["auth"], "me");
}

#[tokio::test]
async fn archives_go_in_and_out() {
    let harness = Harness::new();
    let get = harness.get("/images/get?names=a&names=b:1").await;
    assert_eq!(get.text(), "tar");
    assert_eq!(harness.stub.seen.lock().unwrap()["save"], "a b:1");
    harness.get("/images/h:1/a/get").await;
    assert_eq!(harness.stub.seen.lock().unwrap()["save"], "h:1/a");
    assert_eq!(harness.get("/images/get").await.status, 400);
    let load = harness.post("/images/load?quiet=1", "123").await;
    assert_eq!(load.text(), "{\"stream\":\"Loaded 3\\n\"}\r\n");
    let import = harness
        .post(
            "/images/create?fromSrc=-&repo=a&changes=CMD%20x&changes=ENV%20a=b",
            "123",
        )
        .await;
    assert_eq!(import.text(), format!("{{\"status\":\"{IMAGE}\"}}\r\n"));
    assert_eq!(
        harness.stub.seen.lock().unwrap()["import"],
        r#"Some("a") ["CMD x", "ENV a=b"]"#
    );
}

#[tokio::test]
async fn networks_and_volumes() {
    let harness = Harness::new();
    let networks = harness.get("/networks").await.json();
    assert_eq!(networks[0]["Name"], "bridge");
    assert_eq!(networks[0]["IPAM"]["Driver"], "default");
    assert_eq!(networks[0]["ConfigFrom"], json!({"Network": ""}));
    let missing = harness.get("/networks/nope").await;
    assert_eq!(
        (missing.status, missing.message().as_str()),
        (404, "network nope not found")
    );
    assert_eq!(
        harness
            .post("/networks/create", r#"{"Name":"x"}"#)
            .await
            .status,
        501
    );
    assert_eq!(harness.post("/networks/create", "{}").await.status, 400);
    let prune = harness.post("/networks/prune", "").await;
    assert_eq!(prune.json(), json!({"NetworksDeleted": null}));
    let volumes = harness.get("/volumes").await.json();
    assert_eq!(
        volumes,
        json!({
            "Volumes": [{
                "CreatedAt": "1970-01-01T00:00:00Z", "Driver": "local", "Labels": null,
                "Mountpoint": "", "Name": "data", "Options": null, "Scope": "local",
            }],
            "Warnings": null,
        })
    );
    let made = harness.post("/volumes/create", r#"{"Name":"data"}"#).await;
    assert_eq!(
        (made.status, made.json()["Name"].as_str()),
        (201, Some("data"))
    );
    harness.post("/volumes/prune", "").await;
    assert_eq!(harness.stub.seen.lock().unwrap()["prune_volumes"], "[]");
    harness.post("/v1.41/volumes/prune", "").await;
    assert_eq!(
        harness.stub.seen.lock().unwrap()["prune_volumes"],
        "[\"true\"]"
    );
    assert_eq!(harness.request("PUT", "/volumes/v", "").await.status, 501);
}

#[tokio::test]
async fn what_a_registry_has() {
    let harness = Harness::new();
    let found = harness
        .get("/distribution/localhost:5000/team/app:1/json")
        .await;
    assert_eq!(
        found.json(),
        json!({
            "Descriptor": {
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "digest": "sha256:00",
                "size": 7
            },
            "Platforms": [
                {"architecture": "amd64", "os": "linux"},
                {"architecture": "arm", "os": "linux", "variant": "v7"}
            ]
        })
    );
    assert_eq!(harness.get("/distribution/none/json").await.status, 404);
    assert_eq!(harness.get("/distribution/none").await.status, 404);
}

#[tokio::test]
async fn labels_of_an_image_are_null_where_there_are_none() {
    let harness = Harness::new();
    let image = harness.get("/v1.44/images/busybox/json").await.json();
    assert_eq!(image["Config"]["Labels"], json!(null));
    assert_eq!(image.get("Container"), None);
    assert!(image["ContainerConfig"].is_object());
    let image = harness.get("/v1.47/images/busybox/json").await.json();
    assert_eq!(image.get("ContainerConfig"), None);
}
