//! Lists of containers, and what becomes of them.

use crate::harness::Daemon;

#[tokio::test]
async fn ps_has_dockers_columns() {
    let daemon = Daemon::start();
    let id = daemon
        .run("run -d --name web -p 8080:80 -l a=b busybox sleep 1000")
        .await
        .line();
    let table = daemon.run("ps").await.ok();
    let (head, row) = table.split_once('\n').unwrap();
    let titles: Vec<&str> = head
        .split("  ")
        .map(str::trim)
        .filter(|t| !t.is_empty())
        .collect();
    assert_eq!(
        titles,
        [
            "CONTAINER ID",
            "IMAGE",
            "COMMAND",
            "CREATED",
            "STATUS",
            "PORTS",
            "NAMES"
        ]
    );
    assert!(row.starts_with(&id[..12]), "{row}");
    assert!(
        row.contains("\"sleep 1000\"") && row.contains("8080->80/tcp"),
        "{row}"
    );
    assert!(row.trim_end().ends_with("web"), "{row}");
    assert_eq!(daemon.run("ps -q").await.line(), &id[..12]);
    assert_eq!(daemon.run("ps -q --no-trunc").await.line(), id);
    assert_eq!(daemon.run("ps -q -f name=nosuch").await.ok(), "");
    assert_eq!(daemon.run("ls -q -f label=a=b").await.line(), &id[..12]);
    assert_eq!(daemon.run("container list -q").await.line(), &id[..12]);
    assert!(
        daemon
            .run("ps -f bogus")
            .await
            .fails(1)
            .contains("--filter")
    );
    assert!(
        daemon
            .run("ps -f bogus=x")
            .await
            .fails(1)
            .contains("invalid filter")
    );
}

#[tokio::test]
async fn ps_shows_all_or_the_last() {
    let daemon = Daemon::start();
    daemon.run("create --name one busybox true").await.ok();
    daemon.run("create --name two busybox true").await.ok();
    let names = async |line: &str| {
        let line = format!("{line} --format {{{{.Names}}}}");
        daemon.run(&line).await.ok().replace('\n', " ")
    };
    assert_eq!(names("ps").await, "");
    assert_eq!(names("ps -a").await, "two one ");
    assert_eq!(names("ps -l").await, "two ");
    assert_eq!(names("ps -n 1").await, "two ");
}

#[tokio::test]
async fn a_life() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    for line in [
        "pause web",
        "unpause web",
        "restart -t 0 web",
        "stop -t 0 web",
        "start web",
    ] {
        assert_eq!(daemon.run(line).await.line(), "web", "{line}");
    }
    assert_eq!(
        daemon
            .run("update -m 100m --restart always web")
            .await
            .line(),
        "web"
    );
    let shown = daemon
        .args(&[
            "inspect",
            "-f",
            "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}",
            "web",
        ])
        .await;
    assert_eq!(shown.line(), "104857600 always");
    assert!(daemon.run("update web").await.fails(1).contains("options"));
    daemon.run("rename web other").await.ok();
    assert_eq!(daemon.run("kill -s KILL other").await.line(), "other");
    assert_eq!(daemon.run("rm -f other").await.line(), "other");
    daemon.run("inspect other").await.fails(1);
}

#[tokio::test]
async fn one_failure_does_not_keep_the_others() {
    let daemon = Daemon::start();
    daemon.run("create --name aa busybox").await.ok();
    daemon.run("create --name cc busybox").await.ok();
    let done = daemon.run("rm aa bb cc").await;
    assert_eq!((done.code, done.out.as_str()), (1, "aa\ncc\n"));
    assert!(done.err.contains("No such container: bb"), "{}", done.err);
    // Forced, what isn't there is no failure.
    assert_eq!(daemon.run("rm -f bb").await.code, 0);
}

#[tokio::test]
async fn a_running_one_is_not_removed() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    let error = daemon.run("rm web").await.fails(1);
    assert!(error.contains("hint: stop the container first"), "{error}");
}

