//! A runtime under check, and what checks do with it again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::attached::{Written, read};
use super::support::{SOON, all, soon};
use crate::container::{Changed, ExitStatus, RemoveOptions, StopOptions, WaitCondition};
use crate::event::Subscription;
use crate::exec::{ExecSpec, StartExec};
use crate::image::RemoveImageOptions;
use crate::io::{AttachOptions, Attached, LogOptions};
use crate::spec::{ContainerConfig, ContainerSpec, HostConfig, StringOrList};
use crate::{Capabilities, Container, Filters, Runtime, Status};

/// The label that all that a check makes has, with the check's mark as its value.
const LABEL: &str = "coracle.conformance";

/// A runtime under check. Cheap to clone.
#[derive(Clone)]
pub struct Subject {
    /// The runtime.
    pub runtime: Arc<dyn Runtime>,
    /// What it declares.
    pub can: Capabilities,
    pub(super) image: String,
    pub(super) remote_image: Option<String>,
    /// This check's own.
    pub(super) mark: String,
    count: Arc<AtomicU32>,
}

impl Subject {
    pub(super) fn new(
        runtime: Arc<dyn Runtime>,
        image: String,
        remote_image: Option<String>,
        check: &str,
    ) -> Self {
        let nanos = jiff::Timestamp::now().as_nanosecond().unsigned_abs() % 1_000_000_000_000;
        let can = runtime.capabilities();
        let mark = format!("{}-{nanos:x}", check.replace("::", "-").replace('_', "-"));
        Self {
            runtime,
            can,
            image,
            remote_image,
            mark,
            count: Arc::default(),
        }
    }

