//! docker compose v2, the real plugin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use coracle_tests::fixture::repository;
use coracle_tests::{Daemon, Output, output, wait_until};

const PROJECT: &str = r#"
name: shop
services:
  db:
    image: busybox
    command: ["sh", "-c", "sleep 1; echo from-db >/data/index.html; touch /data/ready; exec httpd -f -p 5432 -h /data"]
    healthcheck: { test: ["CMD-SHELL", "test -e /data/ready"], interval: 300ms, retries: 50 }
    stop_grace_period: 0s
    volumes: ["data:/data"]
    secrets: [password]
    networks: { back: { aliases: [database] } }
  init:
    image: busybox
    command: ["sh", "-c", "echo made >/data/init; echo initialised"]
    volumes: ["data:/data"]
    networks: [back]
  web:
    image: busybox
    depends_on:
      db: { condition: service_healthy }
      init: { condition: service_completed_successfully }
    command: ["sh", "-c", "hostname >/www/index.html; wget -q -O /www/db http://database:5432/ && echo web-is-up; exec httpd -f -p 80 -h /www"]
    stop_grace_period: 0s
    tmpfs: [/www]
    configs: [{ source: page, target: /etc/page.conf }]
    networks: [front, back]
  proxy:
    image: busybox
    depends_on: [web]
    command: ["sh", "-c", "mkdir /w; echo proxied >/w/index.html; exec httpd -f -p 80 -h /w"]
    stop_grace_period: 0s
    ports: ["127.0.0.1:8088:80"]
    networks: [front]
volumes: { data: }
networks:
  front:
  back: { internal: true }
configs: { page: { file: ./page.conf } }
secrets: { password: { file: ./password } }
"#;

/// The plugin's folder. It is fetched from Debian, unless the tests are told to do without.
fn plugin() -> Option<PathBuf> {
    let output = Command::new(repository().join("fixtures/compose")).output();
    let output = output.expect("fixtures/compose");
    if output.status.success() {
        let text = String::from_utf8_lossy(&output.stdout);
        return Some(PathBuf::from(text.trim()));
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(std::env::var_os("CI").is_none(), "fixtures/compose: {why}");
    eprintln!("skipped: docker compose can't be had: {why}");
    None
}

struct Project<'a> {
    daemon: &'a Daemon,
    dir: PathBuf,
}

impl<'a> Project<'a> {
    fn new(daemon: &'a Daemon) -> Option<Self> {
        let plugins = daemon.dir().join("config/cli-plugins");
        fs::create_dir_all(&plugins).unwrap();
        let program = plugin()?.join("docker-compose");
        std::os::unix::fs::symlink(program, plugins.join("docker-compose")).unwrap();
        let dir = daemon.dir().join("project");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("compose.yaml"), PROJECT).unwrap();
        fs::write(dir.join("page.conf"), "greeting=hello\n").unwrap();
        fs::write(dir.join("password"), "hunter2\n").unwrap();
        Some(Self { daemon, dir })
    }

    fn file(&self) -> String {
        Path::new(&self.dir)
            .join("compose.yaml")
            .display()
            .to_string()
    }

    #[track_caller]
    fn try_to(&self, args: &[&str]) -> Output {
        let file = self.file();
        let line = [&["compose", "--ansi", "never", "-f", &file], args].concat();
        output::run(&mut self.daemon.docker_command(&line), b"")
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.try_to(args).ok()
    }

    #[track_caller]
    fn exec(&self, service: &str, command: &[&str]) -> String {
        self.ok(&[&["exec", "-T", service], command].concat())
    }

    /// Addresses of a name, as a service sees it.
    fn resolve(&self, service: &str, name: &str) -> Vec<String> {
        let output = self.try_to(&["exec", "-T", service, "nslookup", "-type=a", name]);
        let lines = output.stdout.lines().skip_while(|line| !line.is_empty());
        let addresses = lines.filter_map(|line| line.strip_prefix("Address: "));
        addresses.map(str::to_owned).collect()
    }
}

#[test]
fn a_project_of_several_services() {
    let Some(d) = Daemon::start() else { return };
    up_and_down(&d);
}

