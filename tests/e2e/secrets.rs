//! Secrets and configs, by the docker CLI and by `coracle`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use coracle_tests::fixture::binary;
use coracle_tests::{Daemon, Output, output, plain, wait_until};
use serde_json::json;

/// In no other file or process of this host.
pub(crate) fn value(name: &str) -> String {
    format!("{name}-{}-{}", std::process::id(), "kept-to-ourselves")
}

/// A value as it is, and as the API has it on its way (the part that any alignment leaves whole).
pub(crate) fn disguises(value: &str) -> Vec<Vec<u8>> {
    use base64::Engine;
    let coded = base64::engine::general_purpose::STANDARD.encode(value);
    vec![
        value.as_bytes().to_vec(),
        coded.trim_end_matches('=').as_bytes()[..coded.len() - 4].to_vec(),
    ]
}

fn coracle(d: &Daemon, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary("coracle"));
    command.args(args).env("CORACLE_HOST", d.host());
    command
        .env("DOCKER_CONFIG", d.dir().join("config"))
        .env_remove("DOCKER_HOST");
    output::run(&mut command, input.as_bytes())
}

fn keys(d: &Daemon) -> PathBuf {
    d.dir().join("data/vault/keys")
}

/// Shims of a daemon's containers.
fn shims(d: &Daemon) -> Vec<i32> {
    let bundles = fs::read_dir(d.dir().join("exec/containers")).into_iter();
    let pids = bundles.flatten().flatten().filter_map(|entry| {
        let text = fs::read_to_string(entry.path().join("shim.pid")).ok()?;
        text.trim().parse().ok()
    });
    pids.collect()
}

/// Nothing in files, arguments, environments, answers, and what cores of daemon and shims would hold.
#[track_caller]
pub(crate) fn assert_hidden(d: &Daemon, value: &str, names: &[&str]) {
    let texts = disguises(value);
    let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    assert_eq!(plain::places(d.dir(), &texts), Vec::<String>::new());
    let mut paths = vec![
        "/secrets".to_owned(),
        "/info".into(),
        "/containers/json?all=1".into(),
        "/events?since=1&stream=0".into(),
    ];
    for name in names {
        paths.push(format!("/containers/{name}/json"));
        paths.push(format!("/containers/{name}/changes"));
    }
    for path in paths {
        let answer = d.api("GET", &path, None).text();
        assert!(!answer.contains(value), "{path}");
    }
    let mut in_memory = plain::in_memory(d.pid(), &texts);
    for shim in shims(d) {
        in_memory.extend(plain::in_memory(shim, &texts));
    }
    assert_eq!(in_memory, Vec::<String>::new());
}