    /// A name that nothing has yet.
    pub(super) fn name(&self) -> String {
        format!(
            "{}-{}",
            self.mark,
            self.count.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// An image name that nothing has yet.
    pub(super) fn image_name(&self) -> String {
        format!("conformance/{}:latest", self.name())
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL.to_owned(), self.mark.clone())])
    }

    /// A filter for what this check has made.
    pub(super) fn filter(&self) -> Filters {
        let mut filters = Filters::default();
        filters.add("label", format!("{LABEL}={}", self.mark));
        filters
    }

    /// A container that runs a command, without a network.
    pub(super) fn spec(&self, argv: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: Some(self.name()),
            config: ContainerConfig {
                image: self.image.clone(),
                cmd: Some(StringOrList(
                    argv.iter().map(|&arg| arg.to_owned()).collect(),
                )),
                labels: self.labels(),
                ..ContainerConfig::default()
            },
            host: HostConfig {
                network_mode: "none".into(),
                ..HostConfig::default()
            },
            ..ContainerSpec::default()
        }
    }

    /// A container that runs a shell script.
    pub(super) fn sh(&self, script: &str) -> ContainerSpec {
        self.spec(&["sh", "-c", script])
    }

    pub(super) async fn create(&self, spec: ContainerSpec) -> String {
        let created = soon("create", self.runtime.create_container(spec)).await;
        created.unwrap_or_else(|error| panic!("create: {error}")).id
    }

    pub(super) async fn start(&self, id: &str) {
        let started = soon("start", self.runtime.start_container(id)).await;
        let changed = started.unwrap_or_else(|error| panic!("start: {error}"));
        assert_eq!(
            changed,
            Changed(true),
            "start of a container that does not run"
        );
    }

    /// Creates and starts.
    pub(super) async fn launch(&self, spec: ContainerSpec) -> String {
        let id = self.create(spec).await;
        self.start(&id).await;
        id
    }

    /// A container that runs until it is killed, and heeds no other signal.
    pub(super) async fn sleeper(&self) -> String {
        self.launch(self.spec(&["sleep", "1000"])).await
    }

    /// A container that ends with 7 when it is asked to stop, and says so.
    pub(super) async fn polite(&self) -> String {
        self.polite_as(|_| {}).await
    }

    /// The same, with more asked for.
    pub(super) async fn polite_as(&self, change: impl FnOnce(&mut ContainerSpec)) -> String {
        let mut spec = self.sh(
            "trap 'echo bye; exit 7' TERM; trap 'echo one' USR1; echo ready; \
                     while true; do sleep 1000 & wait $!; done",
        );
        change(&mut spec);
        let id = self.launch(spec).await;
        self.until_logged(&id, "ready").await;
        id
    }

    pub(super) async fn inspect(&self, name: &str) -> Container {
        let container = soon("inspect", self.runtime.inspect_container(name, false)).await;
        container.unwrap_or_else(|error| panic!("inspect: {error}"))
    }

    pub(super) async fn status(&self, name: &str) -> Status {
        self.inspect(name).await.state.status
    }

    /// Waits until a container is as wanted, looking again and again.
    pub(super) async fn until(
        &self,
        name: &str,
        what: &str,
        fits: impl Fn(&Container) -> bool,
    ) -> Container {
        let start = Instant::now();
        loop {
            let container = self.inspect(name).await;
            if fits(&container) {
                return container;
            }
            assert!(
                start.elapsed() < SOON,
                "{what}: not so after {SOON:?}: {:?}, restarts {}",
                container.state,
                container.restart_count
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a container is gone.
    pub(super) async fn until_gone(&self, name: &str) {
        let start = Instant::now();
        while soon("inspect", self.runtime.inspect_container(name, false))
            .await
            .is_ok()
        {
            assert!(start.elapsed() < SOON, "{name} is not gone after {SOON:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a container has logged some text.
    pub(super) async fn until_logged(&self, name: &str, text: &str) {
        let start = Instant::now();
        loop {
            let logged = self.logged(name).await.concat();
            if logged.contains(text) {
                return;
            }
            assert!(
                start.elapsed() < SOON,
                "{text:?} is not logged after {SOON:?}: {logged:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All lines that a container has logged.
    pub(super) async fn logged(&self, name: &str) -> Vec<String> {
        self.log(
            name,
            LogOptions {
                stdout: true,
                stderr: true,
                ..LogOptions::default()
            },
        )
        .await
    }

    /// The lines of a container's log that fit.
    pub(super) async fn log(&self, name: &str, options: LogOptions) -> Vec<String> {
        let logs = soon("logs", self.runtime.container_logs(name, options)).await;
        let logs = logs.unwrap_or_else(|error| panic!("logs: {error}"));
        let entries = all("logs", logs.entries).await;
        entries
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.line).into_owned())
            .collect()
    }

    /// Registers a wait, and gives what it gives.
    pub(super) async fn waiting(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> impl Future<Output = ExitStatus> + Send + use<> {
        let wait = soon("wait", self.runtime.wait_container(name, condition)).await;
        let wait = wait.unwrap_or_else(|error| panic!("wait: {error}"));
        async move {
            let status = soon("the end of a wait", wait).await;
            status.unwrap_or_else(|error| panic!("wait: {error}"))
        }
    }

    /// The exit code of a container that runs, or has.
    pub(super) async fn ended(&self, name: &str) -> i32 {
        self.waiting(name, WaitCondition::NotRunning)
            .await
            .await
            .code
    }

    /// Runs a container to its end; gives its id and exit code.
    pub(super) async fn run(&self, spec: ContainerSpec) -> (String, i32) {
        let id = self.launch(spec).await;
        let code = self.ended(&id).await;
        (id, code)
    }

    /// Runs a container to its end; gives its id and all that it wrote.
    pub(super) async fn output(&self, spec: ContainerSpec) -> (String, Written) {
        let id = self.create(spec).await;
        let attached = self.attach(&id, false).await;
        self.start(&id).await;
        let mut written = read(attached).await;
        written.code = self.ended(&id).await;
        (id, written)
    }

    /// Attaches to all streams.
    pub(super) async fn attach(&self, name: &str, stdin: bool) -> Attached {
        let options = AttachOptions {
            stdin,
            stdout: true,
            stderr: true,
            logs: false,
            stream: true,
        };
        let attached = soon("attach", self.runtime.attach_container(name, options)).await;
        attached.unwrap_or_else(|error| panic!("attach: {error}"))
    }

    pub(super) async fn stop(&self, name: &str, seconds: i64) -> Changed {
        let options = StopOptions {
            timeout: Some(seconds),
            ..StopOptions::default()
        };
        let stopped = soon("stop", self.runtime.stop_container(name, options)).await;
        stopped.unwrap_or_else(|error| panic!("stop: {error}"))
    }

    pub(super) async fn kill(&self, name: &str, signal: &str) {
        let killed = soon("kill", self.runtime.kill_container(name, signal)).await;
        killed.unwrap_or_else(|error| panic!("kill: {error}"));
    }

    pub(super) async fn remove(&self, name: &str) {
        let options = RemoveOptions {
            force: true,
            volumes: true,
            link: false,
        };
        let removed = soon("remove", self.runtime.remove_container(name, options)).await;
        removed.unwrap_or_else(|error| panic!("remove: {error}"));
    }

    /// A further process, with its output attached.
    pub(super) fn exec_spec(&self, argv: &[&str]) -> ExecSpec {
        ExecSpec {
            cmd: argv.iter().map(|&arg| arg.to_owned()).collect(),
            attach_stdout: true,
            attach_stderr: true,
            ..ExecSpec::default()
        }
    }

    pub(super) async fn create_exec(&self, container: &str, spec: ExecSpec) -> String {
        let created = soon("create exec", self.runtime.create_exec(container, spec)).await;
        created.unwrap_or_else(|error| panic!("create exec: {error}"))
    }

    /// Starts an exec, attached.
    pub(super) async fn start_exec(&self, id: &str) -> Attached {
        let started = soon(
            "start exec",
            self.runtime.start_exec(id, StartExec::default()),
        )
        .await;
        let attached = started.unwrap_or_else(|error| panic!("start exec: {error}"));
        attached.expect("the streams of an exec that is not detached")
    }

    /// Runs a further process to its end.
    pub(super) async fn exec(&self, container: &str, spec: ExecSpec) -> Written {
        let id = self.create_exec(container, spec).await;
        let mut written = read(self.start_exec(&id).await).await;
        written.code = self.exec_ended(&id).await;
        written
    }

    /// The exit code of an exec that ends soon.
    pub(super) async fn exec_ended(&self, id: &str) -> i32 {
        let start = Instant::now();
        loop {
            let exec = soon("inspect exec", self.runtime.inspect_exec(id)).await;
            let exec = exec.unwrap_or_else(|error| panic!("inspect exec: {error}"));
            match exec.exit_code {
                Some(code) if !exec.running => return code,
                _ => assert!(start.elapsed() < SOON, "the exec does not end: {exec:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Listens to events from now on.
    pub(super) fn listen(&self) -> Subscription {
        self.runtime.events().subscribe(None)
    }

    /// Removes all that the check has made.
    pub(super) async fn clear(&self) {
        let runtime = &self.runtime;
        let mine = |labels: &BTreeMap<String, String>| labels.get(LABEL) == Some(&self.mark);
        let force = RemoveOptions {
            force: true,
            volumes: true,
            link: false,
        };
        for container in runtime.list_containers(false).await.unwrap_or_default() {
            if mine(&container.config.labels) {
                let _ = runtime.remove_container(&container.id, force).await;
            }
        }
        let prefix = format!("conformance/{}", self.mark);
        for image in runtime.list_images(false).await.unwrap_or_default() {
            let named = image.repo_tags.iter().any(|name| name.starts_with(&prefix));
            if named || mine(&image.config.labels) {
                let force = RemoveImageOptions {
                    force: true,
                    no_prune: false,
                };
                let _ = runtime.remove_image(&image.id, force).await;
            }
        }
        for volume in runtime.list_volumes().await.unwrap_or_default() {
            if mine(&volume.labels) || volume.name.starts_with(&self.mark) {
                let _ = runtime.remove_volume(&volume.name, true).await;
            }
        }
        for secret in runtime.list_secrets().await.unwrap_or_default() {
            if mine(&secret.labels) {
                let _ = runtime.remove_secret(&secret.id).await;
            }
        }
        for config in runtime.list_configs().await.unwrap_or_default() {
            if mine(&config.about.labels) {
                let _ = runtime.remove_config(&config.about.id).await;
            }
        }
        for network in runtime.list_networks().await.unwrap_or_default() {
            if mine(&network.labels) {
                let _ = runtime.remove_network(&network.id).await;
            }
        }
    }
}
