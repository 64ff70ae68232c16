//! The API itself: versions, errors, and what no client sends.

use coracle_tests::{Daemon, http};
use serde_json::json;

#[test]
fn versions() {
    let Some(d) = Daemon::start() else { return };
    for path in ["/_ping", "/v1.24/_ping", "/v1.47/_ping"] {
        let reply = d.api("GET", path, None);
        assert_eq!((reply.status, reply.text().as_str()), (200, "OK"), "{path}");
        assert!(
            reply.head.to_lowercase().contains("api-version: 1.47"),
            "{}",
            reply.head
        );
    }
    assert_eq!(d.api("HEAD", "/_ping", None).status, 200);
    assert!(
        d.api("GET", "/v1.99/version", None)
            .error(400)
            .contains("is too new. Maximum supported API version is 1.47")
    );
    assert!(
        d.api("GET", "/v1.12/version", None)
            .error(400)
            .contains("is too old. Minimum supported API version is 1.24")
    );
    assert_eq!(d.api("GET", "/version", None).json()["ApiVersion"], "1.47");
}

#[test]
fn errors_have_dockers_shape() {
    let Some(d) = Daemon::start() else { return };
    assert!(
        d.api("GET", "/v1.47/nonsense", None)
            .error(404)
            .contains("page not found")
    );
    let _ = d.api("GET", "/", None).error(404);
    assert!(
        d.api("GET", "/v1.47/containers/none/json", None)
            .error(404)
            .contains("No such container: none")
    );
    assert!(
        d.api("GET", "/v1.47/images/none/json", None)
            .error(404)
            .contains("No such image: none")
    );
    assert_eq!(
        d.api("DELETE", "/v1.47/containers/json", None).status / 100,
        4
    );
    let create = "/v1.47/containers/create";
    let _ = d
        .api("POST", create, Some(&json!({"Image": "none"})))
        .error(404);
    let _ = d.api("POST", create, Some(&json!({"Image": 1}))).error(400);
    let _ = d.api("POST", create, Some(&json!({}))).error(400);
    let _ = d.api("POST", create, Some(&json!([]))).error(400);
    let _ = d
        .api(
            "POST",
            &format!("{create}?name=no%20good"),
            Some(&json!({"Image": "busybox"})),
        )
        .error(400);
    let _ = d
        .api(
            "POST",
            create,
            Some(&json!({"Image": "busybox", "HostConfig": {"Memory": 1}})),
        )
        .error(400);
    let _ = d
        .api("GET", "/v1.47/containers/json?filters=nonsense", None)
        .error(400);
    let _ = d
        .api("GET", "/v1.47/containers/json?limit=x", None)
        .error(400);
    let _ = d.api("GET", "/v1.47/events?since=x", None).error(400);
    let _ = d
        .api("GET", "/v1.47/containers/none/logs?stdout=1", None)
        .error(404);
    let id = d.ok(&["create", "busybox", "sleep", "1000"]);
    let _ = d
        .api("GET", &format!("/v1.47/containers/{id}/logs"), None)
        .error(400);
    let _ = d
        .api("POST", &format!("/v1.47/containers/{id}/kill"), None)
        .error(409);
    assert_eq!(
        d.api("POST", &format!("/v1.47/containers/{id}/start"), None)
            .status,
        204
    );
    assert_eq!(
        d.api("POST", &format!("/v1.47/containers/{id}/start"), None)
            .status,
        304
    );
    let _ = d.api("DELETE", &format!("/v1.47/containers/{id}?force=1"), None);
}

#[test]
fn bytes_that_are_no_request() {
    let Some(d) = Daemon::start() else { return };
    let post = |body: &str, kind: &str| {
        let text = format!(
            "POST /v1.47/containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        http::raw(&d.socket(), text.as_bytes())
    };
    let json = "Content-Type: application/json\r\n";
    for body in [
        "{",
        "nonsense",
        "",
        "{\"Image\":\"busybox\"} trailing",
        &"[".repeat(100_000),
    ] {
        let _ = post(body, json).error(400);
    }
    let _ = post("{}", "Content-Type: text/plain\r\n").error(400);
    let deep = format!("{}{}", "{\"a\":".repeat(50_000), "1");
    let _ = post(&deep, json).error(400);
    let reply = http::raw(&d.socket(), b"GET /v1.47/containers/..%2f..%2fetc%2fpasswd/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(reply.status / 100, 4);
    let reply = http::raw(&d.socket(), b"nonsense\r\n\r\n");
    assert_eq!(reply.status, 400);
    let long = format!(
        "GET /v1.47/containers/{}/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "a".repeat(100_000)
    );
    let reply = http::raw(&d.socket(), long.as_bytes());
    assert_eq!(reply.status / 100, 4);
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "well"]), "well");
}

#[test]
fn older_clients_are_served() {
    let Some(d) = Daemon::start() else { return };
    for version in ["1.24", "1.30", "1.40", "1.44"] {
        let mut command = d.docker_command(&["run", "--rm", "busybox", "echo", version]);
        command.env("DOCKER_API_VERSION", version);
        assert_eq!(coracle_tests::output::run(&mut command, b"").ok(), version);
    }
}
