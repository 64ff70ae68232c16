//! Debian's docker-registry on the loopback of a daemon's network namespace.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::daemon::Daemon;
use crate::fixture::fixture;
use crate::output;

/// A registry that ends with this.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    dir: PathBuf,
    address: String,
}

impl Registry {
    /// Starts one that anyone may use.
    ///
    /// # Panics
    /// If it doesn't come up.
    #[must_use]
    pub fn start(daemon: &Daemon) -> Self {
        Self::with(daemon, 5000, "")
    }

    /// Starts one that asks for `user` and `secret`.
    ///
    /// # Panics
    /// If it doesn't come up.
    #[must_use]
    pub fn guarded(daemon: &Daemon) -> Self {
        let line = output::run(
            Command::new("htpasswd").args(["-Bbn", "user", "secret"]),
            b"",
        )
        .ok();
        let file = daemon.dir().join("htpasswd");
        fs::write(&file, line + "\n").expect("write htpasswd");
        Self::with(
            daemon,
            5001,
            &format!(
                "auth: {{htpasswd: {{realm: test, path: {}}}}}\n",
                file.display()
            ),
        )
    }

    fn with(daemon: &Daemon, port: u16, more: &str) -> Self {
        let dir = daemon.dir().join(format!("registry-{port}"));
        fs::create_dir_all(&dir).expect("make a directory");
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"{address}\"}}\n{more}",
            dir.join("data").display()
        );
        let path = dir.join("config.yml");
        fs::write(&path, config).expect("write the registry's configuration");
        let log = File::create(dir.join("log")).expect("make a log");
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(&path)
            .env("OTEL_TRACES_EXPORTER", "none");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = daemon
            .netns()
            .enter(|| command.spawn())
            .expect("start docker-registry");
        let registry = Self {
            child,
            dir,
            address,
        };
        output::wait_until("the registry listens", || {
            daemon
                .netns()
                .enter(|| TcpStream::connect(&registry.address).is_ok())
        });
        registry
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of an image in it.
    #[must_use]
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts a fixture's image in, with skopeo.
    ///
    /// # Panics
    /// If skopeo fails.
    #[track_caller]
    pub fn put(&self, daemon: &Daemon, folder: &str, tag: &str) {
        let from = format!("oci:{}:{tag}", fixture(folder).join("oci").display());
        let to = format!("docker://{}", self.name(tag));
        daemon
            .inside(
                "skopeo",
                &[
                    "copy", "--quiet", "--all", "--dest-tls-verify=false", &from, &to,
                ],
            )
            .ok();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
