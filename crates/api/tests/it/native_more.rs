//! Routes of the native API that take away, give out, or are of guest kernels.

use coracle_api::ServerConfig;
use coracle_kernel::sample;
use serde_json::{Value, json};

use crate::native::{Daemon, lines};

const NOTHING: Value = Value::Null;

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
