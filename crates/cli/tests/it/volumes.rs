//! `volume`.

use crate::harness::Daemon;

#[tokio::test]
async fn made_used_and_removed() {
    let daemon = Daemon::start();
    assert_eq!(
        daemon.run("volume create --label a=b data").await.line(),
        "data"
    );
    assert_eq!(
        daemon.run("volume ls").await.ok(),
        "DRIVER    VOLUME NAME\nlocal     data\n"
    );
    assert_eq!(daemon.run("volume ls -q -f label=a=b").await.line(), "data");
    let script = "echo hi > /data/x";
    daemon
        .args(&[
            "run",
            "--rm",
            "-v",
            "data:/data",
            "busybox",
            "sh",
            "-c",
            script,
        ])
        .await
        .ok();
    let read = daemon
        .run("run --name box -v data:/data:ro busybox cat /data/x")
        .await;
    assert_eq!(read.ok(), "hi\n");
    let driver = ["volume", "inspect", "-f", "{{.Driver}}", "data"];
    assert_eq!(daemon.args(&driver).await.line(), "local");
    daemon.run("volume rm data").await.fails(1);
    daemon.run("rm box").await.ok();
    assert_eq!(daemon.run("volume rm data").await.line(), "data");
    daemon.run("volume rm data").await.fails(1);
    assert_eq!(daemon.run("volume rm -f data").await.code, 0);
}

#[tokio::test]
async fn with_a_size() {
    let daemon = Daemon::start();
    let options = ["volume", "inspect", "-f", "{{json .Options}}"];
    for (flags, wanted) in [
        ("-s 10m", r#"{"size":"10m"}"#),
        ("--size 1g", r#"{"size":"1g"}"#),
        ("--opt size=2g", r#"{"size":"2g"}"#),
    ] {
        daemon
            .run(&format!("volume create {flags} data"))
            .await
            .ok();
        let seen = daemon.args(&[&options[..], &["data"]].concat()).await;
        assert_eq!(seen.line(), wanted);
        daemon.run("volume rm data").await.ok();
    }
    daemon.run("volume create -s 10x data").await.fails(1);
    daemon
        .run("volume create -s 1g -o size=1g data")
        .await
        .fails(1);
}

#[tokio::test]
async fn prune_spares_names_unless_told() {
    let daemon = Daemon::start();
    daemon.run("volume create named").await.ok();
    let anonymous = daemon.run("volume create").await.line();
    assert_eq!(anonymous.len(), 64);
    let out = daemon.run("volume prune -f").await.ok();
    assert!(out.contains(&anonymous) && !out.contains("named"), "{out}");
    let out = daemon.run("volume prune -af").await.ok();
    assert!(out.contains("named"), "{out}");
}
