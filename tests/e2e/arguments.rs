//! Every route with arguments that are missing, given twice, in use or malformed: the status that
//! Docker's API documents, in its error's shape, and never a 500.

use coracle_tests::Daemon;
use serde_json::{Value, json};

/// A route, its body, the status that is due, and a part of the message.
type Row = (&'static str, &'static str, Value, u16, &'static str);

/// No body.
const NONE: Value = Value::Null;

/// What is there: the containers `run` (running, on `net`, with `vol`), `made` (not started) and `over`
/// (ended); the network `net`, the volume `vol`, the image `busybox`.
fn stage(d: &Daemon) {
    d.ok(&["network", "create", "net"]);
    d.ok(&["network", "create", "--subnet", "10.99.1.0/24", "other"]);
    d.ok(&["volume", "create", "vol"]);
    let _ = d.sleeper(&["--name", "run", "--network", "net", "-v", "vol:/data"]);
    d.ok(&["create", "--name", "made", "busybox", "true"]);
    d.ok(&[
        "run", "--name", "over", "--network", "none", "busybox", "true",
    ]);
}

/// Asks each, and tells all that are wrong at once.
fn check(d: &Daemon, rows: &[Row]) {
    let mut wrong = Vec::new();
    for (method, path, body, status, text) in rows {
        let body = (!body.is_null()).then_some(body);
        let reply = d.api(method, &format!("/v1.47{path}"), body);
        let message = reply.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let shaped = *status < 400 || *method == "HEAD" || !message.is_empty();
        if reply.status != *status || !message.contains(text) || !shaped {
            wrong.push(format!(
                "{method} {path}: {} {}, not {status} {text:?}",
                reply.status,
                reply.text().trim()
            ));
            wrong.extend(body.map(Value::to_string));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn containers() {
    let Some(d) = Daemon::start() else { return };
    stage(&d);
    let image = |more: Value| {
        let mut body = json!({"Image": "busybox"});
        let (Some(body_map), Value::Object(more)) = (body.as_object_mut(), more) else {
            panic!("objects")
        };
        body_map.extend(more);
        body
    };
    let host = |config: Value| image(json!({"HostConfig": config}));
    let many = |count: usize| "x".repeat(count);
    check(
        &d,
        &[
            // Those that aren't there.
            (
                "GET", "/containers/none/json", NONE, 404, "No such container: none",
            ),
            (
                "GET", "/containers/none/top", NONE, 404, "No such container",
            ),
            (
                "GET", "/containers/none/logs?stdout=1", NONE, 404, "No such container",
            ),
            (
                "GET", "/containers/none/changes", NONE, 404, "No such container",
            ),
            (
                "GET", "/containers/none/export", NONE, 404, "No such container",
            ),
            (
                "GET", "/containers/none/stats?stream=0", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/resize?h=1&w=1", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/start", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/stop", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/restart", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/kill", NONE, 404, "No such container",
            ),
            (
                "POST",
                "/containers/none/update",
                json!({}),
                404,
                "No such container",
            ),
            (
                "POST", "/containers/none/rename?name=new", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/pause", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/unpause", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/attach?stream=1", NONE, 404, "No such container",
            ),
            (
                "POST", "/containers/none/wait", NONE, 404, "No such container",
            ),
            (
                "POST",
                "/containers/none/exec",
                json!({"Cmd": ["true"]}),
                404,
                "No such container",
            ),
            ("DELETE", "/containers/none", NONE, 404, "No such container"),
            (
                "GET", "/containers/none/archive?path=/", NONE, 404, "No such container",
            ),
            ("HEAD", "/containers/none/archive?path=/", NONE, 404, ""),
            (
                "PUT", "/containers/none/archive?path=/", NONE, 404, "No such container",
            ),
            (
                "POST", "/commit?container=none", NONE, 404, "No such container",
            ),
            (
                "POST",
                "/containers/create",
                json!({"Image": "none"}),
                404,
                "No such image: none",
            ),
            (
                "POST",
                "/exec/none/start",
                json!({}),
                404,
                "No such exec instance: none",
            ),
            (
                "GET", "/exec/none/json", NONE, 404, "No such exec instance: none",
            ),
            (
                "POST", "/exec/none/resize?h=1&w=1", NONE, 404, "No such exec instance: none",
            ),
            // Those that are there already, or in a state that doesn't allow it.
            (
                "POST",
                "/containers/create?name=run",
                image(json!({})),
                409,
                "already in use",
            ),
            (
                "POST", "/containers/made/rename?name=run", NONE, 409, "already in use",
            ),
            ("POST", "/containers/run/start", NONE, 304, ""),
            ("POST", "/containers/over/stop", NONE, 304, ""),
            ("POST", "/containers/made/kill", NONE, 409, "is not running"),
            (
                "POST", "/containers/made/pause", NONE, 409, "is not running",
            ),
            ("POST", "/containers/run/unpause", NONE, 409, ""),
            (
                "POST",
                "/containers/made/exec",
                json!({"Cmd": ["true"]}),
                409,
                "is not running",
            ),
            ("GET", "/containers/made/top", NONE, 409, "is not running"),
            (
                "POST", "/containers/made/resize?h=1&w=1", NONE, 409, "is not running",
            ),
            ("DELETE", "/containers/run", NONE, 409, "cannot remove"),
            // Malformed ones.
            ("GET", "/containers/json?filters=x", NONE, 400, ""),
            (
                "GET",
                "/containers/json?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D",
                NONE,
                400,
                "invalid filter",
            ),
            ("GET", "/containers/json?limit=x", NONE, 400, ""),
            (
                "GET",
                "/containers/json?filters=%7B%22status%22%3A%5B%22odd%22%5D%7D",
                NONE,
                400,
                "",
            ),
            (
                "GET",
                "/containers/json?filters=%7B%22exited%22%3A%5B%22odd%22%5D%7D",
                NONE,
                400,
                "",
            ),
            (
                "GET",
                "/containers/json?filters=%7B%22since%22%3A%5B%22none%22%5D%7D",
                NONE,
                404,
                "",
            ),
            ("POST", "/containers/prune?filters=x", NONE, 400, ""),
            (
                "POST",
                "/containers/create?name=-x",
                image(json!({})),
                400,
                "Invalid container name",
            ),
            (
                "POST",
                "/containers/create?name=a/b",
                image(json!({})),
                400,
                "Invalid container name",
            ),
            (
                "POST",
                "/containers/create?platform=a/b/c/d",
                image(json!({})),
                400,
                "",
            ),
            ("POST", "/containers/create", NONE, 400, ""),
            ("POST", "/containers/create", json!([]), 400, ""),
            ("POST", "/containers/create", json!({}), 400, ""),
            (
                "POST",
                "/containers/create",
                json!({"Image": "UPPER"}),
                400,
                "invalid reference format",
            ),
            (
                "POST",
                "/containers/create",
                image(json!({"Cmd": 1})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                image(json!({"Hostname": many(300)})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                image(json!({"StopSignal": "ODD"})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                image(json!({"ExposedPorts": {"x/tcp": {}}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                image(json!({"Env": ["=x"]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                image(json!({"WorkingDir": "odd"})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                image(json!({"Healthcheck": {"Interval": 1}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Memory": 1})),
                400,
                "6MB",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Memory": -5})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"MemorySwap": 1, "Memory": 67_108_864})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"NanoCpus": 1_000_000_000_000_000_i64})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"CpuPeriod": 5})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"CpusetCpus": "x"})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Binds": ["x"]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Binds": ["/a:b"]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Binds": ["/tmp:/a", "/tmp:/a"]})),
                400,
                "Duplicate mount point: /a",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Binds": ["/tmp:/a:odd"]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Mounts": [{"Type": "odd", "Target": "/a"}]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Mounts": [{"Type": "bind", "Source": "/not/there", "Target": "/a"}]})),
                400,
                "does not exist",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Tmpfs": {"a": ""}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"VolumesFrom": ["none"]})),
                404,
                "No such container",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"RestartPolicy": {"Name": "odd"}})),
                400,
                "invalid restart policy",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"RestartPolicy": {"Name": "always"}, "AutoRemove": true})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"LogConfig": {"Type": "odd"}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"LogConfig": {"Type": "json-file", "Config": {"odd": "1"}}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Runtime": "odd"})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"CapAdd": ["ODD"]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"SecurityOpt": ["odd=1"]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"PidMode": "odd"})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"IpcMode": "odd"})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"NetworkMode": "container:"})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"PortBindings": {"80/odd": []}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"PortBindings": {"80/tcp": [{"HostIp": "x", "HostPort": "1"}]}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Ulimits": [{"Name": "odd", "Soft": 1, "Hard": 1}]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Sysctls": {"kernel.odd": "1"}})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(
                    json!({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "odd"}]}),
                ),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"OomScoreAdj": 5000})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"ShmSize": -1})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"Dns": ["x"]})),
                400,
                "",
            ),
            (
                "POST",
                "/containers/create",
                host(json!({"ExtraHosts": ["x"]})),
                400,
                "",
            ),
            (
                "GET", "/containers/run/logs", NONE, 400, "you must choose at least one stream",
            ),
            ("GET", "/containers/run/logs?stdout=1&tail=x", NONE, 200, ""),
            (
                "GET", "/containers/run/logs?stdout=1&since=x", NONE, 400, "",
            ),
            (
                "POST", "/containers/run/kill?signal=ODD", NONE, 400, "invalid signal",
            ),
            (
                "POST", "/containers/run/kill?signal=99", NONE, 400, "does not support signal 99",
            ),
            ("POST", "/containers/run/stop?t=x", NONE, 400, ""),
            (
                "POST", "/containers/run/stop?signal=ODD", NONE, 400, "invalid signal",
            ),
            ("POST", "/containers/run/restart?t=x", NONE, 400, ""),
            ("POST", "/containers/run/resize", NONE, 400, ""),
            ("POST", "/containers/run/resize?h=x&w=1", NONE, 400, ""),
            ("POST", "/containers/run/rename", NONE, 400, ""),
            (
                "POST", "/containers/run/rename?name=-x", NONE, 400, "Invalid container name",
            ),
            ("POST", "/containers/run/rename?name=run", NONE, 400, ""),
            ("POST", "/containers/run/update", json!([]), 400, ""),
            (
                "POST",
                "/containers/run/update",
                json!({"Memory": 1}),
                400,
                "",
            ),
            (
                "POST",
                "/containers/run/update",
                json!({"RestartPolicy": {"Name": "odd"}}),
                400,
                "",
            ),
            (
                "POST", "/containers/run/wait?condition=odd", NONE, 400, "invalid condition",
            ),
            (
                "POST",
                "/containers/run/exec",
                json!({}),
                400,
                "No exec command specified",
            ),
            ("POST", "/containers/run/exec", NONE, 400, ""),
            (
                "POST",
                "/containers/run/exec",
                json!({"Cmd": ["true"], "DetachKeys": "odd"}),
                400,
                "",
            ),
            (
                "POST", "/containers/run/attach?detachKeys=odd", NONE, 400, "",
            ),
            (
                "GET", "/containers/run/top?ps_args=-o%20nonsense", NONE, 400, "",
            ),
            ("GET", "/containers/run/archive", NONE, 400, ""),
            (
                "GET", "/containers/run/archive?path=/none", NONE, 404, "Could not find the file",
            ),
            ("HEAD", "/containers/run/archive?path=/none", NONE, 404, ""),
            ("PUT", "/containers/run/archive", NONE, 400, ""),
            ("PUT", "/containers/run/archive?path=/none", NONE, 404, ""),
            (
                "PUT", "/containers/run/archive?path=/etc/passwd", NONE, 400, "",
            ),
            (
                "PUT",
                "/containers/run/archive?path=/tmp",
                json!("no tar"),
                400,
                "",
            ),
            ("POST", "/commit", NONE, 404, ""),
            (
                "POST", "/commit?container=over&repo=UPPER", NONE, 400, "invalid reference format",
            ),
            ("POST", "/commit?container=over&changes=ODD", NONE, 400, ""),
        ],
    );
}

