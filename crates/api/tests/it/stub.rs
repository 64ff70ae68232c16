//! A runtime of processes without any isolation, just enough to drive the API.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coracle_runtime::archive::{ExtractOptions, PathArchive, PathStat};
use coracle_runtime::container::*;
use coracle_runtime::event::{EventBus, EventKind};
use coracle_runtime::exec::{Exec, ExecSpec, StartExec};
use coracle_runtime::image::*;
use coracle_runtime::io::*;
use coracle_runtime::network::Network;
use coracle_runtime::spec::{ContainerSpec, StringOrList};
use coracle_runtime::stats::Stats;
use coracle_runtime::system::{DiskUsage, Info, Version};
use coracle_runtime::volume::{Volume, VolumeSpec};
use coracle_runtime::{Capabilities, Filters, Result, Runtime, RuntimeError, Status};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::process::Command;
use tokio::sync::{mpsc, watch};

pub(crate) const IMAGE: &str =
    "sha256:00000000000000000000000000000000000000000000000000000000000000aa";

type Output = Result<(StreamKind, Bytes)>;

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Stub {
    state: Arc<Mutex<State>>,
    events: EventBus,
    /// The last request of a kind, for tests to look at.
    pub(crate) seen: Arc<Mutex<BTreeMap<&'static str, String>>>,
    /// What has been dropped before its end.
    pub(crate) dropped: Arc<Mutex<Vec<&'static str>>>,
}

#[derive(Default)]
struct State {
    containers: Vec<Container>,
    logs: BTreeMap<String, Vec<LogEntry>>,
    pipes: BTreeMap<String, Pipe>,
    ended: BTreeMap<String, watch::Sender<Option<i32>>>,
    execs: BTreeMap<String, Exec>,
}

/// A process's ends, between its making and its start.
struct Pipe {
    output: mpsc::UnboundedSender<Output>,
    input: Option<tokio::io::DuplexStream>,
}

struct DropGuard(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

impl Stub {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn find(&self, name: &str) -> Result<Container> {
        self.lock()
            .containers
            .iter()
            .find(|c| c.name == name || c.id.starts_with(name))
            .cloned()
            .ok_or_else(|| RuntimeError::no_such_container(name))
    }

    fn see(&self, key: &'static str, value: String) {
        self.seen.lock().unwrap().insert(key, value);
    }

    fn publish(&self, container: &Container, action: &str) {
        let mut attributes = container.config.labels.clone();
        attributes.insert("name".into(), container.name.clone());
        attributes.insert("image".into(), container.config.image.clone());
        self.events
            .publish(EventKind::Container, action, &container.id, attributes);
    }

    /// A stream that never ends, and tells when it is dropped.
    pub(crate) fn endless<T: Send + 'static>(&self, what: &'static str) -> BoxStream<T> {
        let guard = DropGuard(what, self.dropped.clone());
        stream::pending()
            .map(move |item| {
                let _ = &guard;
                item
            })
            .boxed()
    }
}

fn image() -> Image {
    Image {
        id: IMAGE.into(),
        repo_tags: vec!["busybox:latest".into()],
        repo_digests: vec![format!("busybox@{IMAGE}")],
        target_digest: IMAGE.into(),
        target_media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        target_size: 500,
        created: Some("2026-01-02T03:04:05Z".parse().unwrap()),
        architecture: "amd64".into(),
        os: "linux".into(),
        size: 4_261_550,
        layers: vec!["sha256:11".into()],
        ..Image::default()
    }
}

