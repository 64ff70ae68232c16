//! Images.

use crate::harness::Daemon;

#[tokio::test]
async fn lists_have_dockers_columns() {
    let daemon = Daemon::start();
    let table = daemon.run("images").await.ok();
    let titles: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        titles,
        ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    );
    assert!(table.contains("\nbusybox      latest    "), "{table}");
    assert!(daemon.run("images --digests").await.ok().contains("DIGEST"));
    assert_eq!(daemon.run("images -q nosuch").await.ok(), "");
    assert_eq!(daemon.run("image ls -q busybox").await.line().len(), 12);
    let id = daemon.run("image list -q --no-trunc busybox").await.line();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    let row = daemon
        .args(&["images", "--format", "{{.Repository}}:{{.Tag}}"])
        .await;
    assert_eq!(row.line(), "busybox:latest");
}

#[tokio::test]
async fn pulled_tagged_and_removed() {
    let daemon = Daemon::start();
    let done = daemon.run("pull alpine").await;
    assert_eq!(done.out, "docker.io/library/alpine:latest\n", "{done:?}");
    assert!(done.err.contains("Using default tag: latest"), "{done:?}");
    let done = daemon.run("pull -q alpine:latest").await;
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("docker.io/library/alpine:latest\n", "")
    );
    daemon.run("pull nosuchimage").await.fails(1);
    assert!(
        daemon
            .run("pull -a alpine:latest")
            .await
            .fails(1)
            .contains("--all-tags")
    );
    daemon.run("tag alpine mine:v1").await.ok();
    assert_eq!(daemon.run("rmi mine:v1").await.line(), "Untagged: mine:v1");
    let out = daemon.run("image delete alpine").await.ok();
    assert!(
        out.starts_with("Untagged: alpine:latest\n") && out.contains("Deleted: "),
        "{out}"
    );
    assert!(
        daemon
            .run("rmi alpine")
            .await
            .fails(1)
            .contains("No such image")
    );
    assert_eq!(daemon.run("rmi -f alpine").await.code, 0);
}

#[tokio::test]
async fn one_that_is_used_stays() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    let error = daemon.run("rmi busybox").await.fails(1);
    assert!(error.contains("hint: "), "{error}");
}

#[tokio::test]
async fn history_and_inspect() {
    let daemon = Daemon::start();
    let table = daemon.run("history busybox").await.ok();
    assert!(table.starts_with("IMAGE"), "{table}");
    assert!(table.contains("CREATED BY"), "{table}");
    assert!(!daemon.run("history -q busybox").await.ok().is_empty());
    let os = daemon
        .args(&["image", "inspect", "-f", "{{.Os}}", "busybox"])
        .await;
    assert_eq!(os.line(), "linux");
    daemon.sleeper("web").await;
    daemon.run("image inspect web").await.fails(1);
}

#[tokio::test]
async fn saved_and_loaded() {
    let daemon = Daemon::start();
    daemon.run("save -o image.tar busybox").await.ok();
    let other = Daemon::of(coracle_mock::MockRuntime::new());
    let archive = std::fs::read(daemon.path("image.tar")).unwrap();
    let out = other.feed(&["load"], &archive).await.ok();
    assert!(out.contains("Loaded image: busybox:latest"), "{out}");
    let file = daemon.path("image.tar").display().to_string();
    let out = other.args(&["load", "-q", "-i", &file]).await.ok();
    assert!(out.contains("busybox"), "{out}");
    assert_eq!(other.run("run --rm busybox echo hi").await.ok(), "hi\n");
    daemon.run("save -o no.tar nosuch").await.fails(1);
    assert!(!daemon.path("no.tar").exists());
    assert!(
        daemon
            .run("load -i nosuchfile")
            .await
            .fails(1)
            .contains("nosuchfile")
    );
}

#[tokio::test]
async fn a_root_file_system_is_imported() {
    let daemon = Daemon::start();
    daemon.run("run --name box busybox true").await.ok();
    daemon.run("export -o root.tar box").await.ok();
    let id = daemon
        .args(&[
            "import",
            "-c",
            "CMD [\"echo\", \"from import\"]",
            "root.tar",
            "mine:v1",
        ])
        .await
        .line();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(daemon.run("run --rm mine:v1").await.ok(), "from import\n");
    let archive = std::fs::read(daemon.path("root.tar")).unwrap();
    let id = daemon
        .feed(&["image", "import", "-", "mine:v2"], &archive)
        .await
        .line();
    assert!(id.starts_with("sha256:"), "{id}");
    let error = daemon.run("import http://x/y").await.fails(1);
    assert!(error.contains("hint: curl"), "{error}");
}

#[tokio::test]
async fn pruned() {
    let daemon = Daemon::start();
    assert!(
        daemon
            .run("image prune -f")
            .await
            .ok()
            .contains("Total reclaimed space: 0B")
    );
    let out = daemon.run("image prune -af").await.ok();
    assert!(out.contains("Untagged: busybox:latest"), "{out}");
}

#[tokio::test]
async fn pushed() {
    let daemon = Daemon::start();
    daemon.run("tag busybox localhost:5000/mine:v1").await.ok();
    let done = daemon.run("push -q localhost:5000/mine:v1").await;
    assert_eq!(done.ok(), "localhost:5000/mine:v1\n");
    assert!(
        daemon
            .run("push nosuch:v1")
            .await
            .fails(1)
            .contains("nosuch")
    );
    let error = daemon.run("push --platform bogus busybox").await.fails(1);
    assert!(error.contains("--platform"), "{error}");
}
