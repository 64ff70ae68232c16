//! The trait, on the engine.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use coracle_registry::{Client, Puller};
use coracle_runtime::archive::{ExtractOptions, PathArchive, PathStat};
use coracle_runtime::container::{
    Change, Changed, Container, Created, ExitStatus, Pruned, RemoveOptions, StopOptions, Top,
    UpdateOptions, WaitCondition,
};
use coracle_runtime::event::{EventBus, EventKind};
use coracle_runtime::exec::{Exec, ExecSpec, StartExec};
use coracle_runtime::filter::Filters;
use coracle_runtime::image::{
    CommitRequest, Distribution, HistoryEntry, Image, ImageRemoval, ImportRequest, LoginStatus,
    Progress, PrunedImages, PullRequest, PushRequest, RegistryAuth, RemoveImageOptions,
};
use coracle_runtime::io::{
    AttachOptions, Attached, BoxStream, ByteStream, LogOptions, Logs, TerminalSize,
};
use coracle_runtime::kernel::{Kernel, KernelSpec};
use coracle_runtime::network::{ConnectRequest, Network, NetworkSpec};
use coracle_runtime::secret::{Config as ConfigFile, Secret, SecretSpec, SecretUpdate};
use coracle_runtime::spec::ContainerSpec;
use coracle_runtime::stats::Stats;
use coracle_runtime::system::{DiskUsage, Info, Version};
use coracle_runtime::volume::{Volume, VolumeSpec};
use coracle_runtime::{Capabilities, Result, Runtime, RuntimeError};
use coracle_secret::Kind;
use coracle_store::Store;
use futures_util::future::BoxFuture;

use crate::config::Config;
use crate::container::actor::task_error;
use crate::container::files::{self, blocking};
use crate::container::handle::Command;
use crate::container::names::Containers;
use crate::container::{create, exec, logs, recover, stats, top, wait};
use crate::disks::Disks;
use crate::engine::{Engine, network_namespace};
use crate::images::{self, Images};
use crate::links::{self, Links, Shown};
use crate::machine::Machines;
use crate::machine::boot_log;
use crate::names::Names;
use crate::networks::{self, Networking};
use crate::reaper::Reaper;
use crate::secrets::{self, Secrets};
use crate::snapshots::Snapshots;
use crate::volumes::Volumes;
use crate::{archives, distribution, durable, ident, kernels, network_api, system, transfer};

/// The product's own runtime: containers on this host, each under a shim of its own.
#[derive(Clone)]
pub struct LocalRuntime {
    engine: Arc<Engine>,
}

impl LocalRuntime {
    /// Opens the runtime on its directories, and takes in all containers that are there: the running
    /// ones are adopted, what was cut short is cleared away, restart policies are carried out.
    pub async fn open(config: Config) -> Result<Self> {
        let failed = |what: &str, error: std::io::Error| {
            RuntimeError::Internal(format!("cannot {what}: {error}"))
        };
        for directory in [&config.data_root, &config.exec_root] {
            private_dir(directory)
                .map_err(|error| failed(&format!("make {}", directory.display()), error))?;
        }
        let id = identity(&config.data_root).map_err(|error| failed("keep an identity", error))?;
        let opening = config.clone();
        let (store, snapshots, disks, volumes, secrets, machines) = blocking(move || {
            let store = Store::open(opening.data_root.join("content")).map_err(images::error)?;
            let snapshots = Snapshots::open(&opening)?;
            let disks = Disks::open(&opening.data_root, store.clone())?;
            let volumes = Volumes::open(&opening.data_root)
                .map_err(|error| failed("read the volumes", error))?;
            let secrets = Secrets::open(&opening.data_root)?;
            let machines = Machines::open(&opening)?;
            Ok((
                store,
                Arc::new(snapshots),
                disks,
                volumes,
                secrets,
                machines,
            ))
        })
        .await?;
        let containers = Arc::new(Containers::default());
        let client = Client::new(config.registries.clone());
        let puller = Puller::new(client.clone(), store.clone(), config.max_downloads);
        let opened = coracle_network::Networks::open(config.network.clone()).await;
        let known = containers.clone();
        let opened = opened.map_err(networks::error)?;
        let mut dns = config.dns.clone();
        dns.nft = config.network.nft.clone().into_os_string();
        let names = Names::new(dns, opened.clone(), containers.clone());
        let networks = Networking::new(
            opened,
            names,
            Links::new(containers.clone()),
            &config.exec_root,
            config.network.userland_proxy,
            config.port_forwarder.clone(),
            move |record, name| network_namespace(&known, record, name),
        );
        let images = Images::new(
            store,
            client,
            puller,
            snapshots.clone(),
            disks,
            containers.clone(),
        );
        let reaper =
            Reaper::begin().map_err(|error| failed("listen for the end of shims", error))?;
        let engine = Arc::new(Engine {
            id,
            config,
            events: EventBus::new(),
            reaper,
            containers,
            execs: Default::default(),
            images,
            snapshots,
            networks,
            volumes,
            secrets,
            machines,
        });
        let running = recover::recover(&engine)
            .await
            .map_err(|error| failed("take in the containers", error))?;
        let worker = engine.clone();
        blocking(move || {
            let dirs = |id: &str| worker.dirs(id);
            worker.volumes.clear_away(&worker.containers, dirs);
            worker.volumes.unmount_unused();
            worker.images.clear_disks();
            Ok(())
        })
        .await?;
        let ahead = engine.clone();
        tokio::spawn(async move {
            crate::machine::templates::prepare(ahead.clone()).await;
            crate::machine::spares::keep(ahead).await;
        });
        tokio::spawn(crate::machine::collect::watch(engine.clone()));
        tracing::info!(running, containers = engine.containers.all().len(), "ready");
        Ok(Self { engine })
    }
}