/// Brings the project up, looks at all that its services see of each other, and takes it down: the
/// same whether they are processes or machines.
pub(crate) fn up_and_down(d: &Daemon) {
    let Some(p) = Project::new(d) else { return };
    p.ok(&["config", "--quiet"]);
    p.ok(&["up", "--detach"]);

    // Gates, names on two networks, volumes, files.
    let services = p.ok(&["ps", "--services", "--filter", "status=running"]);
    let mut running: Vec<&str> = services.lines().collect();
    running.sort_unstable();
    assert_eq!(running, ["db", "proxy", "web"]);
    wait_until("web has asked the database by its alias", || {
        p.ok(&["logs", "--no-color", "web"]).contains("web-is-up")
    });
    assert!(
        p.ok(&["logs", "--no-color", "init"])
            .contains("initialised")
    );
    assert_eq!(p.exec("web", &["cat", "/www/db"]), "from-db");
    assert_eq!(p.exec("db", &["cat", "/data/init"]), "made");
    assert_eq!(p.exec("web", &["cat", "/etc/page.conf"]), "greeting=hello");
    assert_eq!(p.exec("db", &["cat", "/run/secrets/password"]), "hunter2");
    assert_eq!(p.resolve("web", "db").len(), 1);
    assert_eq!(p.resolve("web", "proxy").len(), 1);
    assert!(p.resolve("proxy", "db").is_empty(), "it is on front alone");
    assert!(p.resolve("db", "proxy").is_empty(), "it is on back alone");
    let page = ["-q", "-O", "-", "http://127.0.0.1:8088/"];
    wait_until("the published port answers", || {
        d.inside("busybox", &[&["wget"], page.as_slice()].concat())
            .stdout
            .trim()
            == "proxied"
    });
    assert_eq!(p.ok(&["port", "proxy", "80"]), "127.0.0.1:8088");

    // A second time changes nothing.
    let before = p.ok(&["ps", "--quiet"]);
    p.ok(&["up", "--detach"]);
    assert_eq!(p.ok(&["ps", "--quiet"]), before);

    // A service with several addresses, which take turns.
    p.ok(&["up", "--detach", "--no-recreate", "--scale", "web=3"]);
    assert_eq!(p.resolve("proxy", "web").len(), 3);
    let mut first: Vec<String> = (0..6)
        .map(|_| p.resolve("proxy", "web").remove(0))
        .collect();
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 3, "each comes first in turn: {first:?}");

    // A one-off finds the others.
    let script = "cat /etc/page.conf; wget -q -O - http://db:5432/";
    let once = p.ok(&["run", "--rm", "-T", "--no-deps", "web", "sh", "-c", script]);
    assert_eq!(once, "greeting=hello\nfrom-db");

    p.ok(&["stop", "--timeout", "0"]);
    p.ok(&["start"]);
    assert_eq!(p.resolve("proxy", "web").len(), 3);
    p.ok(&["down", "--volumes", "--timeout", "0"]);
    assert_eq!(d.ok(&["ps", "-aq"]), "");
    assert_eq!(d.ok(&["volume", "ls", "-q"]), "");
    let mut networks = d.ok(&["network", "ls", "--format", "{{.Name}}"]);
    networks = networks.lines().collect::<Vec<_>>().join(" ");
    assert_eq!(networks, "bridge host none");
}

#[test]
fn a_project_outlives_the_daemon() {
    let Some(mut d) = Daemon::start() else { return };
    {
        let Some(p) = Project::new(&d) else { return };
        p.ok(&["up", "--detach"]);
    }
    d.crash();
    let dir = d.dir().join("project");
    let p = Project { daemon: &d, dir };
    assert_eq!(p.resolve("proxy", "web").len(), 1);
    assert_eq!(p.resolve("web", "database").len(), 1);
    p.ok(&["down", "--volumes", "--timeout", "0"]);
    assert_eq!(d.ok(&["ps", "-aq"]), "");
}

const SECRETS: &str = r#"
name: hidden
services:
  reader:
    image: busybox
    command: ["sleep", "1000"]
    stop_grace_period: 0s
    environment: { WHO: nobody }
    secrets:
      - token
      - { source: token, target: /etc/token, mode: 0440 }
    configs:
      - { source: inline, target: /etc/inline.conf }
      - { source: given, target: /etc/given.conf }
secrets: { token: { environment: HIDDEN_TOKEN } }
configs:
  inline: { content: "for ${HIDDEN_TOKEN}\n" }
  given: { environment: HIDDEN_TOKEN }
"#;

/// Compose copies such values into the container that it has made, before it starts it.
#[test]
fn secrets_and_configs_of_variables_and_texts() {
    let Some(d) = Daemon::start() else { return };
    let Some(p) = Project::new(&d) else { return };
    fs::write(p.dir.join("compose.yaml"), SECRETS).unwrap();
    let file = p.file();
    let compose = |args: &[&str]| {
        let line = [&["compose", "--ansi", "never", "-f", &file], args].concat();
        let mut command = d.docker_command(&line);
        command.env("HIDDEN_TOKEN", "swordfish");
        output::run(&mut command, b"").ok()
    };
    compose(&["up", "-d"]);
    let read = |path: &str| compose(&["exec", "-T", "reader", "cat", path]);
    assert_eq!(read("/run/secrets/token"), "swordfish");
    assert_eq!(read("/etc/token"), "swordfish");
    assert_eq!(read("/etc/inline.conf"), "for swordfish");
    assert_eq!(read("/etc/given.conf"), "swordfish");
    compose(&["down", "-t", "0"]);
}
