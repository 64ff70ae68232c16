//! `docker events`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coracle_tests::{Daemon, now, output, wait_until};
use serde_json::json;

fn past(d: &Daemon, flags: &[&str]) -> Vec<String> {
    let line = [
        "events",
        "--since",
        "1h",
        "--until",
        &now(),
        "--format",
        "{{.Type}} {{.Action}}",
    ];
    d.ok(&[&line[..], flags].concat())
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_containers_life_in_order() {
    let Some(d) = Daemon::start() else { return };
    d.fails(
        3,
        &[
            "run", "--rm", "--name", "lived", "busybox", "sh", "-c", "exit 3",
        ],
    );
    wait_until("it is removed", || {
        past(&d, &[]).contains(&"container destroy".to_owned())
    });
    let seen = past(&d, &["--filter", "container=lived"]);
    let actions: Vec<&str> = seen
        .iter()
        .filter_map(|line| line.strip_prefix("container "))
        .collect();
    assert_eq!(actions, ["create", "attach", "start", "die", "destroy"]);
    let network: Vec<String> = past(&d, &["--filter", "type=network"]);
    assert_eq!(network, ["network connect", "network disconnect"]);
    let format =
        "{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.image}} {{.Actor.Attributes.name}}";
    let died = d.ok(&[
        "events",
        "--since",
        "1h",
        "--until",
        &now(),
        "--filter",
        "event=die",
        "--format",
        format,
    ]);
    assert_eq!(died, "3 busybox lived");
}

#[test]
fn of_all_kinds() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&["--name", "cc", "-v", "vol:/v", "-l", "mark=1"]);
    d.ok(&["exec", &id, "true"]);
    d.ok(&["pause", &id]);
    d.ok(&["unpause", &id]);
    d.ok(&["rename", &id, "renamed"]);
    d.ok(&["update", "--pids-limit", "10", &id]);
    d.ok(&["restart", "-t", "0", &id]);
    d.ok(&["kill", &id]);
    d.until(&id, "{{.State.Status}}", "exited");
    d.ok(&["tag", "busybox", "other"]);
    d.ok(&["rmi", "other"]);
    let seen = past(&d, &[]);
    for line in [
        "image load", "container create", "volume create", "container start",
        "container exec_create: true", "container exec_start: true", "container exec_die",
        "container pause", "container unpause", "container rename", "container update",
        "container kill", "container die", "container restart", "image tag", "image untag",
        "volume mount",
    ] {
        assert!(
            seen.iter().any(|other| other == line),
            "{line:?} in {seen:?}"
        );
    }
    let marked = past(&d, &["--filter", "label=mark=1", "--filter", "event=start"]);
    assert_eq!(marked, ["container start", "container start"]);
    assert!(!past(&d, &["--filter", "image=busybox", "--filter", "event=kill"]).is_empty());
}

#[test]
fn as_they_come() {
    let Some(d) = Daemon::start() else { return };
    let mut command = d.docker_command(&[
        "events", "--filter", "type=container", "--format", "{{json .}}",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    d.ok(&[
        "run", "--rm", "--network", "none", "--name", "watched", "busybox", "true",
    ]);
    std::thread::sleep(Duration::from_millis(300));
    coracle_tests::leak::kill(child.id().cast_signed(), rustix::process::Signal::INT);
    let text = output::finish(child, "events".into(), Vec::new()).stdout;
    let actions: Vec<String> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["Action"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(actions, ["create", "attach", "start", "die", "destroy"]);
}

/// Containers of the test below.
const MANY: usize = 1000;
/// How many are made at once.
const HANDS: usize = 8;

#[test]
fn many_short_containers_lose_and_double_none() {
    let Some(d) = Daemon::start() else { return };
    let mut command = d.docker_command(&[
        "events", "--filter", "type=container", "--format", "{{.Actor.ID}} {{.Action}}",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let heard = BufReader::new(child.stdout.take().unwrap());
    let listener = std::thread::spawn(move || {
        let mut seen: HashMap<String, Vec<String>> = HashMap::new();
        let mut gone = 0;
        for line in heard.lines().map_while(Result::ok) {
            let (id, action) = line.split_once(' ').unwrap();
            seen.entry(id.to_owned())
                .or_default()
                .push(action.to_owned());
            gone += usize::from(action == "destroy");
            if gone == MANY {
                break;
            }
        }
        seen
    });
    wait_until("it listens", || d.log().contains("path=\"/v1.47/events\""));
    let next = AtomicUsize::new(0);
    let body = json!({
        "Image": "busybox",
        "Cmd": ["true"],
        "HostConfig": {"AutoRemove": true, "NetworkMode": "none"},
    });
    let mut ids: Vec<String> = std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS)
            .map(|_| {
                scope.spawn(|| {
                    let mut ids = Vec::new();
                    while next.fetch_add(1, Ordering::Relaxed) < MANY {
                        let made = d.api("POST", "/v1.47/containers/create", Some(&body));
                        assert_eq!(made.status, 201, "{}", made.text());
                        let id = made.json()["Id"].as_str().unwrap().to_owned();
                        let start = format!("/v1.47/containers/{id}/start");
                        assert_eq!(d.api("POST", &start, None).status, 204);
                        ids.push(id);
                    }
                    ids
                })
            })
            .collect();
        hands
            .into_iter()
            .flat_map(|hand| hand.join().unwrap())
            .collect()
    });
    let seen = listener.join().unwrap();
    coracle_tests::leak::kill(child.id().cast_signed(), rustix::process::Signal::INT);
    let _ = output::finish(child, "events".into(), Vec::new());
    ids.sort();
    let mut of: Vec<&String> = seen.keys().collect();
    of.sort();
    assert_eq!(of, ids.iter().collect::<Vec<_>>());
    for (id, actions) in &seen {
        assert_eq!(actions[..], ["create", "start", "die", "destroy"], "{id}");
    }
}