/// Runs a command, its output to `output`, and gives its exit code.
async fn run(
    command: Vec<String>,
    input: Option<tokio::io::DuplexStream>,
    output: mpsc::UnboundedSender<Output>,
    log: impl Fn(StreamKind, &[u8]),
) -> i32 {
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    if let Some(mut input) = input {
        let mut stdin = child.stdin.take().unwrap();
        tokio::spawn(async move { tokio::io::copy(&mut input, &mut stdin).await });
    }
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let (mut out, mut err) = ([0; 4096], [0; 4096]);
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let (kind, bytes) = tokio::select! {
            n = stdout.read(&mut out), if out_open => {
                let n = n.unwrap();
                out_open = n > 0;
                (StreamKind::Stdout, &out[..n])
            }
            n = stderr.read(&mut err), if err_open => {
                let n = n.unwrap();
                err_open = n > 0;
                (StreamKind::Stderr, &err[..n])
            }
        };
        if !bytes.is_empty() {
            log(kind, bytes);
            let _ = output.send(Ok((kind, Bytes::copy_from_slice(bytes))));
        }
    }
    child.wait().await.unwrap().code().unwrap_or(137)
}

fn receiver(output: mpsc::UnboundedReceiver<Output>) -> BoxStream<(StreamKind, Bytes)> {
    stream::unfold(output, async |mut output| {
        Some((output.recv().await?, output))
    })
    .boxed()
}

fn not_here<T>() -> Result<T> {
    Err(RuntimeError::NotSupported("this".into()))
}

#[async_trait]
impl Runtime for Stub {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn events(&self) -> &EventBus {
        &self.events
    }

    async fn version(&self) -> Result<Version> {
        Ok(Version {
            product: "Stub".into(),
            version: "0.1.0".into(),
            kernel: "6.1".into(),
            os: "linux".into(),
            arch: "amd64".into(),
            ..Version::default()
        })
    }

    async fn info(&self) -> Result<Info> {
        Ok(Info {
            name: "host".into(),
            cpus: 4,
            memory: 1 << 30,
            default_runtime: "process".into(),
            runtimes: [("process".to_owned(), "shim".to_owned())].into(),
            limits: [("MemoryLimit".to_owned(), true)].into(),
            insecure_registries: vec!["127.0.0.0/8".into(), "localhost:5000".into()],
            ..Info::default()
        })
    }

    async fn disk_usage(&self) -> Result<DiskUsage> {
        Ok(DiskUsage {
            layers_size: 4_261_550,
            images: vec![image()],
            containers: self.list_containers(true).await?,
            volumes: Vec::new(),
            templates: Vec::new(),
            root_disks: Vec::new(),
        })
    }

    async fn list_containers(&self, _: bool) -> Result<Vec<Container>> {
        Ok(self.lock().containers.iter().rev().cloned().collect())
    }

    async fn inspect_container(&self, name: &str, _: bool) -> Result<Container> {
        if name == "panic" {
            panic!("asked to");
        }
        self.find(name)
    }

