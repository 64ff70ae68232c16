//! Networks, volumes, secrets and configs, and prunes.

use coracle_api::ServerConfig;
use serde_json::json;

use super::{Daemon, NOTHING};

#[tokio::test]
async fn a_network_in_use_stays() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.container("web", &["sleep", "1000"]).await;
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
    d.ok("DELETE", "/networks/back", NOTHING, 409).await;
    d.ok(
        "POST",
        "/networks/back/disconnect",
        json!({"container": "web"}),
        204,
    )
    .await;
    d.ok("DELETE", "/networks/back", NOTHING, 204).await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let d = Daemon::start(ServerConfig::default()).await;
    for name in ["vc", "va", "vb"] {
        d.ok("POST", "/volumes", json!({"name": name}), 201).await;
    }
    let first = d.ok("GET", "/volumes?limit=2", NOTHING, 200).await.json();
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = d
        .ok("GET", &format!("/volumes?cursor={cursor}"), NOTHING, 200)
        .await
        .json();
    assert_eq!(
        (&rest["items"][0]["name"], rest.get("nextCursor")),
        (&json!("vc"), None)
    );
    d.ok("DELETE", "/volumes/vc", NOTHING, 204).await;
    d.ok("POST", "/volumes/prune", json!({"all": true}), 200)
        .await;
}

#[tokio::test]
async fn values_of_secrets_are_never_told() {
    let d = Daemon::start(ServerConfig::default()).await;
    let secret = json!({"name": "s", "base64": "b3BlbiBzZXNhbWU="});
    let id = d.ok("POST", "/secrets", secret, 201).await.json()["id"].clone();
    let seen = d.ok("GET", "/secrets/s", NOTHING, 200).await.text();
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
        d.ok("GET", "/configs/c", NOTHING, 200).await.json()["base64"],
        "eA=="
    );
    d.ok("POST", "/secrets/rotate", NOTHING, 200).await;
}

#[tokio::test]
async fn prunes_take_what_is_unused_and_labelled_so() {
    let d = Daemon::start(ServerConfig::default()).await;
    let label = json!({"mine": "yes"});
    for (name, labels) in [("kept", json!({})), ("gone", label.clone())] {
        for kind in ["networks", "volumes"] {
            let body = json!({"name": name, "labels": labels});
            d.ok("POST", &format!("/{kind}"), body, 201).await;
        }
        let body = json!({
            "image": "busybox", "name": name, "command": ["true"], "labels": labels,
            "mounts": [{"kind": "volume", "source": name, "target": "/data"}],
        });
        let path = "/containers";
        let answer = d.ask("POST", path, body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    // In use by a container, running or not.
    let mine = json!({"all": true, "labels": ["mine"]});
    let pruned = d
        .ok("POST", "/volumes/prune", mine.clone(), 200)
        .await
        .json();
    assert_eq!(pruned["deleted"], json!([]), "{pruned}");
    let only = json!({"labels": ["mine=yes"]});
    let pruned = d
        .ok("POST", "/containers/prune", only.clone(), 200)
        .await
        .json();
    assert_eq!(pruned["deleted"].as_array().unwrap().len(), 1, "{pruned}");
    d.ok("GET", "/containers/gone", NOTHING, 404).await;
    d.ok("GET", "/containers/kept", NOTHING, 200).await;
    for (kind, body) in [("volumes", mine), ("networks", only)] {
        let path = format!("/{kind}/prune");
        let pruned = d.ok("POST", &path, body, 200).await.json();
        assert_eq!(pruned["deleted"], json!(["gone"]), "{kind}: {pruned}");
        let kept = format!("/{kind}/kept");
        d.ok("GET", &kept, NOTHING, 200).await;
    }
    for kind in ["containers", "images", "networks", "volumes"] {
        let path = format!("/{kind}/prune");
        d.ok("POST", &path, NOTHING, 200).await;
        let odd = json!({"until": "1h"});
        d.ok("POST", &path, odd, 400).await;
    }
}
