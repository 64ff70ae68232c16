//! Containers, and files inside of them.

use coracle_api::ServerConfig;
use serde_json::json;

use super::{Daemon, NOTHING, TAR};

#[tokio::test]
async fn the_life_of_a_container() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sh", "-c", "echo out; echo err >&2; sleep 1000"])
        .await;
    let again = d.ok("POST", "/containers/web/start", NOTHING, 200).await;
    assert_eq!(again.json()["changed"], false);
    let seen = d.ok("GET", "/containers/web", NOTHING, 200).await.json();
    assert_eq!(seen["state"]["status"], "running");
    assert_eq!(seen["id"].as_str().unwrap().len(), 64);
    let by_state = d
        .ok("GET", "/containers?status=running&label=x", NOTHING, 200)
        .await;
    assert_eq!(by_state.json()["items"], json!([]));
    for (action, status) in [("pause", "paused"), ("unpause", "running")] {
        d.ok("POST", &format!("/containers/web/{action}"), NOTHING, 204)
            .await;
        let seen = d.ok("GET", "/containers/web", NOTHING, 200).await.json();
        assert_eq!(seen["state"]["status"], status);
    }
    let refused = d.ok("DELETE", "/containers/web", NOTHING, 409).await.json();
    assert_eq!(refused["error"], "invalidState");
    let update =
        json!({"resources": {"memory": 67_108_864}, "restartPolicy": {"name": "onFailure"}});
    d.ok("PATCH", "/containers/web", update, 200).await;
    let seen = d.ok("GET", "/containers/web", NOTHING, 200).await.json();
    assert_eq!(seen["resources"]["memory"], 67_108_864);
    assert_eq!(seen["restartPolicy"]["name"], "onFailure");
    d.ok(
        "POST",
        "/containers/web/rename",
        json!({"name": "other"}),
        204,
    )
    .await;
    d.ok("GET", "/containers/other/processes", NOTHING, 200)
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
        .ok("POST", "/containers/other/wait", NOTHING, 200)
        .await
        .json();
    assert_eq!(exit["exitCode"], 137);
    d.ok(
        "DELETE",
        "/containers/other?force=true&volumes=true",
        NOTHING,
        204,
    )
    .await;
    d.ok("GET", "/containers/other", NOTHING, 404).await;
}

#[tokio::test]
async fn files_go_in_and_out_and_are_told_as_changes() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sleep", "1000"]).await;
    let files = d
        .ok(
            "GET",
            "/containers/web/files?path=/etc/passwd",
            NOTHING,
            200,
        )
        .await;
    let put = "/api/v1/containers/web/files?path=/tmp";
    assert_eq!(d.send("PUT", put, TAR, &files.body).await.status, 204);
    let info = d
        .ok(
            "GET",
            "/containers/web/files/info?path=/tmp/passwd",
            NOTHING,
            200,
        )
        .await;
    assert_eq!(info.json()["name"], "passwd");
    let changes = d
        .ok("GET", "/containers/web/changes", NOTHING, 200)
        .await
        .json();
    assert!(changes.to_string().contains("/tmp/passwd"), "{changes}");
}

#[tokio::test]
async fn a_containers_files_are_exported_as_a_tar() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sh", "-c", "echo written > /written; sleep 1000"])
        .await;
    let answer = d.ok("GET", "/containers/web/export", NOTHING, 200).await;
    assert_eq!(answer.header("Content-Type"), Some("application/x-tar"));
    // Names stand at the beginning of each entry's first block.
    let names: Vec<_> = answer
        .body
        .chunks(512)
        .filter(|block| block.get(257..262) == Some(&b"ustar"[..]))
        .map(|block| block.split(|&byte| byte == 0).next().unwrap_or_default())
        .collect();
    assert!(names.contains(&&b"etc/passwd"[..]), "{} names", names.len());
    d.ok("GET", "/containers/nosuch/export", NOTHING, 404).await;
}