#[test]
fn images() {
    let Some(d) = Daemon::start() else { return };
    stage(&d);
    check(
        &d,
        &[
            ("GET", "/images/none/json", NONE, 404, "No such image: none"),
            (
                "GET", "/images/none/history", NONE, 404, "No such image: none",
            ),
            ("GET", "/images/none/get", NONE, 404, "No such image: none"),
            (
                "GET", "/images/get?names=none", NONE, 404, "No such image: none",
            ),
            (
                "POST", "/images/none/tag?repo=x", NONE, 404, "No such image: none",
            ),
            ("POST", "/images/none/push", NONE, 404, ""),
            ("DELETE", "/images/none", NONE, 404, "No such image: none"),
            ("DELETE", "/images/busybox", NONE, 409, "conflict"),
            (
                "GET", "/images/UPPER/json", NONE, 400, "invalid reference format",
            ),
            (
                "DELETE", "/images/UPPER", NONE, 400, "invalid reference format",
            ),
            (
                "POST", "/images/busybox/tag?repo=UPPER", NONE, 400, "invalid reference format",
            ),
            ("POST", "/images/busybox/tag", NONE, 400, ""),
            (
                "POST", "/images/busybox/tag?repo=x&tag=a%20b", NONE, 400,
                "invalid reference format",
            ),
            ("POST", "/images/create", NONE, 400, ""),
            (
                "POST", "/images/create?fromImage=UPPER", NONE, 400, "invalid reference format",
            ),
            (
                "POST", "/images/create?fromImage=x&platform=a/b/c/d", NONE, 400, "",
            ),
            ("POST", "/images/create?fromSrc=ftp://x", NONE, 400, ""),
            ("GET", "/images/json?filters=x", NONE, 400, ""),
            (
                "GET", "/images/json?filters=%7B%22odd%22%3A%5B%22x%22%5D%7D", NONE, 400,
                "invalid filter",
            ),
            (
                "GET", "/images/json?filters=%7B%22before%22%3A%5B%22none%22%5D%7D", NONE, 404, "",
            ),
            ("POST", "/images/prune?filters=x", NONE, 400, ""),
            (
                "POST", "/images/prune?filters=%7B%22until%22%3A%5B%22x%22%5D%7D", NONE, 400, "",
            ),
            (
                "GET", "/distribution/UPPER/json", NONE, 400, "invalid reference format",
            ),
            ("POST", "/auth", NONE, 400, ""),
            ("POST", "/auth", json!([]), 400, ""),
        ],
    );
}

