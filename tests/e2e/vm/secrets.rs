//! Secrets and configs.

use coracle_tests::{Daemon, plain};

use super::{cases, run};
use crate::secrets::{disguises, value};

#[test]
fn secrets() {
    run(cases![
        container_secrets, container_large_secrets, container_secret_runs_again
    ]);
}

fn create(d: &Daemon, kind: &str, name: &str, value: &[u8]) {
    d.docker_in(&[kind, "create", name, "-"], value).ok();
}

fn container_secrets(d: &Daemon) {
    let value = value("machine");
    create(d, "secret", "pw", value.as_bytes());
    create(d, "config", "cfg", b"shown");
    let user = super::Guest::new(
        d,
        &[
            "--annotation", "coracle.secrets=pw:key:0400:33:34,pw:/srv/a/b", "--annotation",
            "coracle.configs=cfg",
        ],
    );
    assert_eq!(user.exec("cat /run/secrets/key"), value);
    assert_eq!(user.exec("cat /srv/a/b"), value);
    assert_eq!(user.exec("cat /cfg"), "shown");
    assert_eq!(
        user.exec("stat -c '%a %u %g' /run/secrets/key /srv/a/b"),
        "400 33 34\n444 0 0"
    );
    d.fails(1, &["secret", "rm", "pw"]).says("is in use by");
    // Neither on the host, nor on the machine's disk, which is below the daemon's directory; nor in
    // what cores of daemon and shim would hold. The machine's memory has it, as it must.
    let texts = disguises(&value);
    let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    user.exec("sync");
    assert_eq!(plain::places(d.dir(), &texts), Vec::<String>::new());
    assert_eq!(plain::in_memory(d.pid(), &texts), Vec::<String>::new());
    let id = d.inspect(&user, "{{.Id}}");
    let pid = d.dir().join(format!("exec/containers/{id}/shim.pid"));
    let shim = std::fs::read_to_string(pid).unwrap();
    let shim = shim.trim().parse().unwrap();
    assert_eq!(plain::in_memory(shim, &texts), Vec::<String>::new());
}

/// More than one request of the guest's protocol holds.
fn container_large_secrets(d: &Daemon) {
    let large = vec![b'x'; 500 * 1024 - 1];
    create(d, "secret", "large", &large);
    create(d, "config", "larger", &vec![b'y'; 1000 * 1024 - 1]);
    let flags = [
        "--annotation", "coracle.secrets=large:/a,large:/b", "--annotation",
        "coracle.configs=larger:/c",
    ];
    let seen = d.sh(
        &flags,
        "stat -c %s /a /b /c; tr -d x </b | wc -c; tr -d y </c | wc -c",
    );
    assert_eq!(seen, "511999\n511999\n1023999\n0\n0");
}

fn container_secret_runs_again(d: &Daemon) {
    create(d, "secret", "again", b"here");
    let flags = ["--annotation", "coracle.secrets=again"];
    let user = super::Guest::sh(d, &flags, "cat /run/secrets/again; echo; exec sleep 1000");
    d.ok(&["restart", "-t", "0", &user]);
    assert_eq!(user.exec("cat /run/secrets/again"), "here");
}