fn private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(path)
}

/// An identity that stays with the data.
fn identity(data_root: &Path) -> std::io::Result<String> {
    let path = data_root.join("engine-id");
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        _ => {
            let id: String = ident::new_id().chars().take(32).collect();
            durable::write(&path, id.as_bytes(), durable::Durability::Disk)?;
            Ok(id)
        }
    }
}

#[async_trait]
impl Runtime for LocalRuntime {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pause: true,
            exec: true,
            attach: true,
            stats: true,
            top: true,
            update: true,
            archive: true,
            commit: true,
            registry: true,
            image_archive: true,
            build: false,
            networks: true,
            volumes: true,
            secrets: true,
            health: true,
            kernels: true,
            vm: self
                .engine
                .machines
                .unavailable(&self.engine.config)
                .is_none(),
        }
    }

    fn events(&self) -> &EventBus {
        &self.engine.events
    }

    async fn version(&self) -> Result<Version> {
        Ok(system::version())
    }

    async fn info(&self) -> Result<Info> {
        Ok(system::info(&self.engine))
    }

    async fn disk_usage(&self) -> Result<DiskUsage> {
        system::disk_usage(&self.engine).await
    }

    async fn list_containers(&self, size: bool) -> Result<Vec<Container>> {
        system::containers(&self.engine, size).await
    }

    async fn inspect_container(&self, name: &str, size: bool) -> Result<Container> {
        let handle = self.engine.find(name)?;
        if size {
            let engine = self.engine.clone();
            let sized = blocking(move || Ok(system::with_sizes(&engine, &handle)));
            let mut container = sized.await?;
            Shown::new(&self.engine.containers).fill(&mut container);
            return Ok(container);
        }
        let mut container = Container::clone(&handle.now().container);
        container.exec_ids = self.engine.execs.running_in(&handle.id);
        Shown::new(&self.engine.containers).fill(&mut container);
        Ok(container)
    }

    async fn create_container(&self, spec: ContainerSpec) -> Result<Created> {
        create::create(&self.engine, spec).await
    }

    async fn start_container(&self, name: &str) -> Result<Changed> {
        self.engine
            .find(name)?
            .ask(|reply| Command::Start { reply })
            .await
    }

    async fn stop_container(&self, name: &str, options: StopOptions) -> Result<Changed> {
        let handle = self.engine.find(name)?;
        let changed = handle.stop(&options).await?;
        if changed == Changed(true) {
            handle.emit(&self.engine, "stop");
        }
        Ok(changed)
    }

    async fn restart_container(&self, name: &str, options: StopOptions) -> Result<()> {
        let handle = self.engine.find(name)?;
        // The end in the middle of a restart is not the one that `--rm` waits for.
        handle
            .ask(|reply| Command::Hold { hold: true, reply })
            .await?;
        let stopped = handle.stop(&options).await;
        if stopped == Ok(Changed(true)) {
            handle.emit(&self.engine, "stop");
        }
        let restarted = match stopped {
            Ok(_) => handle.ask(|reply| Command::Start { reply }).await,
            Err(error) => Err(error),
        };
        handle
            .ask(|reply| Command::Hold { hold: false, reply })
            .await?;
        restarted?;
        handle.emit(&self.engine, "restart");
        Ok(())
    }

    async fn kill_container(&self, name: &str, signal: &str) -> Result<()> {
        self.engine.find(name)?.kill(signal).await
    }

    async fn pause_container(&self, name: &str) -> Result<()> {
        self.engine
            .find(name)?
            .ask(|reply| Command::Pause {
                for_commit: false,
                reply,
            })
            .await
    }

    async fn unpause_container(&self, name: &str) -> Result<()> {
        self.engine
            .find(name)?
            .ask(|reply| Command::Unpause { reply })
            .await
    }

    async fn wait_container(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> Result<BoxFuture<'static, Result<ExitStatus>>> {
        Ok(wait::wait(self.engine.find(name)?, condition))
    }

    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        let handle = self.engine.find(name)?;
        let new_name = new_name.strip_prefix('/').unwrap_or(new_name);
        ident::check_name("container", new_name)?;
        let new_name = new_name.to_owned();
        handle
            .ask(|reply| Command::Rename {
                name: new_name,
                reply,
            })
            .await
    }

    async fn update_container(&self, name: &str, options: UpdateOptions) -> Result<Vec<String>> {
        let options = Box::new(options);
        self.engine
            .find(name)?
            .ask(|reply| Command::Update { options, reply })
            .await
    }

    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            return links::remove(&self.engine.containers, name).await;
        }
        self.engine
            .find(name)?
            .ask(|reply| Command::Remove { options, reply })
            .await
    }

    async fn prune_containers(&self, filters: &Filters) -> Result<Pruned> {
        system::prune_containers(&self.engine, filters).await
    }

    async fn attach_container(&self, name: &str, options: AttachOptions) -> Result<Attached> {
        let handle = self.engine.find(name)?;
        let attached = logs::attach(&self.engine, &handle, options).await?;
        handle.emit(&self.engine, "attach");
        Ok(attached)
    }

    async fn detach_container(&self, name: &str) -> Result<()> {
        self.engine.find(name)?.emit(&self.engine, "detach");
        Ok(())
    }

    async fn resize_container(&self, name: &str, size: TerminalSize) -> Result<()> {
        let handle = self.engine.find(name)?;
        let run = handle.running()?;
        // Docker takes it and does nothing, where there is no terminal.
        if handle.now().record.config.tty {
            let resized = run.client.resize(None, size.rows, size.cols).await;
            resized.map_err(task_error)?;
        }
        let (height, width) = (size.rows.to_string(), size.cols.to_string());
        handle.emit_with(
            &self.engine,
            "resize",
            &[("height", &height), ("width", &width)],
        );
        Ok(())
    }

    async fn container_logs(&self, name: &str, options: LogOptions) -> Result<Logs> {
        let handle = self.engine.find(name)?;
        match options.boot {
            true => boot_log::read(&self.engine, &handle, &options).await,
            false => logs::read(&self.engine, &handle, options),
        }
    }

    async fn container_top(&self, name: &str, ps_args: &str) -> Result<Top> {
        let handle = self.engine.find(name)?;
        let top = top::top(&handle, ps_args).await?;
        handle.emit(&self.engine, "top");
        Ok(top)
    }

    async fn container_stats(&self, name: &str, stream: bool) -> Result<BoxStream<Stats>> {
        Ok(stats::stats(self.engine.find(name)?, stream))
    }

    async fn container_changes(&self, name: &str) -> Result<Vec<Change>> {
        files::differences(self.engine.clone(), self.engine.find(name)?).await
    }

    async fn create_exec(&self, container: &str, spec: ExecSpec) -> Result<String> {
        exec::create(&self.engine, &self.engine.find(container)?, container, spec)
    }

    async fn start_exec(&self, id: &str, start: StartExec) -> Result<Option<Attached>> {
        exec::start(&self.engine, id, start).await
    }

    async fn inspect_exec(&self, id: &str) -> Result<Exec> {
        self.engine.execs.get(id)
    }

    async fn detach_exec(&self, id: &str) -> Result<()> {
        let exec = self.engine.execs.get(id)?;
        let handle = self.engine.find(&exec.container_id)?;
        handle.emit_with(&self.engine, "exec_detach", &[("execID", id)]);
        Ok(())
    }

    async fn resize_exec(&self, id: &str, size: TerminalSize) -> Result<()> {
        exec::resize(&self.engine, id, size).await
    }

    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        files::stat(
            self.engine.clone(),
            self.engine.find(name)?,
            path.to_owned(),
        )
        .await
    }

    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive> {
        let handle = self.engine.find(name)?;
        let archive = files::read(self.engine.clone(), handle.clone(), path.to_owned()).await?;
        handle.emit(&self.engine, "archive-path");
        Ok(archive)
    }

    async fn write_path(
        &self,
        name: &str,
        path: &str,
        options: ExtractOptions,
        tar: ByteStream,
    ) -> Result<()> {
        let handle = self.engine.find(name)?;
        files::write(
            self.engine.clone(),
            handle.clone(),
            path.to_owned(),
            options,
            tar,
        )
        .await?;
        handle.emit(&self.engine, "extract-to-dir");
        Ok(())
    }

    async fn export_container(&self, name: &str) -> Result<ByteStream> {
        let handle = self.engine.find(name)?;
        let tar = files::export(self.engine.clone(), handle.clone()).await?;
        handle.emit(&self.engine, "export");
        Ok(tar)
    }

    async fn commit_container(&self, request: CommitRequest) -> Result<String> {
        let handle = self.engine.find(&request.container)?;
        let comment = request.comment.clone();
        let id = files::commit(self.engine.clone(), handle.clone(), request).await?;
        handle.emit_with(
            &self.engine,
            "commit",
            &[("comment", &comment), ("imageID", &id)],
        );
        Ok(id)
    }

    async fn list_images(&self, shared_size: bool) -> Result<Vec<Image>> {
        let engine = self.engine.clone();
        blocking(move || Ok(engine.images.list(shared_size))).await
    }

    async fn inspect_image(&self, name: &str) -> Result<Image> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || engine.images.inspect(&name)).await
    }

    async fn image_history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || engine.images.history(&name)).await
    }

    async fn tag_image(&self, source: &str, target: &str) -> Result<()> {
        let engine = self.engine.clone();
        let (source, target) = (source.to_owned(), target.to_owned());
        blocking(move || {
            let id = engine.images.tag(&source, &target)?;
            engine.emit_image("tag", &id, &target);
            Ok(())
        })
        .await
    }

    async fn remove_image(
        &self,
        name: &str,
        options: RemoveImageOptions,
    ) -> Result<Vec<ImageRemoval>> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || {
            let (removed, _) = engine.images.remove(&name, options)?;
            Ok(images::report(&engine, &removed))
        })
        .await
    }

    async fn prune_images(&self, filters: &Filters) -> Result<PrunedImages> {
        let (engine, filters) = (self.engine.clone(), filters.clone());
        blocking(move || {
            let (removed, freed) = engine.images.prune(&filters)?;
            let pruned = images::pruned(&engine, &removed, freed);
            system::emit_prune(&engine, EventKind::Image, freed);
            Ok(pruned)
        })
        .await
    }

    async fn pull_image(&self, request: PullRequest) -> Result<BoxStream<Progress>> {
        transfer::pull(self.engine.clone(), request).await
    }

    async fn push_image(&self, request: PushRequest) -> Result<BoxStream<Progress>> {
        transfer::push(self.engine.clone(), request).await
    }

    async fn save_images(&self, names: &[String]) -> Result<ByteStream> {
        archives::save(self.engine.clone(), names.to_vec()).await
    }

    async fn load_images(&self, tar: ByteStream) -> Result<BoxStream<Progress>> {
        Ok(archives::load(self.engine.clone(), tar))
    }

    async fn import_image(&self, request: ImportRequest) -> Result<String> {
        archives::import(self.engine.clone(), request).await
    }

    async fn inspect_distribution(
        &self,
        name: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<Distribution> {
        distribution::inspect(&self.engine, name, auth).await
    }

    async fn registry_login(&self, auth: RegistryAuth) -> Result<LoginStatus> {
        transfer::login(&self.engine, auth).await
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        Ok(network_api::list(&self.engine))
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        network_api::inspect(&self.engine, name)
    }

    async fn create_network(&self, spec: NetworkSpec) -> Result<String> {
        network_api::create(&self.engine, spec).await
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        network_api::remove(&self.engine, name).await
    }

    async fn connect_network(&self, network: &str, request: ConnectRequest) -> Result<()> {
        network_api::connect(&self.engine, network, request).await
    }

    async fn disconnect_network(&self, network: &str, container: &str, force: bool) -> Result<()> {
        network_api::disconnect(&self.engine, network, container, force).await
    }

    async fn prune_networks(&self, filters: &Filters) -> Result<Vec<String>> {
        network_api::prune(&self.engine, filters).await
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        Ok(self.engine.volumes.list())
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        self.engine.volumes.get(name)
    }

    async fn create_volume(&self, spec: VolumeSpec) -> Result<Volume> {
        let engine = self.engine.clone();
        blocking(move || {
            let (volume, new) = engine.volumes.create(spec)?;
            if new {
                engine.emit_volume("create", &volume.name);
            }
            Ok(volume)
        })
        .await
    }

    async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || {
            if engine.volumes.remove(&engine.containers, &name, force)? {
                engine.emit_volume("destroy", &name);
            }
            Ok(())
        })
        .await
    }

    async fn prune_volumes(&self, filters: &Filters) -> Result<Pruned> {
        system::prune_volumes(&self.engine, filters).await
    }

    async fn list_secrets(&self) -> Result<Vec<Secret>> {
        Ok(secrets::list(&self.engine, Kind::Secret))
    }

    async fn inspect_secret(&self, name: &str) -> Result<Secret> {
        secrets::inspect(&self.engine, Kind::Secret, name)
    }

    async fn create_secret(&self, spec: SecretSpec) -> Result<String> {
        let engine = self.engine.clone();
        blocking(move || secrets::create(&engine, Kind::Secret, spec)).await
    }

    async fn update_secret(&self, name: &str, update: SecretUpdate) -> Result<()> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || secrets::update(&engine, Kind::Secret, &name, update)).await
    }

    async fn remove_secret(&self, name: &str) -> Result<()> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || secrets::remove(&engine, Kind::Secret, &name)).await
    }

    async fn rotate_secret_key(&self) -> Result<usize> {
        let engine = self.engine.clone();
        blocking(move || secrets::rotate(&engine)).await
    }

    async fn list_configs(&self) -> Result<Vec<ConfigFile>> {
        let engine = self.engine.clone();
        blocking(move || secrets::list_configs(&engine)).await
    }

    async fn inspect_config(&self, name: &str) -> Result<ConfigFile> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || secrets::inspect_config(&engine, &name)).await
    }

    async fn create_config(&self, spec: SecretSpec) -> Result<String> {
        let engine = self.engine.clone();
        blocking(move || secrets::create(&engine, Kind::Config, spec)).await
    }

    async fn update_config(&self, name: &str, update: SecretUpdate) -> Result<()> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || secrets::update(&engine, Kind::Config, &name, update)).await
    }

    async fn remove_config(&self, name: &str) -> Result<()> {
        let (engine, name) = (self.engine.clone(), name.to_owned());
        blocking(move || secrets::remove(&engine, Kind::Config, &name)).await
    }

    async fn list_kernels(&self) -> Result<Vec<Kernel>> {
        kernels::list(&self.engine).await
    }

    async fn inspect_kernel(&self, name: &str) -> Result<Kernel> {
        kernels::inspect(&self.engine, name).await
    }

    async fn install_kernel(&self, spec: KernelSpec) -> Result<Kernel> {
        kernels::install(&self.engine, spec).await
    }

    async fn set_default_kernel(&self, name: &str) -> Result<()> {
        kernels::set_default(&self.engine, name).await
    }

    async fn remove_kernel(&self, name: &str) -> Result<()> {
        kernels::remove(&self.engine, name).await
    }
}
