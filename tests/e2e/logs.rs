//! `docker logs`, and the drivers that keep them.

use std::process::Stdio;
use std::time::Duration;

use coracle_tests::{Daemon, output, wait_until};

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn what_was_said_and_where() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&[
        "run", "--name", "said", "busybox", "sh", "-c", "echo one; echo two >&2; printf three",
    ]);
    let output = d.docker(&["logs", "said"]).code(0);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("one\nthree", "two\n")
    );
    let stamped = d.docker(&["logs", "-t", "said"]).code(0).stdout;
    let (time, text) = stamped.lines().next().unwrap().split_once(' ').unwrap();
    assert_eq!(text, "one");
    assert!(
        time.len() == 30 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
        "{time}"
    );
    let detailed = d.docker(&["logs", "--details", "said"]).code(0);
    assert!(detailed.stdout.contains("one"));
    d.fails(1, &["logs", "nobody"])
        .says("No such container: nobody");
}

#[test]
fn tails() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&["run", "--name", "counted", "busybox", "seq", "1000"]);
    let tail = |n: &str| d.ok(&["logs", "--tail", n, "counted"]);
    assert_eq!(tail("3"), "998\n999\n1000");
    assert_eq!(tail("0"), "");
    assert_eq!(lines(&tail("all")).len(), 1000);
    assert_eq!(lines(&tail("5000")).len(), 1000);
    assert_eq!(lines(&d.ok(&["logs", "counted"])).len(), 1000);
}

#[test]
fn since_and_until() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "busybox", "sh", "-c", "echo early; sleep 2; echo late",
    ]);
    d.ok(&["wait", &id]);
    let stamps = d.ok(&["logs", "-t", &id]);
    let late = lines(&stamps)[1].split(' ').next().unwrap();
    assert_eq!(d.ok(&["logs", "--since", late, &id]), "late");
    assert_eq!(
        d.ok(&["logs", "--until", "1s", "--since", "1h", &id]),
        "early"
    );
    assert_eq!(d.ok(&["logs", "--since", "1h", &id]), "early\nlate");
    assert_eq!(d.ok(&["logs", "--since", "2100-01-01T00:00:00", &id]), "");
}

#[test]
fn following() {
    let Some(d) = Daemon::start() else { return };
    let script = "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done";
    let id = d.ok(&["run", "-d", "busybox", "sh", "-c", script]);
    let followed = d.ok(&["logs", "-f", &id]);
    assert_eq!(
        followed, "1\n2\n3\n4\n5",
        "from the first line to the container's end"
    );
    assert_eq!(
        d.ok(&["logs", "-f", "--tail", "1", &id]),
        "5",
        "what has ended is not waited for"
    );
    // Over a restart of the container.
    let again = d.ok(&["run", "-d", "busybox", "sh", "-c", "echo run; sleep 100"]);
    let mut command = d.docker_command(&["logs", "-f", &again]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    d.ok(&["rm", "-f", &again]);
    assert!(
        output::wait(&mut child, Duration::from_secs(10)).is_some(),
        "it ends with the container"
    );
}

#[test]
fn long_lines_and_no_lines() {
    let Some(d) = Daemon::start() else { return };
    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; printf '\\303\\050\\000end'";
    d.ok(&["run", "--name", "long", "busybox", "sh", "-c", script]);
    let output = d.docker(&["logs", "long"]).code(0);
    assert_eq!(lines(&output.stdout)[0].len(), 100_000);
    assert!(
        output.bytes.ends_with(b"\x00end"),
        "{:?}",
        &output.bytes[100_000..]
    );
    // What is said without a line's end is kept even if nothing follows.
    let id = d.ok(&[
        "run", "-d", "busybox", "sh", "-c", "printf prompt; sleep 100",
    ]);
    wait_until("it has been said", || {
        d.inspect(&id, "{{.State.Running}}") == "true"
    });
    d.ok(&["kill", &id]);
    assert_eq!(d.ok(&["logs", &id]), "prompt");
}

#[test]
fn drivers() {
    let Some(d) = Daemon::start() else { return };
    for driver in ["json-file", "local"] {
        let name = format!("by-{driver}");
        d.ok(&[
            "run", "--name", &name, "--log-driver", driver, "busybox", "sh", "-c",
            "echo a; echo b >&2",
        ]);
        let output = d.docker(&["logs", &name]).code(0);
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            ("a\n", "b\n"),
            "{driver}"
        );
        assert_eq!(d.inspect(&name, "{{.HostConfig.LogConfig.Type}}"), driver);
    }
    let shown = d.ok(&[
        "run", "--name", "unkept", "--log-driver", "none", "busybox", "echo", "x",
    ]);
    assert_eq!(shown, "x", "the client sees it");
    d.fails(1, &["logs", "unkept"])
        .says("configured logging driver does not support reading");
    let path = d.inspect("by-json-file", "{{.LogPath}}");
    let text = std::fs::read_to_string(&path).unwrap();
    let entry: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&entry["log"], &entry["stream"]),
        (&"a\n".into(), &"stdout".into())
    );
    assert!(entry["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn rotation() {
    let Some(d) = Daemon::start() else { return };
    for driver in ["json-file", "local"] {
        let name = format!("rotated-{driver}");
        let flags = [
            "--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=3",
        ];
        d.ok(&[
            &["run", "--name", &name],
            &flags[..],
            &["busybox", "seq", "20000"],
        ]
        .concat());
        let text = d.ok(&["logs", &name]);
        let kept = lines(&text);
        assert_eq!(kept.last(), Some(&"20000"), "{driver}");
        assert!(
            kept.len() < 15_000 && kept.len() > 100,
            "{driver}: {}",
            kept.len()
        );
        let numbers: Vec<u32> = kept.iter().map(|line| line.parse().unwrap()).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{driver}: a hole"
        );
    }
    let dir = std::path::PathBuf::from(d.inspect("rotated-json-file", "{{.LogPath}}"));
    let size: u64 = std::fs::read_dir(dir.parent().unwrap())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".log"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(size <= 3 * 21_000, "{size}");
}

#[test]
fn a_follower_misses_nothing_of_a_rotating_log() {
    let Some(d) = Daemon::start() else { return };
    let script = "for i in $(seq 60); do seq $((i*100)) $((i*100+99)); sleep 0.02; done";
    // As many files as are written: what is dropped before a slow follower comes to it, it can't have.
    let flags = ["--log-opt", "max-size=8k", "--log-opt", "max-file=200"];
    let id = d.ok(&[&["run", "-d"], &flags[..], &["busybox", "sh", "-c", script]].concat());
    let text = d.ok(&["logs", "-f", &id]);
    let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.first(), Some(&100));
    assert_eq!(numbers.last(), Some(&6099));
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "a hole or a repeat"
    );
}
