//! Docker's own client, asked the same, asks the daemon the same.

use std::process::Stdio;

use serde_json::{Map, Value};
use tokio::process::Command;

use crate::harness::{Done, finish};
use crate::recorder::{Asked, Recorder};

/// Command lines that both understand, one a line.
const LINES: &str = include_str!("parity.txt");

fn has_docker() -> bool {
    let found = std::process::Command::new("docker")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

/// A line's words; single quotes keep spaces.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    words
}

/// Without what means nothing: nulls, zeros, empty text, lists and objects.
fn meaning(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, meaning(value)))
                .filter(|(_, value)| !is_nothing(value))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(values) => Value::Array(values.into_iter().map(meaning).collect()),
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(is_nothing),
        Value::Object(map) => map.is_empty(),
    }
}

/// What was asked, in a form that is the same where the meaning is.
fn normalized(asked: Vec<Asked>) -> Vec<Asked> {
    let decode = |pair: &String| {
        pair.replace("%20", "+")
            .replace("docker.io%2Flibrary%2F", "")
    };
    asked
        .into_iter()
        .map(|mut asked| {
            asked.query = asked.query.iter().map(decode).collect();
            // The default, which only one of the two says.
            asked.query.retain(|pair| pair != "pause=1");
            asked.body = meaning(asked.body);
            // Docker's come out of maps, in any order.
            for list in ["/HostConfig/Binds", "/HostConfig/VolumesFrom", "/Env"] {
                let list = asked.body.pointer_mut(list).and_then(Value::as_array_mut);
                list.into_iter()
                    .for_each(|list| list.sort_by_key(Value::to_string));
            }
            asked.registry_auth = None;
            asked
        })
        .collect()
}

async fn docker(recorder: &Recorder, words: &[&str]) -> Done {
    let mut command = Command::new("docker");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", recorder.home())
        .env("TZ", "UTC")
        .env("HERE", "value")
        .env("DOCKER_HOST", recorder.host())
        .current_dir(recorder.home())
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command, b"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn dockers_client_asks_the_same() {
    if !has_docker() {
        eprintln!("skipped: there is no docker client in PATH to compare with");
        return;
    }
    let recorder = Recorder::start(None);
    std::fs::write(
        recorder.home().join("variables"),
        "A=1\n# comment\nB=two words\nHERE\nNOWHERE\n",
    )
    .unwrap();
    std::fs::write(recorder.home().join("labels"), "one=1\ntwo\n").unwrap();
    std::fs::write(
        recorder.home().join("profile"),
        "{\n \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}",
    )
    .unwrap();
    let mut different = Vec::new();
    for line in LINES.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words = words(line);
        let theirs = docker(&recorder, &words).await;
        let they_asked = normalized(recorder.requests());
        let mut command = recorder.command(&words);
        command.env("HERE", "value");
        let ours = finish(command, b"").await;
        let we_asked = normalized(recorder.requests());
        if they_asked != we_asked || (theirs.code == 0) != (ours.code == 0) {
            different.push(format!(
                "{line}\n  docker: {} {}\n    {they_asked:?}\n  coracle: {} {}\n    {we_asked:?}",
                theirs.code, theirs.err, ours.code, ours.err
            ));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
