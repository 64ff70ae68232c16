//! Health checks.

use coracle_tests::{Daemon, now, wait_until};

const STATUS: &str = "{{.State.Health.Status}}";

#[test]
fn by_flags() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--health-cmd", "echo checked; test -e /well", "--health-interval", "200ms",
        "--health-retries", "2", "--health-start-period", "1s", "--network", "none", "busybox",
        "sleep", "1000",
    ]);
    assert_eq!(d.inspect(&id, STATUS), "starting");
    d.until(&id, STATUS, "unhealthy");
    assert!(
        d.ok(&["ps", "--format", "{{.Status}}"])
            .ends_with("(unhealthy)")
    );
    d.ok(&["exec", &id, "touch", "/well"]);
    d.until(&id, STATUS, "healthy");
    assert_eq!(d.ok(&["ps", "-q", "--filter", "health=healthy"]), id[..12]);
    let last = d.inspect(&id, "{{(index .State.Health.Log 0).Output}}");
    assert_eq!(last, "checked");
    assert_eq!(d.inspect(&id, "{{.State.Health.FailingStreak}}"), "0");
    wait_until("both are told", || {
        let line = [
            "events",
            "--since",
            "1h",
            "--until",
            &now(),
            "--filter",
            "event=health_status",
        ];
        let told = d.ok(&[&line[..], &["--format", "{{.Action}}"]].concat());
        told == "health_status: unhealthy\nhealth_status: healthy"
    });
}

#[test]
fn by_the_image() {
    let Some(d) = Daemon::having(&["configured"]) else {
        return;
    };
    let id = d.ok(&["run", "-d", "configured:health"]);
    d.until(&id, STATUS, "unhealthy");
    d.ok(&["exec", &id, "touch", "/tmp/well"]);
    d.until(&id, STATUS, "healthy");
    let none = d.ok(&["run", "-d", "--no-healthcheck", "configured:health"]);
    assert_eq!(
        d.inspect(&none, "{{if .State.Health}}some{{else}}none{{end}}"),
        "none"
    );
}

#[test]
fn slow_ones_are_ended() {
    let Some(d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--health-cmd", "sleep 500", "--health-interval", "100ms", "--health-timeout",
        "300ms", "--health-retries", "1", "--network", "none", "busybox", "sleep", "1000",
    ]);
    d.until(&id, STATUS, "unhealthy");
    assert!(
        d.inspect(&id, "{{(index .State.Health.Log 0).Output}}")
            .contains("exceeded timeout")
    );
    d.ok(&["update", "--restart", "no", &id]);
    d.ok(&["pause", &id]);
    d.ok(&["unpause", &id]);
    wait_until("they are not piled up", || {
        !d.ok(&["top", &id]).contains("sleep 500\nroot")
    });
}

#[test]
fn they_go_on_after_a_crash() {
    let Some(mut d) = Daemon::start() else { return };
    let id = d.ok(&[
        "run", "-d", "--health-cmd", "test ! -e /ill", "--health-interval", "200ms",
        "--health-retries", "1", "--network", "none", "busybox", "sleep", "1000",
    ]);
    d.until(&id, STATUS, "healthy");
    d.crash();
    d.ok(&["exec", &id, "touch", "/ill"]);
    d.until(&id, STATUS, "unhealthy");
}