#[test]
fn by_the_docker_cli() {
    let Some(d) = Daemon::start() else { return };
    let value = value("docker");
    let made = d.docker_in(
        &["secret", "create", "-l", "tier=db", "pw", "-"],
        value.as_bytes(),
    );
    let id = made.ok();
    assert_eq!(id.len(), 25, "{id}");
    assert_eq!(d.ok(&["secret", "ls", "-q"]), id);
    assert_eq!(d.ok(&["secret", "ls", "-q", "-f", "label=tier=web"]), "");
    let spec = d.ok(&["secret", "inspect", "-f", "{{json .Spec}}", "pw"]);
    assert_eq!(spec, r#"{"Name":"pw","Labels":{"tier":"db"}}"#);
    d.docker_in(&["secret", "create", "pw", "-"], b"x")
        .code(1)
        .says("rpc error: code = AlreadyExists desc = secret pw already exists");
    d.docker_in(&["secret", "create", "a/b", "-"], b"x")
        .code(1)
        .says("invalid name, only 64 [a-zA-Z0-9-_.] characters allowed");
    d.docker_in(&["secret", "create", "large", "-"], &vec![b'x'; 500 * 1024])
        .code(1)
        .says("secret data must be larger than 0 and less than 512000 bytes");
    d.docker_in(&["config", "create", "cfg", "-"], b"shown")
        .ok();
    let shown = d.ok(&["config", "inspect", "--pretty", "cfg"]);
    assert!(shown.contains("shown"), "{shown}");

    let user = d.sleeper(&[
        "--name", "user", "--annotation", "coracle.secrets=pw:key:0400:33:34,pw:/srv/a/b",
        "--annotation", "coracle.configs=cfg",
    ]);
    let sh = |script: &str| d.ok(&["exec", &user, "sh", "-c", script]);
    assert_eq!(sh("cat /run/secrets/key"), value);
    assert_eq!(sh("cat /srv/a/b"), value);
    assert_eq!(sh("cat /cfg"), "shown");
    assert_eq!(
        sh("stat -c '%a %u %g' /run/secrets/key /srv/a/b"),
        "400 33 34\n444 0 0"
    );
    assert_eq!(sh("stat -f -c %T /run/secrets/key"), "tmpfs");
    assert_eq!(
        sh("umount /cfg 2>/dev/null; echo x 2>/dev/null >/cfg; cat /cfg"),
        "shown"
    );
    let denied = d.docker(&["exec", "-u", "7", "user", "cat", "/run/secrets/key"]);
    denied.code(1).says("Permission denied");
    d.fails(1, &["secret", "rm", "pw"])
        .says("secret 'pw' is in use by the following container: user");
    d.fails(1, &["config", "rm", "cfg"])
        .says("config 'cfg' is in use by the following container: user");
    // What is made of the container doesn't have them.
    d.ok(&["commit", "user", "made"]);
    assert_eq!(
        d.ok(&["run", "--rm", "made", "cat", "/run/secrets/key"]),
        ""
    );
    d.ok(&["rm", "-f", "-v", "user"]);
    d.ok(&["secret", "rm", "pw"]);
    d.fails(1, &["secret", "inspect", "pw"]).says("pw");
    d.ok(&["config", "rm", "cfg"]);
}

#[test]
fn by_our_own_cli() {
    let Some(d) = Daemon::start() else { return };
    let value = value("own");
    let id = coracle(&d, &["secret", "create", "pw", "-"], &value).ok();
    coracle(&d, &["config", "create", "cfg", "-"], "shown").ok();
    let listed = coracle(&d, &["secret", "ls"], "").ok();
    assert!(listed.contains(&id) && listed.contains("pw"), "{listed}");
    let run = |options: &[&str], script: &str| {
        let words = [&["run", "--rm"], options, &["busybox", "sh", "-c", script]].concat();
        coracle(&d, &words, "").ok()
    };
    assert_eq!(run(&["--secret", "pw"], "cat /run/secrets/pw"), value);
    let long = "source=pw,target=x,uid=5,gid=6,mode=0440";
    assert_eq!(
        run(&["--secret", long], "stat -c '%a %u %g' /run/secrets/x"),
        "440 5 6"
    );
    assert_eq!(
        run(&["--config", "cfg,target=/etc/c"], "cat /etc/c"),
        "shown"
    );
    coracle(&d, &["run", "--secret", "pw,type=env", "busybox"], "")
        .code(125)
        .says("type=env is not supported");
    coracle(&d, &["run", "--secret", "none", "busybox"], "")
        .code(125)
        .says("secret not found: none");
    let rotated = coracle(&d, &["secret", "rotate-key"], "").ok();
    assert!(rotated.starts_with("2 "), "{rotated}");
    assert_eq!(run(&["--secret", "pw"], "cat /run/secrets/pw"), value);
    let names: Vec<_> = fs::read_dir(keys(&d)).unwrap().flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(names[0].file_name(), "2.key");
    assert_eq!(coracle(&d, &["secret", "rm", "pw"], "").ok(), "pw");
    coracle(&d, &["config", "rm", "cfg"], "").ok();
}

#[test]
fn no_plain_text_is_found() {
    let Some(d) = Daemon::start() else { return };
    let value = value("hidden");
    d.docker_in(&["secret", "create", "pw", "-"], value.as_bytes())
        .ok();
    d.ok(&[
        "run", "-d", "--name", "user", "--annotation", "coracle.secrets=pw", "busybox", "sh", "-c",
        "test -s /run/secrets/pw && echo is-there; exec sleep 1000",
    ]);
    wait_until("it runs", || d.ok(&["logs", "user"]) == "is-there");
    assert_hidden(&d, &value, &["user"]);
    d.ok(&["rm", "-f", "-v", "user"]);
    assert_hidden(&d, &value, &[]);
}

#[test]
fn they_are_there_again_in_each_run() {
    let Some(mut d) = Daemon::start() else { return };
    let value = value("again");
    d.docker_in(&["secret", "create", "pw", "-"], value.as_bytes())
        .ok();
    let script = "cat /run/secrets/pw; echo; test -e /tmp/once || { touch /tmp/once; exit 3; }; \
                  exec sleep 1000";
    d.ok(&[
        "run", "-d", "--name", "user", "--restart", "on-failure", "--annotation",
        "coracle.secrets=pw", "busybox", "sh", "-c", script,
    ]);
    let seen = |d: &Daemon| d.ok(&["logs", "user"]).matches(&value).count();
    wait_until("its policy started it again", || seen(&d) == 2);
    // The container keeps its own through the daemon's death.
    d.crash();
    let read = ["exec", "user", "cat", "/run/secrets/pw"];
    assert_eq!(d.ok(&read), value);
    d.fails(1, &["secret", "rm", "pw"]).says("is in use by");
    d.ok(&["restart", "-t", "0", "user"]);
    assert_eq!(d.ok(&read), value);
    // A key that others may read is used for nothing.
    let key = keys(&d).join("1.key");
    let set = |mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    };
    set(0o644);
    d.ok(&["stop", "-t", "0", "user"]);
    d.fails(1, &["start", "user"]).says("is open to others");
    set(0o600);
    d.ok(&["start", "user"]);
    d.ok(&["rm", "-f", "-v", "user"]);
}

