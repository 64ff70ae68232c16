//! Keys of clients.

use std::time::Duration;

use coracle_api::ServerConfig;
use coracle_native::key::Scope;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Daemon, NOTHING};

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
        assert_eq!(d.ask("GET", "/volumes", NOTHING).await.status, looks);
        assert_eq!(d.send("GET", "/info", "", b"").await.status, looks);
        assert_eq!(
            d.ask("POST", "/volumes", volume.clone()).await.status,
            changes
        );
        assert_eq!(d.ask("GET", "/keys", NOTHING).await.status, keys);
    }
    let made = d
        .ok("POST", "/keys", json!({"name": "n", "scope": "read"}), 201)
        .await
        .json();
    let listed = d.ok("GET", "/keys", NOTHING, 200).await.text();
    assert!(!listed.contains(made["secret"].as_str().unwrap()));

    // A stream that a key opened ends with the key.
    let mut follow = TcpStream::connect(d.address).await.unwrap();
    let head =
        format!("GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {read}\r\n\r\n");
    follow.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = vec![0; 4096];
    assert!(follow.read(&mut bytes).await.unwrap() > 0);
    d.ok("DELETE", &format!("/keys/{}", reader.id), NOTHING, 204)
        .await;
    bytes.clear();
    timeout(Duration::from_secs(5), follow.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    d.key = Some(read);
    d.ok("GET", "/health", NOTHING, 401).await;
}
