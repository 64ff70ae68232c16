//! The daemon itself: a second start, its end, its flags.

use std::process::Stdio;
use std::time::{Duration, Instant};

use coracle_tests::{Daemon, output, wait_until};

#[test]
fn a_second_start_says_so_and_succeeds() {
    let Some(d) = Daemon::start() else { return };
    let second = d.netns().enter(|| output::run(&mut d.command(), b""));
    second.code(0).says("already running");
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "well"]), "well");
}

#[test]
fn a_second_one_on_the_same_directories_is_refused() {
    let Some(d) = Daemon::start() else { return };
    let socket = format!("unix://{}", d.dir().join("other.sock").display());
    let first = d.command();
    let mut other = std::process::Command::new(first.get_program());
    // The same line with another socket: it would find the first one's served.
    let host = d.host();
    other.args(first.get_args().map(|arg| {
        if arg == host.as_str() {
            socket.as_ref()
        } else {
            arg
        }
    }));
    let second = d.netns().enter(|| output::run(&mut other, b""));
    assert_ne!(second.code, 0, "{second}");
    assert!(!second.stderr.contains("panicked"), "{second}");
}

#[test]
fn sigterm_drains_and_containers_run_on() {
    let Some(mut d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "busybox", "sh", "-c",
        "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done",
    ]);
    let pid = d.inspect(&id, "{{.State.Pid}}");
    // A request that is under way is finished.
    let mut command = d.docker_command(&["run", "--rm", "busybox", "sh", "-c", "sleep 1; exit 21"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let under_way = command.spawn().unwrap();
    wait_until("it runs", || d.ok(&["ps", "-q"]).lines().count() == 2);
    let begun = Instant::now();
    assert_eq!(d.terminate(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let _ = output::finish(under_way, "run".into(), Vec::new());
    assert!(
        std::path::Path::new("/proc").join(&pid).exists(),
        "the container runs on"
    );
    assert!(!d.socket().exists(), "the socket is gone");
    std::thread::sleep(Duration::from_millis(300));
    d.spawn();
    assert_eq!(d.inspect(&id, "{{.State.Pid}}"), pid);
    let log = d.ok(&["logs", &id]);
    let numbers: Vec<u32> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "a hole in the log"
    );
}

#[test]
fn a_stale_socket_is_replaced() {
    let Some(mut d) = Daemon::start() else { return };
    d.kill();
    assert!(d.socket().exists());
    d.spawn();
    assert_eq!(d.ok(&["images", "-q"]).lines().count(), 1);
}

#[test]
fn defaults_by_flag() {
    let flags = [
        "--log-driver", "local", "--default-ulimit", "nofile=300:400", "--default-shm-size", "16m",
        "--label", "a=b", "--init", "--bip", "10.99.0.1/24",
    ];
    let Some(d) = Daemon::flags(&flags) else {
        return;
    };
    let id = d.ok(&["run", "-d", "busybox", "sleep", "100"]);
    assert_eq!(d.inspect(&id, "{{.HostConfig.LogConfig.Type}}"), "local");
    assert_eq!(
        d.ok(&["exec", &id, "sh", "-c", "ulimit -n; ulimit -Hn"]),
        "300\n400"
    );
    assert_eq!(
        d.inspect(&id, "{{.NetworkSettings.IPAddress}}"),
        "10.99.0.2"
    );
    assert!(d.ok(&["info", "--format", "{{.Labels}}"]).contains("a=b"));
    assert_ne!(d.ok(&["exec", &id, "cat", "/proc/1/comm"]), "sleep");
}

#[test]
fn over_tcp() {
    let Some(d) = Daemon::flags(&["--host", "tcp://127.0.0.1:2375"]) else {
        return;
    };
    let answer = d.inside(
        "docker",
        &[
            "-H", "tcp://127.0.0.1:2375", "run", "--rm", "busybox", "echo", "over tcp",
        ],
    );
    assert_eq!(answer.ok(), "over tcp");
}

#[test]
fn over_tls_with_client_certificates() {
    let Some(mut d) = Daemon::start() else { return };
    let dir = d.dir().join("tls");
    std::fs::create_dir(&dir).unwrap();
    let script = r#"
        cd "$0"
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca-key.pem -out ca.pem
        for name in server client; do
            openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name-key.pem -out $name.csr
            printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=%sAuth\n' $name >ext
            openssl x509 -req -days 2 -in $name.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial \
                -extfile ext -out $name.pem
        done"#;
    let made = d.inside("bash", &["-ec", script, &dir.display().to_string()]);
    assert_eq!(made.code, 0, "{made}");
    let at = |name: &str| dir.join(name).display().to_string();
    assert_eq!(d.terminate(), Some(0));
    d.more_flags(&[
        "--host",
        "tcp://127.0.0.1:2376",
        "--tlsverify",
        "--tlscacert",
        &at("ca.pem"),
        "--tlscert",
        &at("server.pem"),
        "--tlskey",
        &at("server-key.pem"),
    ]);
    d.spawn();
    let host = ["-H", "tcp://127.0.0.1:2376"];
    let known = [
        "--tlsverify",
        "--tlscacert",
        &at("ca.pem"),
        "--tlscert",
        &at("client.pem"),
        "--tlskey",
        &at("client-key.pem"),
    ];
    let run = ["run", "--rm", "busybox", "echo", "over tls"];
    let answer = d.inside("docker", &[&host[..], &known[..], &run[..]].concat());
    assert_eq!(answer.ok(), "over tls");
    let unknown = ["--tls", "--tlscacert", &at("ca.pem")];
    assert_ne!(
        d.inside("docker", &[&host[..], &unknown[..], &["ps"]].concat())
            .code,
        0
    );
    assert_ne!(
        d.inside("docker", &[&host[..], &["ps"]].concat()).code,
        0,
        "without TLS"
    );
}

#[test]
fn by_a_configuration_file() {
    let Some(mut d) = Daemon::start() else { return };
    let file = d.dir().join("daemon.json");
    std::fs::write(&file, r#"{"log-driver": "local", "labels": ["from=file"]}"#).unwrap();
    assert_eq!(d.terminate(), Some(0));
    d.more_flags(&["--config-file", &file.display().to_string()]);
    d.spawn();
    assert_eq!(
        d.ok(&["info", "--format", "{{.LoggingDriver}} {{.Labels}}"]),
        "local [from=file]"
    );
}

#[test]
fn bad_flags_are_told() {
    let Some(d) = Daemon::start() else { return };
    for (flag, value) in [
        ("--log-level", "loud"),
        ("--bip", "nonsense"),
        ("--host", "ftp://x"),
        ("--default-ulimit", "x"),
        ("--config-file", "/none"),
    ] {
        let dir = d.dir().join("bad");
        let mut command = std::process::Command::new(d.command().get_program());
        command
            .arg("--data-root")
            .arg(&dir)
            .arg("--exec-root")
            .arg(&dir)
            .args([flag, value]);
        let output = d.netns().enter(|| output::run(&mut command, b""));
        assert_ne!(output.code, 0, "{flag}: {output}");
        assert!(
            !output.stderr.trim().is_empty() && !output.stderr.contains("panicked"),
            "{output}"
        );
    }
}