#[test]
fn requests_that_make_no_sense() {
    let Some(d) = Daemon::start() else { return };
    let post = |path: &str, body| d.api("POST", path, Some(&body));
    let good = json!({"Name": "s", "Data": "aGVsbG8="});
    for kind in ["secrets", "configs"] {
        let create = format!("/{kind}/create");
        for (body, status) in [
            (json!({}), 400),
            (json!({"Name": "s"}), 400),
            (json!({"Name": "s", "Data": "***"}), 400),
            (json!({"Name": 5, "Data": "aGVsbG8="}), 400),
            (
                json!({"Name": "s", "Data": "aGVsbG8=", "Driver": {"Name": "x"}}),
                400,
            ),
            (
                json!({"Name": "s", "Data": "aGVsbG8=", "Templating": {"Name": "golang"}}),
                400,
            ),
            (good.clone(), 201),
            (good.clone(), 409),
        ] {
            let reply = post(&create, body.clone());
            assert_eq!(reply.status, status, "{kind} {body}: {reply:?}");
        }
        let update =
            |version: &str, body| post(&format!("/{kind}/s/update?version={version}"), body).status;
        let labels = json!({"Name": "s", "Labels": {"a": "b"}});
        assert_eq!(update("x", labels.clone()), 400);
        assert_eq!(update("7", labels.clone()), 400);
        assert_eq!(update("1", json!({"Name": "t"})), 400);
        assert_eq!(update("1", labels.clone()), 200);
        assert_eq!(update("1", labels), 400);
        for (method, path, status) in [
            ("GET", "/none", 404),
            ("DELETE", "/none", 404),
            ("GET", "?filters=%7B%22x%22%3A%5B%22y%22%5D%7D", 400),
            ("GET", "?filters=%7B%22name%22%3A%5B%22s%22%5D%7D", 200),
            ("DELETE", "/s", 204),
        ] {
            let reply = d.api(method, &format!("/{kind}{path}"), None);
            assert_eq!(reply.status, status, "{method} /{kind}{path}");
        }
    }
}
