//! Debian's `docker-registry`, started for a test and gone with it.

use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

const BINARY: &str = "/usr/bin/docker-registry";

/// A registry process.
pub(crate) struct Registry {
    pub(crate) address: String,
    pub(crate) dir: tempfile::TempDir,
    process: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How the registry is guarded.
#[derive(Default)]
pub(crate) struct Guard<'a> {
    /// A line of an htpasswd file.
    pub(crate) htpasswd: Option<&'a str>,
    /// Certificate and key in PEM.
    pub(crate) tls: Option<(&'a str, &'a str)>,
}

impl Registry {
    /// Starts one; `None`, with a word why, when the program is not installed.
    pub(crate) fn start(guard: &Guard<'_>) -> Option<Self> {
        if !Path::new(BINARY).exists() {
            println!("skipped: {BINARY} is not installed (package docker-registry)");
            return None;
        }
        // Whoever gets a port from the system gives it back before the registry takes it: another
        // one may be faster.
        for _ in 0..5 {
            let dir = tempfile::tempdir().unwrap();
            let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap().to_string();
            drop(socket);
            let config = dir.path().join("config.yml");
            std::fs::write(&config, Self::config(dir.path(), &address, guard)).unwrap();
            let log = std::fs::File::create(dir.path().join("log")).unwrap();
            let process = Command::new(BINARY)
                .arg("serve")
                .arg(&config)
                .env_clear()
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut this = Self {
                address,
                dir,
                process,
            };
            if this.answers() {
                return Some(this);
            }
            let log = std::fs::read_to_string(this.dir.path().join("log")).unwrap_or_default();
            assert!(
                log.contains("address already in use"),
                "the registry does not start: {log}"
            );
        }
        panic!("no free port for the registry");
    }

    fn config(dir: &Path, address: &str, guard: &Guard<'_>) -> String {
        let dir = dir.display();
        let mut text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {dir}/data}}\n  \
             delete: {{enabled: true}}\nhttp:\n  addr: {address}\n  secret: x\n"
        );
        if let Some((certificate, key)) = guard.tls {
            std::fs::write(format!("{dir}/cert.pem"), certificate).unwrap();
            std::fs::write(format!("{dir}/key.pem"), key).unwrap();
            text += &format!("  tls: {{certificate: {dir}/cert.pem, key: {dir}/key.pem}}\n");
        }
        if let Some(line) = guard.htpasswd {
            std::fs::write(format!("{dir}/htpasswd"), line).unwrap();
            text += &format!("auth:\n  htpasswd: {{realm: test, path: {dir}/htpasswd}}\n");
        }
        text
    }

    fn answers(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if std::net::TcpStream::connect(&self.address).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}
