//! Guest kernels.

use coracle_api::ServerConfig;
use coracle_kernel::sample;
use serde_json::json;

use super::{Daemon, NOTHING};

#[tokio::test]
async fn kernels_are_installed_chosen_and_removed() {
    let d = Daemon::start(ServerConfig::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let none = d.ok("GET", "/kernels", NOTHING, 200).await.json();
    assert_eq!(none["items"], json!([]));
    d.ok("GET", "/kernels/default", NOTHING, 404).await;

    let path = file("one", &sample::vmlinux("6.1.0-one"));
    let made = d
        .ok("POST", "/kernels", json!({"path": path}), 201)
        .await
        .json();
    assert_eq!(
        (&made["name"], &made["release"], &made["default"]),
        (&json!("6.1.0-one"), &json!("6.1.0-one"), &json!(true))
    );
    let path = file("two", &sample::vmlinux("6.1.0-two"));
    let named = json!({"path": path, "name": "two", "kind": "file"});
    let made = d.ok("POST", "/kernels", named.clone(), 201).await.json();
    assert_eq!(made["default"], false);
    d.ok("POST", "/kernels", named, 409).await;

    let choice = json!({"name": "two"});
    d.ok("PUT", "/kernels/default", choice, 204).await;
    let default = d.ok("GET", "/kernels/default", NOTHING, 200).await.json();
    assert_eq!(default["name"], "two");
    let first = d.ok("GET", "/kernels?limit=1", NOTHING, 200).await.json();
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = format!("/kernels?cursor={cursor}");
    let rest = d.ok("GET", &rest, NOTHING, 200).await.json();
    assert_eq!(rest["items"][0]["name"], "two");

    d.ok("DELETE", "/kernels/6.1.0-one", NOTHING, 204).await;
    d.ok("GET", "/kernels/6.1.0-one", NOTHING, 404).await;
    d.ok("DELETE", "/kernels/6.1.0-one", NOTHING, 404).await;
    let gone = json!({"name": "6.1.0-one"});
    d.ok("PUT", "/kernels/default", gone, 404).await;
    let odd = file("odd", b"no kernel at all");
    d.ok("POST", "/kernels", json!({"path": odd}), 400).await;
    let missing = json!({"path": dir.path().join("nosuch")});
    d.ok("POST", "/kernels", missing, 400).await;
    let relative = json!({"path": "relative"});
    d.ok("POST", "/kernels", relative, 400).await;
}
