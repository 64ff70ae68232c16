//! Which daemon is talked to.

use crate::harness::{Daemon, finish};

/// What `system status` says about the host, with variables and words before the verb.
async fn host(daemon: &Daemon, variables: &[(&str, &str)], words: &[&str]) -> String {
    let mut command = daemon.command(words);
    command
        .env_remove("CORACLE_HOST")
        .args(["system", "status", "--format", "{{.Host}} {{.From}}"])
        .envs(variables.iter().copied());
    let done = finish(command, b"").await;
    if done.out.is_empty() {
        done.err
    } else {
        done.out
    }
    .trim_end()
    .to_owned()
}

#[tokio::test]
async fn the_first_that_is_set_decides() {
    let daemon = Daemon::start();
    let contexts = daemon.path(".docker/contexts/meta/0123");
    std::fs::create_dir_all(&contexts).unwrap();
    std::fs::write(
        contexts.join("meta.json"),
        r#"{"Name":"mine","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///context"}}}"#,
    )
    .unwrap();
    let own = ("CORACLE_HOST", "unix:///coracle");
    let dockers = ("DOCKER_HOST", "unix:///docker");
    let context = ("DOCKER_CONTEXT", "mine");
    assert_eq!(
        host(&daemon, &[own, dockers], &["-H", "unix:///x"]).await,
        "unix:///x --host"
    );
    assert_eq!(
        host(&daemon, &[own, dockers], &["--context", "mine"]).await,
        "unix:///context --context"
    );
    assert_eq!(
        host(&daemon, &[own, dockers, context], &[]).await,
        "unix:///coracle CORACLE_HOST"
    );
    assert_eq!(
        host(&daemon, &[dockers, context], &[]).await,
        "unix:///docker DOCKER_HOST"
    );
    assert_eq!(
        host(&daemon, &[context], &[]).await,
        "unix:///context DOCKER_CONTEXT"
    );
    std::fs::write(
        daemon.path(".docker/config.json"),
        r#"{"currentContext":"mine"}"#,
    )
    .unwrap();
    assert_eq!(
        host(&daemon, &[], &[]).await,
        "unix:///context the current Docker context"
    );
    let error = host(&daemon, &[("DOCKER_CONTEXT", "nosuch")], &[]).await;
    assert!(error.contains("no Docker context \"nosuch\""), "{error}");
    std::fs::write(daemon.path(".docker/config.json"), "nonsense").unwrap();
    let error = host(&daemon, &[], &[]).await;
    assert!(error.contains("config.json is not valid JSON"), "{error}");
}

#[tokio::test]
async fn nobody_there() {
    let daemon = Daemon::start();
    for (host, part) in [
        ("unix:///nosuch.sock", "hint: is the daemon running?"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("bogus", "invalid host \"bogus\""),
        ("ssh://x", "ssh is not supported"),
    ] {
        let error = daemon.args(&["-H", host, "ps"]).await.fails(1);
        assert!(error.contains(part), "{host}: {error}");
        daemon
            .args(&["-H", host, "run", "busybox"])
            .await
            .fails(125);
    }
}

#[tokio::test]
async fn an_older_daemon_is_spoken_to_in_its_version() {
    let recorder = crate::recorder::Recorder::start(Some(41));
    let line = recorder.run(&["ps", "-q"]).await;
    assert_eq!(line.code, 0, "{line:?}");
    let paths: Vec<String> = recorder.requests().into_iter().map(|r| r.path).collect();
    assert_eq!(paths, ["/v1.47/containers/json", "/v1.41/containers/json"]);
}