#[tokio::test]
async fn what_is_in_one() {
    let daemon = Daemon::start();
    daemon
        .run("run -d --name web -p 8080:80 busybox sleep 1000")
        .await
        .ok();
    assert!(daemon.run("top web").await.ok().contains("sleep"));
    assert!(
        daemon
            .run("port web")
            .await
            .ok()
            .starts_with("80/tcp -> 0.0.0.0:8080\n")
    );
    assert!(
        daemon
            .run("port web 80/tcp")
            .await
            .ok()
            .starts_with("0.0.0.0:8080\n")
    );
    assert!(
        daemon
            .run("port web 81")
            .await
            .fails(1)
            .contains("no public port '81/tcp'")
    );
    daemon
        .args(&["exec", "web", "sh", "-c", "echo x > /new"])
        .await
        .ok();
    assert_eq!(daemon.run("diff web").await.line(), "A /new");
    let row = daemon.run("stats --no-stream web").await.ok();
    assert!(
        row.contains("MEM USAGE / LIMIT") && row.contains("web"),
        "{row}"
    );
    let row = daemon
        .args(&["stats", "--no-stream", "--format", "{{.Name}}"])
        .await;
    assert_eq!(row.line(), "web");
    assert!(
        daemon
            .run("stats --no-stream nosuch")
            .await
            .fails(1)
            .contains("nosuch")
    );
}

#[tokio::test]
async fn prune_asks_first() {
    let daemon = Daemon::start();
    daemon.run("create --name aa busybox").await.ok();
    let error = daemon.feed(&["container", "prune"], b"n\n").await.fails(1);
    assert!(
        error.contains("WARNING! This will remove all stopped containers."),
        "{error}"
    );
    assert!(error.contains("cancelled"), "{error}");
    let out = daemon.feed(&["container", "prune"], b"y\n").await.ok();
    assert!(out.starts_with("Deleted Containers:\n"), "{out}");
    assert!(out.contains("Total reclaimed space: "), "{out}");
    assert_eq!(daemon.run("ps -aq").await.ok(), "");
}

#[tokio::test]
async fn inspect_shows_what_the_daemon_says() {
    let daemon = Daemon::start();
    let id = daemon.sleeper("web").await;
    let shown = daemon.run("inspect web").await.ok();
    assert!(
        shown.starts_with(&format!("[\n    {{\n        \"Id\": \"{id}\",\n")),
        "{shown}"
    );
    let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(value[0]["Name"], "/web");
    let done = daemon.run("inspect web nosuch").await;
    assert_eq!(done.code, 1);
    assert!(done.out.contains(&id) && done.err.contains("no such object: nosuch"));
    assert_eq!(daemon.run("inspect nosuch").await.out, "[]\n");
    let status = [
        "inspect",
        "-f",
        "{{if .State.Running}}up{{else}}down{{end}}",
        "web",
    ];
    assert_eq!(daemon.args(&status).await.line(), "up");
    // One of any kind, or of one kind only.
    assert!(
        daemon
            .run("inspect busybox")
            .await
            .ok()
            .contains("RepoTags")
    );
    daemon
        .run("inspect --type container busybox")
        .await
        .fails(1);
    assert!(daemon.run("inspect bridge").await.ok().contains("IPAM"));
    let yaml = daemon.run("inspect -f yaml web").await.ok();
    assert!(yaml.contains("Name: /web"), "{yaml}");
}

#[tokio::test]
async fn commit_and_export() {
    let daemon = Daemon::start();
    daemon
        .args(&[
            "run",
            "--name",
            "box",
            "busybox",
            "sh",
            "-c",
            "echo hi > /file",
        ])
        .await
        .ok();
    let id = daemon
        .args(&["commit", "-m", "text", "-c", "ENV A=1", "box", "mine:v1"])
        .await
        .line();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(daemon.run("run --rm mine:v1 cat /file").await.ok(), "hi\n");
    daemon.run("export -o x.tar box").await.ok();
    assert!(std::fs::metadata(daemon.path("x.tar")).unwrap().len() > 1024);
    // Where it fails, no file is left.
    daemon.run("export -o y.tar nosuch").await.fails(1);
    assert!(!daemon.path("y.tar").exists());
}
