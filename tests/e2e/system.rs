//! `docker version info stats top`, and `docker system`.

use coracle_tests::Daemon;

#[test]
fn version_and_info() {
    let Some(d) = Daemon::start() else { return };
    assert_eq!(
        d.ok(&[
            "version",
            "--format",
            "{{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Server.Os}}"
        ]),
        "1.47 1.24 linux"
    );
    let old = {
        let mut command = d.docker_command(&["version", "--format", "{{.Client.APIVersion}}"]);
        command.env("DOCKER_API_VERSION", "1.30");
        coracle_tests::output::run(&mut command, b"").ok()
    };
    assert_eq!(old, "1.30");
    d.sleeper(&[]);
    d.ok(&["pause", &d.sleeper(&[])]);
    d.ok(&["create", "busybox"]);
    let counts = d.ok(&["info", "--format", "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}} {{.Images}}"]);
    assert_eq!(counts, "3 1 1 1 1");
    let root = d.ok(&["info", "--format", "{{.DockerRootDir}}"]);
    assert_eq!(root, d.dir().join("data").display().to_string());
    let facts = d.ok(&[
        "info", "--format", "{{.Driver}} {{.OSType}} {{.NCPU}} {{.LoggingDriver}}",
    ]);
    assert!(
        facts.starts_with("overlay2 linux ") && facts.ends_with(" json-file"),
        "{facts}"
    );
    let whole = d.docker(&["info"]).code(0);
    assert!(!whole.stdout.contains("ERROR"), "{whole}");
}

#[test]
fn stats() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--name", "busy", "busybox", "sh", "-c", "while :; do :; done",
    ]);
    let format = "{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.NetIO}}|{{.BlockIO}}|{{.PIDs}}";
    let line = d.ok(&["stats", "--no-stream", "--format", format, &id]);
    let fields: Vec<&str> = line.split('|').collect();
    assert_eq!((fields[0], fields[5]), ("busy", "1"), "{line}");
    let percent: f64 = fields[1].trim_end_matches('%').parse().unwrap();
    assert!(percent > 5.0 && percent < 150.0, "{line}");
    assert!(fields[2].contains("iB / "), "{line}");
    let once = d
        .api(
            "GET",
            &format!("/v1.47/containers/{id}/stats?stream=false&one-shot=true"),
            None,
        )
        .json();
    assert!(
        once["cpu_stats"]["cpu_usage"]["total_usage"]
            .as_u64()
            .unwrap()
            > 0,
        "{once}"
    );
    assert!(once["networks"]["eth0"]["rx_bytes"].is_u64(), "{once}");
    let all = d.ok(&["stats", "--no-stream", "-a", "--format", "{{.Name}}"]);
    assert_eq!(all, "busy");
    d.fails(1, &["stats", "--no-stream", "nobody"])
        .says("nobody");
}

#[test]
fn top() {
    let Some(d) = Daemon::start() else { return };
    let id = d.sleeper(&["--name", "tt"]);
    d.ok(&["exec", "-d", "tt", "sleep", "777"]);
    let text = d.ok(&["top", "tt"]);
    assert!(text.starts_with("UID "), "{text}");
    assert!(
        text.contains("sleep 1000") && text.contains("sleep 777"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 3, "{text}");
    let own = d.ok(&["top", "tt", "-o", "pid,args"]);
    let pid = d.inspect("tt", "{{.State.Pid}}");
    assert!(own.contains(&pid) && own.starts_with("PID"), "{own}");
    d.ok(&["kill", &id]);
    d.until(&id, "{{.State.Status}}", "exited");
    d.fails(1, &["top", "tt"]).says("is not running");
}

#[test]
fn usage_and_prune() {
    let Some(d) = Daemon::having(&["busybox", "configured"]) else {
        return;
    };
    d.sleeper(&["--name", "runs", "-v", "used:/v"]);
    d.ok(&[
        "run", "--name", "ended", "busybox", "sh", "-c", "head -c 1000000 /dev/zero >/file",
    ]);
    d.ok(&["volume", "create", "unused"]);
    let df = d.ok(&[
        "system", "df", "--format", "{{.Type}}|{{.TotalCount}}|{{.Active}}",
    ]);
    for line in ["Images|8|1", "Containers|2|1", "Local Volumes|2|1"] {
        assert!(df.lines().any(|other| other == line), "{line}: {df}");
    }
    let verbose = d.ok(&["system", "df", "-v"]);
    assert!(
        verbose.contains("ended") && verbose.contains("1MB"),
        "{verbose}"
    );
    let pruned = d.ok(&["container", "prune", "-f"]);
    assert!(
        pruned.contains("Deleted Containers:") && pruned.contains("Total reclaimed space: 1MB"),
        "{pruned}"
    );
    assert_eq!(d.ok(&["ps", "-a", "--format", "{{.Names}}"]), "runs");
    d.ok(&["create", "--name", "old", "busybox"]);
    d.ok(&["container", "prune", "-f", "--filter", "until=1h"]);
    assert!(d.ok(&["ps", "-aq"]).lines().count() == 2, "too young to go");
    d.ok(&["system", "prune", "-f", "-a", "--volumes"]);
    assert_eq!(d.ok(&["images", "--format", "{{.Repository}}"]), "busybox");
    assert_eq!(d.ok(&["ps", "-aq"]).lines().count(), 1);
}