#[test]
fn networks_volumes_and_the_system() {
    let Some(d) = Daemon::start() else { return };
    stage(&d);
    let ipam = |config: Value| json!({"Name": "new", "IPAM": {"Config": [config]}});
    let connect = |endpoint: Value| json!({"Container": "made", "EndpointConfig": endpoint});
    check(
        &d,
        &[
            (
                "GET", "/networks/nonet", NONE, 404, "network nonet not found",
            ),
            (
                "DELETE", "/networks/nonet", NONE, 404, "network nonet not found",
            ),
            (
                "POST",
                "/networks/nonet/connect",
                json!({"Container": "made"}),
                404,
                "network nonet not found",
            ),
            (
                "POST",
                "/networks/net/connect",
                json!({"Container": "none"}),
                404,
                "No such container",
            ),
            (
                "POST",
                "/networks/nonet/disconnect",
                json!({"Container": "made"}),
                404,
                "network nonet not found",
            ),
            (
                "POST",
                "/networks/net/disconnect",
                json!({"Container": "none"}),
                404,
                "No such container",
            ),
            (
                "POST",
                "/networks/create",
                json!({"Name": "net"}),
                409,
                "network with name net already exists",
            ),
            ("DELETE", "/networks/net", NONE, 403, "has active endpoints"),
            ("DELETE", "/networks/bridge", NONE, 403, "pre-defined"),
            ("DELETE", "/networks/host", NONE, 403, "pre-defined"),
            (
                "POST",
                "/networks/create",
                json!({"Name": "bridge"}),
                403,
                "",
            ),
            ("POST", "/networks/create", json!({"Name": "host"}), 403, ""),
            (
                "POST",
                "/networks/net/connect",
                json!({"Container": "run"}),
                403,
                "already exists in network",
            ),
            (
                "POST",
                "/networks/other/disconnect",
                json!({"Container": "run"}),
                403,
                "is not connected to",
            ),
            ("POST", "/networks/create", NONE, 400, ""),
            ("POST", "/networks/create", json!([]), 400, ""),
            ("POST", "/networks/create", json!({}), 400, ""),
            (
                "POST",
                "/networks/create",
                json!({"Name": "new", "Driver": "odd"}),
                404,
                "",
            ),
            (
                "POST",
                "/networks/create",
                ipam(json!({"Subnet": "x"})),
                400,
                "",
            ),
            (
                "POST",
                "/networks/create",
                ipam(json!({"Subnet": "10.1.0.0/99"})),
                400,
                "",
            ),
            (
                "POST",
                "/networks/create",
                ipam(json!({"Subnet": "10.1.0.0/24", "Gateway": "10.2.0.1"})),
                400,
                "",
            ),
            (
                "POST",
                "/networks/create",
                ipam(json!({"Subnet": "10.1.0.0/24", "IPRange": "10.2.0.0/25"})),
                400,
                "",
            ),
            (
                "POST",
                "/networks/create",
                ipam(json!({"Subnet": "10.99.1.0/25"})),
                403,
                "overlap",
            ),
            (
                "POST",
                "/networks/create",
                json!({"Name": "new", "Options": {"com.docker.network.driver.mtu": "x"}}),
                400,
                "",
            ),
            ("POST", "/networks/other/connect", json!({}), 404, ""),
            ("POST", "/networks/other/connect", NONE, 400, ""),
            (
                "POST",
                "/networks/other/connect",
                connect(json!({"IPAMConfig": {"IPv4Address": "x"}})),
                400,
                "",
            ),
            (
                "POST",
                "/networks/other/connect",
                connect(json!({"IPAMConfig": {"IPv4Address": "10.1.1.1"}})),
                400,
                "",
            ),
            (
                "POST",
                "/networks/other/connect",
                connect(json!({"MacAddress": "x"})),
                400,
                "",
            ),
            ("GET", "/networks?filters=x", NONE, 400, ""),
            (
                "GET", "/networks?filters=%7B%22odd%22%3A%5B%22x%22%5D%7D", NONE, 400,
                "invalid filter",
            ),
            ("POST", "/networks/prune?filters=x", NONE, 400, ""),
            ("GET", "/volumes/none", NONE, 404, "no such volume"),
            ("DELETE", "/volumes/none", NONE, 404, "no such volume"),
            ("DELETE", "/volumes/none?force=1", NONE, 204, ""),
            ("DELETE", "/volumes/vol", NONE, 409, "volume is in use"),
            ("POST", "/volumes/create", json!({"Name": "vol"}), 201, ""),
            (
                "POST",
                "/volumes/create",
                json!({"Name": "vol", "Driver": "odd"}),
                404,
                "",
            ),
            ("POST", "/volumes/create", NONE, 201, ""),
            ("POST", "/volumes/create", json!([]), 400, ""),
            ("POST", "/volumes/create", json!({"Name": "../x"}), 400, ""),
            ("POST", "/volumes/create", json!({"Name": "x"}), 400, ""),
            (
                "POST",
                "/volumes/create",
                json!({"Name": "new", "DriverOpts": {"odd": "1"}}),
                400,
                "",
            ),
            ("GET", "/volumes?filters=x", NONE, 400, ""),
            (
                "GET", "/volumes?filters=%7B%22odd%22%3A%5B%22x%22%5D%7D", NONE, 400,
                "invalid filter",
            ),
            ("POST", "/volumes/prune?filters=x", NONE, 400, ""),
            ("GET", "/events?until=x", NONE, 400, ""),
            ("GET", "/events?since=2&until=1", NONE, 400, ""),
            ("GET", "/events?filters=x", NONE, 400, ""),
            (
                "GET", "/events?filters=%7B%22odd%22%3A%5B%22x%22%5D%7D&until=1", NONE, 200, "",
            ),
            ("GET", "/system/df?type=odd", NONE, 400, ""),
            ("GET", "/none", NONE, 404, "page not found"),
            ("PATCH", "/containers/run/json", NONE, 404, "page not found"),
        ],
    );
}
