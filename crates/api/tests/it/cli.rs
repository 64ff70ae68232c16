//! The real docker CLI, where the host has one.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::Harness;

struct Done {
    code: i32,
    out: String,
    err: String,
}

async fn docker(harness: &Harness, args: &[&str], input: &str) -> Option<Done> {
    let config = tempfile::tempdir().unwrap();
    let spawned = Command::new("docker")
        .arg("--config")
        .arg(config.path())
        .arg("-H")
        .arg(format!("unix://{}", harness.socket().display()))
        .args(args)
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_API_VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: no docker CLI: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), child.wait_with_output());
    let output = output.await.unwrap().unwrap();
    Some(Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    })
}

#[tokio::test]
async fn it_knows_the_server() {
    let harness = Harness::new();
    let Some(done) = docker(&harness, &["version"], "").await else {
        return;
    };
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(
        done.out.contains("1.47 (minimum version 1.24)"),
        "{}",
        done.out
    );
    let done = docker(&harness, &["info"], "").await.unwrap();
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("Swarm: inactive"), "{}", done.out);
    assert!(done.out.contains("localhost:5000"), "{}", done.out);
    let done = docker(&harness, &["system", "df"], "").await.unwrap();
    assert!(done.out.contains("4.262MB"), "{} {}", done.out, done.err);
}

#[tokio::test]
async fn it_runs_containers() {
    let harness = Harness::new();
    let script = "cat; echo problem >&2; exit 42";
    let args = ["run", "-i", "--name", "one", "busybox", "sh", "-c", script];
    let Some(done) = docker(&harness, &args, "some input").await else {
        return;
    };
    assert_eq!(done.out, "some input", "{}", done.err);
    assert_eq!(done.err, "problem\n");
    assert_eq!(done.code, 42);

    let done = docker(
        &harness,
        &["ps", "-a", "--format", "{{.Names}} {{.Status}}"],
        "",
    )
    .await
    .unwrap();
    assert!(done.out.starts_with("one Exited (42) "), "{}", done.out);
    let done = docker(&harness, &["logs", "one"], "").await.unwrap();
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("some input", "problem\n")
    );
    let done = docker(&harness, &["wait", "one"], "").await.unwrap();
    assert_eq!(done.out, "42\n");
    let format = "{{.State.ExitCode}} {{.HostConfig.Binds}}";
    let done = docker(&harness, &["inspect", "-f", format, "one"], "")
        .await
        .unwrap();
    assert_eq!(done.out, "42 []\n");
    let done = docker(
        &harness,
        &["exec", "-i", "one", "sh", "-c", "cat; exit 3"],
        "x",
    )
    .await
    .unwrap();
    assert_eq!((done.out.as_str(), done.code), ("x", 3), "{}", done.err);
    let done = docker(&harness, &["rm", "one"], "").await.unwrap();
    assert_eq!(done.out, "one\n");
    let done = docker(&harness, &["inspect", "one"], "").await.unwrap();
    assert_eq!(done.code, 1);
    assert!(done.err.contains("No such object: one"), "{}", done.err);
}

#[tokio::test]
async fn input_that_nobody_reads_does_not_hurt() {
    let harness = Harness::new();
    let args = ["run", "--rm", "-i", "busybox", "echo", "done"];
    let input = "x".repeat(50_000);
    let Some(done) = docker(&harness, &args, &input).await else {
        return;
    };
    assert_eq!(
        (done.out.as_str(), done.err.as_str(), done.code),
        ("done\n", "", 0)
    );
}

#[tokio::test]
async fn it_lists_and_pulls_images() {
    let harness = Harness::new();
    let Some(done) = docker(&harness, &["images"], "").await else {
        return;
    };
    assert!(done.out.contains("busybox      latest"), "{}", done.out);
    let done = docker(&harness, &["pull", "busybox"], "").await.unwrap();
    assert!(
        done.out.contains("0123456789ab: Pull complete"),
        "{}",
        done.out
    );
    assert_eq!(done.code, 0);
    let done = docker(&harness, &["pull", "broken"], "").await.unwrap();
    assert_eq!(done.code, 1);
    assert!(done.err.contains("registry on fire"), "{}", done.err);
    let done = docker(&harness, &["run", "missing"], "").await.unwrap();
    assert_eq!(done.code, 125);
    assert!(
        done.err
            .contains("Unable to find image 'missing:latest' locally"),
        "{}",
        done.err
    );
    assert!(done.err.contains("no such repository"), "{}", done.err);
    let done = docker(&harness, &["history", "-q", "busybox"], "")
        .await
        .unwrap();
    assert!(done.out.contains("<missing>"), "{}", done.out);
}

#[tokio::test]
async fn it_sees_events() {
    let harness = Harness::new();
    let Some(done) = docker(&harness, &["create", "--name", "one", "busybox"], "").await else {
        return;
    };
    assert_eq!(done.code, 0, "{}", done.err);
    let args = [
        "events",
        "--since",
        "10s",
        "--until",
        "-1s",
        "--format",
        "{{.Action}}",
    ];
    let done = docker(&harness, &args, "").await.unwrap();
    assert_eq!(done.out, "create\n", "{}", done.err);
}
