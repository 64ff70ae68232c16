//! `docker inspect`.

use coracle_tests::Daemon;

#[test]
fn a_running_container() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-dit", "--name", "shown", "-e", "A=b", "-w", "/tmp", "-u", "33", "-m", "64m",
        "--cap-add", "CAP_NET_ADMIN", "--restart", "always", "-p", "127.0.0.1:9000:90", "busybox",
        "sleep", "1000",
    ]);
    for (template, wanted) in [
        ("{{.Id}}", id.as_str()),
        ("{{.Name}}", "/shown"),
        ("{{.Path}} {{json .Args}}", "sleep [\"1000\"]"),
        (
            "{{.State.Status}} {{.State.Running}} {{.State.Paused}} {{.State.Restarting}} {{.State.Dead}}",
            "running true false false false",
        ),
        ("{{.State.ExitCode}}{{.State.Error}}", "0"),
        ("{{.State.FinishedAt}}", "0001-01-01T00:00:00Z"),
        (
            "{{.RestartCount}} {{.Driver}} {{.Platform}}", "0 overlay2 linux",
        ),
        (
            "{{.Config.Tty}} {{.Config.OpenStdin}} {{.Config.StdinOnce}}",
            "true true false",
        ),
        (
            "{{.Config.Image}} {{.Config.User}} {{.Config.WorkingDir}}", "busybox 33 /tmp",
        ),
        (
            "{{json .Config.Cmd}} {{json .Config.Entrypoint}}", "[\"sleep\",\"1000\"] null",
        ),
        (
            "{{.HostConfig.Memory}} {{json .HostConfig.CapAdd}}", "67108864 [\"CAP_NET_ADMIN\"]",
        ),
        (
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.NetworkMode}}",
            "always bridge",
        ),
        (
            "{{(index (index .NetworkSettings.Ports \"90/tcp\") 0).HostPort}}",
            "9000",
        ),
        (
            "{{.HostConfig.AutoRemove}} {{.HostConfig.Privileged}} {{.HostConfig.IpcMode}}",
            "false false private",
        ),
        ("{{.AppArmorProfile}}{{.ProcessLabel}}", ""),
    ] {
        assert_eq!(d.inspect("shown", template), wanted, "{template}");
    }
    let pid: u32 = d.inspect("shown", "{{.State.Pid}}").parse().unwrap();
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line, "sleep\x001000\0");
    let image = d.inspect("shown", "{{.Image}}");
    assert_eq!(image, d.inspect("busybox", "{{.Id}}"));
    let created = d.inspect("shown", "{{.Created}}");
    assert!(created.ends_with('Z') && created.len() > 25, "{created}");
    assert!(
        d.inspect("shown", "{{json .Config.Env}}")
            .contains("\"A=b\"")
    );
    let sized = d.ok(&[
        "inspect", "-s", "--format", "{{.SizeRw}} {{.SizeRootFs}}", "shown",
    ]);
    let sizes: Vec<u64> = sized.split(' ').map(|size| size.parse().unwrap()).collect();
    assert!(sizes[1] > 1_000_000, "{sized}");
    d.ok(&["update", "--restart", "no", "shown"]);
}

#[test]
fn several_and_none() {
    let Some(d) = Daemon::start() else { return };
    d.ok(&["create", "--name", "one", "busybox"]);
    let both = d.ok(&["inspect", "--format", "{{.Id}}", "one", "busybox"]);
    assert_eq!(both.lines().count(), 2);
    let missing = d.docker(&["inspect", "one", "nobody"]).code(1);
    assert!(
        missing.stderr.contains("No such object: nobody"),
        "{missing}"
    );
    let list: serde_json::Value = serde_json::from_str(&missing.stdout).unwrap();
    assert_eq!(list.as_array().map(Vec::len), Some(1));
    d.fails(1, &["inspect", "--type", "container", "busybox"])
        .says("No such container: busybox");
    // An ambiguous beginning is no name: hexadecimal digits of two containers.
    let mut first = std::collections::HashMap::new();
    for _ in 0..17 {
        let id = d.ok(&["create", "busybox"]);
        if let Some(_other) = first.insert(id[..1].to_owned(), id.clone()) {
            d.fails(1, &["inspect", "--type", "container", &id[..1]]);
            break;
        }
    }
}

/// What Docker's older clients look for: the container that an image was made of, and the runtime by the name
/// that was asked for.
#[test]
fn what_older_clients_expect() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "create", "--runtime", "runc", "-e", "A=b", "busybox", "true",
    ]);
    assert_eq!(d.inspect(&id, "{{.HostConfig.Runtime}}"), "runc");
    let known = d.ok(&["info", "--format", "{{json .Runtimes}}"]);
    assert!(known.contains("\"runc\":"), "{known}");
    d.ok(&["start", "-a", &id]);
    d.ok(&["commit", &id, "made"]);
    let image = |version: &str, name: &str| {
        d.api("GET", &format!("/v{version}/images/{name}/json"), None)
            .json()
    };
    let old = image("1.44", "made");
    assert_eq!(old["Container"], id.as_str());
    assert_eq!(old["ContainerConfig"]["Image"], "busybox");
    assert_eq!(old["ContainerConfig"]["Env"][0], "A=b");
    let new = image("1.45", "made");
    assert!(new.get("Container").is_none() && new.get("ContainerConfig").is_none());
    assert!(image("1.44", "busybox").get("Container").is_none());
}
