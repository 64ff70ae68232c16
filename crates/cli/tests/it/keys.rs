//! `system key` and `system cert`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::Daemon;

#[tokio::test]
async fn a_key_is_made_listed_and_revoked() {
    let daemon = Daemon::start();
    let made = daemon
        .run("system key create --scope write --days 3 ci")
        .await;
    let secret = made.line();
    let id = secret.split('_').nth(1).unwrap().to_owned();
    let listed = daemon.run("system key list").await.ok();
    assert!(
        listed.contains(&id) && listed.contains("write") && listed.contains("valid"),
        "{listed}"
    );
    assert!(
        !listed.contains(secret.splitn(3, '_').nth(2).unwrap()),
        "{listed}"
    );
    assert_eq!(daemon.run("system key list -q").await.line(), id);
    assert_eq!(
        daemon.run(&format!("system key revoke {id}")).await.line(),
        id
    );
    let listed = daemon.run("system key list").await.ok();
    assert!(listed.contains("revoked"), "{listed}");
    let unknown = daemon.run("system key revoke nosuch").await.fails(1);
    assert!(unknown.contains("No such key: nosuch"), "{unknown}");
}

#[tokio::test]
async fn certificates_are_signed_by_one_authority() {
    let daemon = Daemon::start();
    let authority = daemon.path("tls");
    let at = authority.to_str().unwrap();
    let create = |rest: &str| format!("system cert create --authority {at} {rest}");
    daemon
        .run(&create(
            "--name server --server localhost --server 127.0.0.1",
        ))
        .await
        .ok();
    daemon.run(&create("--name client --days 7")).await.ok();
    let ca = fs::read_to_string(authority.join("ca.pem")).unwrap();
    for name in ["server", "client"] {
        let file = |file: &str| authority.join(name).join(file);
        assert_eq!(fs::read_to_string(file("ca.pem")).unwrap(), ca);
        assert!(
            fs::read_to_string(file("cert.pem"))
                .unwrap()
                .contains("BEGIN CERTIFICATE")
        );
        let mode = fs::metadata(file("key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let again = daemon.run(&create("--name client")).await.fails(1);
    assert!(again.contains("has a key already"), "{again}");
    let odd = daemon.run(&create("--name ../x")).await.fails(1);
    assert!(odd.contains("--name"), "{odd}");
}
