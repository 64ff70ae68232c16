//! Images.

use coracle_api::ServerConfig;
use serde_json::json;

use super::{Daemon, NOTHING, TAR, lines};

#[tokio::test]
async fn images_are_tagged_saved_loaded_and_removed() {
    let d = Daemon::start(ServerConfig::default()).await;
    d.ok(
        "POST",
        "/images/busybox/tag",
        json!({"name": "localhost:5000/a/b:c"}),
        204,
    )
    .await;
    let tagged = d
        .ok("GET", "/images/localhost:5000%2Fa%2Fb:c", NOTHING, 200)
        .await
        .json();
    d.ok("GET", "/images/busybox/history", NOTHING, 200).await;
    let saved = d
        .ok("GET", "/image-archives?name=busybox", NOTHING, 200)
        .await;
    let loaded = d
        .send("POST", "/api/v1/image-archives", TAR, &saved.body)
        .await;
    assert_eq!(lines(&loaded).last().unwrap(), &json!({"end": "complete"}));
    let removed = d
        .ok("DELETE", "/images/localhost:5000%2Fa%2Fb:c", NOTHING, 200)
        .await
        .json();
    assert_eq!(
        removed["untagged"],
        json!(["localhost:5000/a/b:c"]),
        "{tagged}"
    );
}

#[tokio::test]
async fn images_are_pushed_line_by_line() {
    let d = Daemon::start(ServerConfig::default()).await;
    for tag in ["a", "b"] {
        let name = json!({"name": format!("localhost:5000/mine:{tag}")});
        d.ok("POST", "/images/busybox/tag", name, 204).await;
    }
    let one = "/images/localhost:5000%2Fmine:a/push";
    let said = lines(&d.ok("POST", one, NOTHING, 200).await);
    assert_eq!(said.last().unwrap(), &json!({"end": "complete"}));
    let told = serde_json::to_string(&said).unwrap();
    assert!(
        told.contains("a: digest: sha256:") && !told.contains("b: digest"),
        "{told}"
    );
    let all = "/images/localhost:5000%2Fmine/push";
    let said = lines(&d.ok("POST", all, json!({"allTags": true}), 200).await);
    let told = serde_json::to_string(&said).unwrap();
    assert!(
        told.contains("a: digest") && told.contains("b: digest"),
        "{told}"
    );
    d.ok("POST", "/images/nosuch/push", NOTHING, 404).await;
    let odd = json!({"nope": true});
    d.ok("POST", "/images/busybox/push", odd, 400).await;
}

#[tokio::test]
async fn a_prune_of_images_leaves_what_has_a_name_unless_all_are_meant() {
    let d = Daemon::start(ServerConfig::default()).await;
    let kept = d.ok("POST", "/images/prune", NOTHING, 200).await.json();
    assert_eq!(
        (&kept["untagged"], &kept["deleted"]),
        (&json!([]), &json!([]))
    );
    let all = json!({"all": true});
    let labelled = json!({"all": true, "labels": ["nosuch"]});
    let none = d.ok("POST", "/images/prune", labelled, 200).await.json();
    assert_eq!(none["deleted"], json!([]));
    let body = json!({"image": "busybox", "name": "user", "command": ["true"]});
    d.ok("POST", "/containers", body, 201).await;
    let used = d.ok("POST", "/images/prune", all.clone(), 200).await.json();
    assert_eq!(used["deleted"], json!([]));
    d.ok("DELETE", "/containers/user", NOTHING, 204).await;
    let gone = d.ok("POST", "/images/prune", all, 200).await.json();
    assert_eq!(gone["untagged"], json!(["busybox:latest"]), "{gone}");
    d.ok("GET", "/images/busybox", NOTHING, 404).await;
}