    async fn create_container(&self, spec: ContainerSpec) -> Result<Created> {
        if spec.config.image != "busybox" {
            return Err(RuntimeError::no_such_image(&format!(
                "{}:latest",
                spec.config.image
            )));
        }
        self.see("create", format!("{spec:?}"));
        let mut state = self.lock();
        let number = state.containers.len();
        let name = spec.name.unwrap_or_else(|| format!("made_up_{number}"));
        if let Some(other) = state.containers.iter().find(|c| c.name == name) {
            return Err(RuntimeError::AlreadyExists(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{}\". \
                 You have to remove (or rename) that container to be able to reuse that name.",
                other.id
            )));
        }
        let StringOrList(mut command) = spec.config.cmd.clone().unwrap_or_default();
        if command.is_empty() {
            command = vec!["true".into()];
        }
        let container = Container {
            id: format!("{:064x}", 0xc0de_0000_u64 + number as u64),
            name,
            created: Timestamp::now(),
            image_id: IMAGE.into(),
            path: command[0].clone(),
            args: command[1..].to_vec(),
            config: spec.config,
            host_config: spec.host,
            ..Container::default()
        };
        let id = container.id.clone();
        state.ended.insert(id.clone(), watch::Sender::new(None));
        state.containers.push(container.clone());
        drop(state);
        self.publish(&container, "create");
        Ok(Created {
            id,
            warnings: Vec::new(),
        })
    }

    async fn start_container(&self, name: &str) -> Result<Changed> {
        let container = self.find(name)?;
        if container.state.status == Status::Running {
            return Ok(Changed(false));
        }
        let id = container.id.clone();
        let (ended, pipe) = {
            let mut state = self.lock();
            for c in state.containers.iter_mut().filter(|c| c.id == id) {
                c.state.status = Status::Running;
                c.state.started_at = Some(Timestamp::now());
            }
            (state.ended[&id].clone(), state.pipes.remove(&id))
        };
        ended.send_replace(None);
        self.publish(&container, "start");
        let (output, input) = match pipe {
            Some(pipe) => (pipe.output, pipe.input),
            None => (mpsc::unbounded_channel().0, None),
        };
        let mut command = vec![container.path];
        command.extend(container.args);
        let stub = self.clone();
        tokio::spawn(async move {
            let log = |stream, line: &[u8]| {
                let entry = LogEntry {
                    time: Timestamp::now(),
                    stream,
                    line: Bytes::copy_from_slice(line),
                    attributes: BTreeMap::new(),
                };
                stub.lock().logs.entry(id.clone()).or_default().push(entry);
            };
            let code = run(command, input, output, log).await;
            for c in stub.lock().containers.iter_mut().filter(|c| c.id == id) {
                c.state.status = Status::Exited;
                c.state.exit_code = code;
                c.state.finished_at = Some(Timestamp::now());
            }
            if let Ok(container) = stub.find(&id) {
                stub.publish(&container, "die");
                if container.host_config.auto_remove {
                    stub.lock().containers.retain(|c| c.id != id);
                    stub.publish(&container, "destroy");
                }
            }
            ended.send_replace(Some(code));
        });
        Ok(Changed(true))
    }

    async fn stop_container(&self, name: &str, options: StopOptions) -> Result<Changed> {
        self.see("stop", format!("{options:?}"));
        Ok(Changed(self.find(name)?.state.status == Status::Running))
    }

    async fn restart_container(&self, _: &str, _: StopOptions) -> Result<()> {
        not_here()
    }

    async fn kill_container(&self, name: &str, signal: &str) -> Result<()> {
        self.see("kill", signal.to_owned());
        let container = self.find(name)?;
        Err(RuntimeError::InvalidState(format!(
            "container {} is not running",
            container.id
        )))
    }

    async fn pause_container(&self, _: &str) -> Result<()> {
        not_here()
    }

    async fn unpause_container(&self, _: &str) -> Result<()> {
        not_here()
    }

    async fn wait_container(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> Result<BoxFuture<'static, Result<ExitStatus>>> {
        let container = self.find(name)?;
        let mut ended = self.lock().ended[&container.id].subscribe();
        if condition != WaitCondition::NotRunning {
            ended.borrow_and_update();
        }
        let now = condition == WaitCondition::NotRunning && !container.state.status.is_alive();
        let guard = DropGuard("wait", self.dropped.clone());
        Ok(async move {
            let code = if now {
                container.state.exit_code
            } else {
                loop {
                    ended.changed().await.unwrap();
                    if let Some(code) = *ended.borrow() {
                        break code;
                    }
                }
            };
            std::mem::forget(guard);
            Ok(ExitStatus { code, error: None })
        }
        .boxed())
    }

    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        let id = self.find(name)?.id;
        for c in self.lock().containers.iter_mut().filter(|c| c.id == id) {
            c.name = new_name.to_owned();
        }
        Ok(())
    }

    async fn update_container(&self, _: &str, options: UpdateOptions) -> Result<Vec<String>> {
        self.see("update", format!("{:?}", options.host.pids_limit));
        Ok(Vec::new())
    }

    async fn remove_container(&self, name: &str, _: RemoveOptions) -> Result<()> {
        let container = self.find(name)?;
        self.lock().containers.retain(|c| c.id != container.id);
        self.publish(&container, "destroy");
        Ok(())
    }

    async fn prune_containers(&self, _: &Filters) -> Result<Pruned> {
        Ok(Pruned::default())
    }

    async fn attach_container(&self, name: &str, options: AttachOptions) -> Result<Attached> {
        let container = self.find(name)?;
        let (sender, output) = mpsc::unbounded_channel();
        let (near, far) = tokio::io::duplex(65536);
        let pipe = Pipe {
            output: sender,
            input: options.stdin.then_some(far),
        };
        self.lock().pipes.insert(container.id, pipe);
        Ok(Attached {
            output: receiver(output),
            input: options
                .stdin
                .then(|| Box::pin(near) as std::pin::Pin<Box<dyn AsyncWrite + Send>>),
            tty: container.config.tty,
        })
    }

    async fn resize_container(&self, _: &str, size: TerminalSize) -> Result<()> {
        self.see("resize", format!("{size:?}"));
        Ok(())
    }

    async fn container_logs(&self, name: &str, options: LogOptions) -> Result<Logs> {
        let container = self.find(name)?;
        let entries = self
            .lock()
            .logs
            .get(&container.id)
            .cloned()
            .unwrap_or_default();
        let entries = stream::iter(entries.into_iter().map(Ok));
        let entries = if options.follow {
            entries.chain(self.endless("logs")).boxed()
        } else {
            entries.boxed()
        };
        Ok(Logs {
            entries,
            tty: container.config.tty,
        })
    }

    async fn container_top(&self, _: &str, _: &str) -> Result<Top> {
        Ok(Top {
            titles: vec!["PID".into(), "CMD".into()],
            processes: vec![vec!["1".into(), "sh".into()]],
        })
    }

    async fn container_stats(&self, _: &str, stream: bool) -> Result<BoxStream<Stats>> {
        let reading = |n| Stats {
            read: Timestamp::from_second(n).unwrap(),
            pids: 1,
            cpu: coracle_runtime::stats::CpuStats {
                total: n as u64,
                online: 2,
                ..Default::default()
            },
            ..Stats::default()
        };
        let readings: Vec<_> = if stream {
            vec![reading(1), reading(2)]
        } else {
            vec![reading(1)]
        };
        Ok(stream::iter(readings.into_iter().map(Ok)).boxed())
    }

    async fn container_changes(&self, _: &str) -> Result<Vec<Change>> {
        Ok(vec![Change {
            path: "/a".into(),
            kind: ChangeKind::Added,
        }])
    }

    async fn create_exec(&self, container: &str, spec: ExecSpec) -> Result<String> {
        let container_id = self.find(container)?.id;
        let mut state = self.lock();
        let id = format!("{:064x}", 0xe0_0000_u64 + state.execs.len() as u64);
        let exec = Exec {
            id: id.clone(),
            container_id,
            spec,
            ..Exec::default()
        };
        state.execs.insert(id.clone(), exec);
        Ok(id)
    }

    async fn start_exec(&self, id: &str, start: StartExec) -> Result<Option<Attached>> {
        let exec = self.inspect_exec(id).await?;
        if exec.spec.cmd[0] == "nope" {
            return Err(RuntimeError::InvalidArgument(
                "executable file not found in $PATH".into(),
            ));
        }
        let (sender, output) = mpsc::unbounded_channel();
        let (near, far) = tokio::io::duplex(65536);
        let input = exec.spec.attach_stdin.then_some(far);
        let stub = self.clone();
        let id = id.to_owned();
        tokio::spawn(async move {
            let code = run(exec.spec.cmd, input, sender.clone(), |_, _| ()).await;
            if let Some(exec) = stub.lock().execs.get_mut(&id) {
                exec.exit_code = Some(code);
            }
        });
        Ok((!start.detach).then(|| Attached {
            output: receiver(output),
            input: exec
                .spec
                .attach_stdin
                .then(|| Box::pin(near) as std::pin::Pin<Box<dyn AsyncWrite + Send>>),
            tty: exec.spec.tty,
        }))
    }

    async fn inspect_exec(&self, id: &str) -> Result<Exec> {
        let found = self.lock().execs.get(id).cloned();
        found.ok_or_else(|| RuntimeError::no_such_exec(id))
    }

    async fn detach_container(&self, name: &str) -> Result<()> {
        let container = self.inspect_container(name, false).await?;
        self.publish(&container, "detach");
        Ok(())
    }

    async fn detach_exec(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn resize_exec(&self, _: &str, _: TerminalSize) -> Result<()> {
        Ok(())
    }

    async fn stat_path(&self, _: &str, path: &str) -> Result<PathStat> {
        Ok(PathStat {
            name: path.trim_start_matches('/').into(),
            mode: 0o644,
            ..PathStat::default()
        })
    }

    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive> {
        Ok(PathArchive {
            stat: self.stat_path(name, path).await?,
            tar: stream::iter([Ok(Bytes::from_static(b"tar"))]).boxed(),
        })
    }

    async fn write_path(&self, _: &str, _: &str, _: ExtractOptions, tar: ByteStream) -> Result<()> {
        let length = collect(tar).await?;
        self.see("write_path", length.to_string());
        Ok(())
    }

    async fn export_container(&self, name: &str) -> Result<ByteStream> {
        self.find(name)?;
        let broken = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Err(RuntimeError::Internal("disk on fire".into()))
        };
        Ok(stream::iter([Ok(Bytes::from_static(b"tar"))])
            .chain(stream::once(broken))
            .boxed())
    }

    async fn commit_container(&self, request: CommitRequest) -> Result<String> {
        self.see(
            "commit",
            format!("{:?} {}", request.reference, request.pause),
        );
        Ok(IMAGE.into())
    }

    async fn list_images(&self, _: bool) -> Result<Vec<Image>> {
        let untagged = Image {
            id: "sha256:bb".into(),
            ..Image::default()
        };
        Ok(vec![untagged, image()])
    }

    async fn inspect_image(&self, name: &str) -> Result<Image> {
        match name {
            "busybox" | "busybox:latest" | IMAGE => Ok(image()),
            "h:5000/a/b" => Ok(Image {
                id: "sha256:cc".into(),
                ..Image::default()
            }),
            _ => Err(RuntimeError::no_such_image(name)),
        }
    }

    async fn image_history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        let image = self.inspect_image(name).await?;
        Ok(vec![
            HistoryEntry {
                id: image.id,
                ..HistoryEntry::default()
            },
            HistoryEntry::default(),
        ])
    }

    async fn tag_image(&self, source: &str, target: &str) -> Result<()> {
        self.see("tag", format!("{source} {target}"));
        Ok(())
    }

    async fn remove_image(&self, name: &str, _: RemoveImageOptions) -> Result<Vec<ImageRemoval>> {
        let image = self.inspect_image(name).await?;
        Ok(vec![
            ImageRemoval::Untagged(name.into()),
            ImageRemoval::Deleted(image.id),
        ])
    }

    async fn prune_images(&self, _: &Filters) -> Result<PrunedImages> {
        Ok(PrunedImages::default())
    }

    async fn pull_image(&self, request: PullRequest) -> Result<BoxStream<Progress>> {
        self.see(
            "pull",
            format!("{} {}", request.reference, request.all_tags),
        );
        if let Some(auth) = &request.auth {
            self.see("auth", auth.username.clone());
        }
        let step = |id: &str, status: &str, bytes| {
            Ok(Progress {
                id: id.into(),
                status: status.into(),
                bytes,
                ..Progress::default()
            })
        };
        let failure = || Err(RuntimeError::Backend("registry on fire".into()));
        let reference = request.reference.as_str();
        let steps = match reference.rsplit('/').next().unwrap() {
            "missing:latest" => return Err(RuntimeError::NotFound("no such repository".into())),
            "late:latest" => vec![failure()],
            "broken:latest" => vec![step("", "Working", None), failure()],
            "slow:latest" => return Ok(self.endless("pull")),
            _ => vec![
                step("latest", "Pulling from library/busybox", None),
                step("0123456789ab", "Downloading", Some((5, Some(10)))),
                step("0123456789ab", "Pull complete", None),
                step(
                    "",
                    "Status: Downloaded newer image for busybox:latest",
                    None,
                ),
            ],
        };
        Ok(stream::iter(steps).boxed())
    }

    async fn push_image(&self, request: PushRequest) -> Result<BoxStream<Progress>> {
        self.see(
            "push",
            format!("{} {}", request.reference, request.all_tags),
        );
        Ok(stream::empty().boxed())
    }

    async fn save_images(&self, names: &[String]) -> Result<ByteStream> {
        self.see("save", names.join(" "));
        Ok(stream::iter([Ok(Bytes::from_static(b"tar"))]).boxed())
    }

    async fn load_images(&self, tar: ByteStream) -> Result<BoxStream<Progress>> {
        let length = collect(tar).await?;
        let step = Progress {
            stream: Some(format!("Loaded {length}\n")),
            ..Progress::default()
        };
        Ok(stream::iter([Ok(step)]).boxed())
    }

    async fn import_image(&self, request: ImportRequest) -> Result<String> {
        self.see(
            "import",
            format!("{:?} {:?}", request.reference, request.changes),
        );
        collect(request.tar).await?;
        Ok(IMAGE.into())
    }

    async fn inspect_distribution(
        &self,
        name: &str,
        _: Option<RegistryAuth>,
    ) -> Result<coracle_runtime::image::Distribution> {
        let platform =
            |architecture: &str, variant: &str| coracle_runtime::image::DistributionPlatform {
                architecture: architecture.into(),
                os: "linux".into(),
                variant: variant.into(),
                ..Default::default()
            };
        match name {
            "localhost:5000/team/app:1" => Ok(coracle_runtime::image::Distribution {
                media_type: "application/vnd.oci.image.index.v1+json".into(),
                digest: "sha256:00".into(),
                size: 7,
                platforms: vec![platform("amd64", ""), platform("arm", "v7")],
            }),
            _ => Err(RuntimeError::ImageNotFound("manifest unknown".into())),
        }
    }

    async fn registry_login(&self, auth: RegistryAuth) -> Result<LoginStatus> {
        if auth.password != "good" {
            return Err(RuntimeError::Unauthorized("unauthorized".into()));
        }
        Ok(LoginStatus {
            status: "Login Succeeded".into(),
            identity_token: String::new(),
        })
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        Ok(vec![self.inspect_network("bridge").await?])
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        if name != "bridge" {
            return Err(RuntimeError::NotFound(format!("network {name} not found")));
        }
        Ok(Network {
            id: format!("{:064x}", 1),
            name: "bridge".into(),
            driver: "bridge".into(),
            scope: "local".into(),
            ..Network::default()
        })
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        Ok(vec![self.inspect_volume("data").await?])
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        if name != "data" {
            return Err(RuntimeError::NotFound(format!(
                "get {name}: no such volume"
            )));
        }
        Ok(Volume {
            name: name.into(),
            driver: "local".into(),
            ..Volume::default()
        })
    }

    async fn create_volume(&self, spec: VolumeSpec) -> Result<Volume> {
        self.inspect_volume(&spec.name).await
    }

    async fn remove_volume(&self, _: &str, _: bool) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.see("remove_volume", "done".into());
        Ok(())
    }

    async fn prune_volumes(&self, filters: &Filters) -> Result<Pruned> {
        self.see("prune_volumes", format!("{:?}", filters.get("all")));
        Ok(Pruned::default())
    }
}

async fn collect(mut tar: ByteStream) -> Result<usize> {
    let mut length = 0;
    while let Some(bytes) = tar.next().await {
        length += bytes?.len();
    }
    Ok(length)
}
