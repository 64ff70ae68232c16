//! The trait, on the engine.

use async_trait::async_trait;
use coracle_runtime::archive::{ExtractOptions, PathArchive, PathStat};
use coracle_runtime::container::{
    Change, Changed, Container, Created, ExitStatus, Pruned, RemoveOptions, StopOptions, Top,
    UpdateOptions, WaitCondition,
};
use coracle_runtime::event::EventBus;
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
use coracle_runtime::secret::{Config, Secret, SecretSpec, SecretUpdate};
use coracle_runtime::spec::ContainerSpec;
use coracle_runtime::stats::Stats;
use coracle_runtime::system::{DiskUsage, Info, Version};
use coracle_runtime::volume::{Volume, VolumeSpec};
use coracle_runtime::{Capabilities, Result, Runtime};
use coracle_secret::Kind;
use futures_util::future::BoxFuture;

use crate::MockRuntime;
use crate::container::{
    attach, create, exec, files, logs, observe, remove, signals, start, update, wait,
};
use crate::images::{self, archive, transfer};
use crate::{networks, system, volumes};

#[async_trait]
impl Runtime for MockRuntime {
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
            vm: false,
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
        Ok(system::disk_usage(&self.engine))
    }

    async fn list_containers(&self, size: bool) -> Result<Vec<Container>> {
        Ok(self.engine.lock().list(size))
    }

    async fn inspect_container(&self, name: &str, size: bool) -> Result<Container> {
        let state = self.engine.lock();
        Ok(state.describe(state.container(name)?, size))
    }

    async fn create_container(&self, spec: ContainerSpec) -> Result<Created> {
        create::create(&self.engine, spec)
    }

    async fn start_container(&self, name: &str) -> Result<Changed> {
        start::start(&self.engine, name)
    }

    async fn stop_container(&self, name: &str, options: StopOptions) -> Result<Changed> {
        let changed = signals::stop(&self.engine, name, &options).await?;
        if changed == Changed(true) {
            self.emit(name, "stop");
        }
        Ok(changed)
    }

    async fn restart_container(&self, name: &str, options: StopOptions) -> Result<()> {
        signals::stop(&self.engine, name, &options).await?;
        start::start(&self.engine, name)?;
        self.emit(name, "restart");
        Ok(())
    }

    async fn kill_container(&self, name: &str, signal: &str) -> Result<()> {
        signals::kill(&self.engine, name, signal)
    }

    async fn pause_container(&self, name: &str) -> Result<()> {
        signals::pause(&self.engine, name)
    }

    async fn unpause_container(&self, name: &str) -> Result<()> {
        signals::unpause(&self.engine, name)
    }

    async fn wait_container(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> Result<BoxFuture<'static, Result<ExitStatus>>> {
        wait::wait(&self.engine, name, condition)
    }

    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()> {
        update::rename(&self.engine, name, new_name)
    }

    async fn update_container(&self, name: &str, options: UpdateOptions) -> Result<Vec<String>> {
        update::update(&self.engine, name, &options)
    }

    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()> {
        remove::remove(&self.engine, name, options)
    }

    async fn prune_containers(&self, filters: &Filters) -> Result<Pruned> {
        remove::prune(&self.engine, filters)
    }

    async fn attach_container(&self, name: &str, options: AttachOptions) -> Result<Attached> {
        attach::attach(&self.engine, name, options)
    }

    async fn detach_container(&self, name: &str) -> Result<()> {
        let state = self.engine.lock();
        self.engine.emit(state.container(name)?, "detach", &[]);
        Ok(())
    }

    async fn resize_container(&self, name: &str, size: TerminalSize) -> Result<()> {
        let state = self.engine.lock();
        let entry = state.container(name)?;
        match &entry.running()?.tty {
            Some(tty) => tty.resize(size),
            None => return Err(exec::no_terminal()),
        }
        engine_emit_resize(self, entry, size);
        Ok(())
    }

    async fn container_logs(&self, name: &str, options: LogOptions) -> Result<Logs> {
        logs::read(&self.engine, name, options)
    }

    async fn container_top(&self, name: &str, ps_args: &str) -> Result<Top> {
        observe::top(&self.engine, name, ps_args)
    }

    async fn container_stats(&self, name: &str, stream: bool) -> Result<BoxStream<Stats>> {
        observe::stats(&self.engine, name, stream)
    }

    async fn container_changes(&self, name: &str) -> Result<Vec<Change>> {
        files::differences(&self.engine, name)
    }

    async fn create_exec(&self, container: &str, spec: ExecSpec) -> Result<String> {
        exec::create(&self.engine, container, spec)
    }

    async fn start_exec(&self, id: &str, start: StartExec) -> Result<Option<Attached>> {
        exec::start(&self.engine, id, start)
    }

    async fn inspect_exec(&self, id: &str) -> Result<Exec> {
        self.engine.lock().execs.get(id)
    }

    async fn detach_exec(&self, id: &str) -> Result<()> {
        let state = self.engine.lock();
        let exec = state.execs.get(id)?;
        let entry = state.container(&exec.container_id)?;
        self.engine.emit(entry, "exec_detach", &[("execID", id)]);
        Ok(())
    }

    async fn resize_exec(&self, id: &str, size: TerminalSize) -> Result<()> {
        exec::resize(&self.engine, id, size)
    }

    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat> {
        files::stat(&self.engine, name, path)
    }

    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive> {
        files::read(&self.engine, name, path)
    }

    async fn write_path(
        &self,
        name: &str,
        path: &str,
        options: ExtractOptions,
        tar: ByteStream,
    ) -> Result<()> {
        files::write(&self.engine, name, path, options, tar).await
    }

    async fn export_container(&self, name: &str) -> Result<ByteStream> {
        files::export(&self.engine, name)
    }

    async fn commit_container(&self, request: CommitRequest) -> Result<String> {
        files::commit(&self.engine, &request)
    }

    async fn list_images(&self, shared_size: bool) -> Result<Vec<Image>> {
        Ok(self.engine.lock().list_images(shared_size))
    }

    async fn inspect_image(&self, name: &str) -> Result<Image> {
        Ok(self.engine.lock().images.get(name)?.describe())
    }

    async fn image_history(&self, name: &str) -> Result<Vec<HistoryEntry>> {
        Ok(self.engine.lock().images.get(name)?.history())
    }

    async fn tag_image(&self, source: &str, target: &str) -> Result<()> {
        let name = images::parse_tag(target)?;
        let mut state = self.engine.lock();
        let id = state.images.get(source)?.id.clone();
        state.images.name(&id, &name);
        self.engine.emit_image("tag", id.as_str(), target);
        Ok(())
    }

    async fn remove_image(
        &self,
        name: &str,
        options: RemoveImageOptions,
    ) -> Result<Vec<ImageRemoval>> {
        system::remove_image(&self.engine, name, options)
    }

    async fn prune_images(&self, filters: &Filters) -> Result<PrunedImages> {
        system::prune_images(&self.engine, filters)
    }

    async fn pull_image(&self, request: PullRequest) -> Result<BoxStream<Progress>> {
        transfer::pull(&self.engine, request)
    }

    async fn push_image(&self, request: PushRequest) -> Result<BoxStream<Progress>> {
        transfer::push(&self.engine, request)
    }

    async fn save_images(&self, names: &[String]) -> Result<ByteStream> {
        let (bytes, saved) = self.engine.lock().images.save(names)?;
        for (id, name) in saved {
            self.engine.emit_image("save", id.as_str(), &name);
        }
        Ok(archive::once(bytes))
    }

    async fn load_images(&self, tar: ByteStream) -> Result<BoxStream<Progress>> {
        Ok(archive::load(self.engine.clone(), tar))
    }

    async fn import_image(&self, request: ImportRequest) -> Result<String> {
        archive::import(&self.engine, request).await
    }

    async fn inspect_distribution(
        &self,
        name: &str,
        _auth: Option<RegistryAuth>,
    ) -> Result<Distribution> {
        transfer::distribution(&self.engine, name)
    }

    async fn registry_login(&self, auth: RegistryAuth) -> Result<LoginStatus> {
        transfer::login(&auth)
    }

    async fn list_networks(&self) -> Result<Vec<Network>> {
        Ok(self.engine.lock().networks.list())
    }

    async fn inspect_network(&self, name: &str) -> Result<Network> {
        self.engine.lock().networks.find(name).cloned()
    }

    async fn create_network(&self, spec: NetworkSpec) -> Result<String> {
        networks::create(&self.engine, spec)
    }

    async fn remove_network(&self, name: &str) -> Result<()> {
        networks::remove(&self.engine, name)
    }

    async fn connect_network(&self, network: &str, request: ConnectRequest) -> Result<()> {
        networks::connect(&self.engine, network, request)
    }

    async fn disconnect_network(&self, network: &str, container: &str, _force: bool) -> Result<()> {
        networks::disconnect(&self.engine, network, container)
    }

    async fn prune_networks(&self, filters: &Filters) -> Result<Vec<String>> {
        networks::prune(&self.engine, filters)
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        let state = self.engine.lock();
        Ok(state
            .volumes
            .values()
            .map(|stored| stored.volume.clone())
            .collect())
    }

    async fn inspect_volume(&self, name: &str) -> Result<Volume> {
        let state = self.engine.lock();
        let stored = state
            .volumes
            .get(name)
            .ok_or_else(|| volumes::no_such_volume(name))?;
        Ok(stored.volume.clone())
    }

    async fn create_volume(&self, spec: VolumeSpec) -> Result<Volume> {
        let (stored, new) = self.engine.lock().create_volume(spec, false)?;
        if new {
            self.engine.emit_volume("create", &stored.volume.name);
        }
        Ok(stored.volume)
    }

    async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        if self.engine.lock().remove_volume(name, force)? {
            self.engine.emit_volume("destroy", name);
        }
        Ok(())
    }

    async fn prune_volumes(&self, filters: &Filters) -> Result<Pruned> {
        volumes::prune(&self.engine, filters)
    }

    async fn list_secrets(&self) -> Result<Vec<Secret>> {
        Ok(self.engine.list_secrets(Kind::Secret))
    }

    async fn inspect_secret(&self, name: &str) -> Result<Secret> {
        let found = self.engine.config(Kind::Secret, name);
        found.map(|found| found.about)
    }

    async fn create_secret(&self, spec: SecretSpec) -> Result<String> {
        self.engine.create_secret(Kind::Secret, spec)
    }

    async fn update_secret(&self, name: &str, update: SecretUpdate) -> Result<()> {
        self.engine.update_secret(Kind::Secret, name, update)
    }

    async fn remove_secret(&self, name: &str) -> Result<()> {
        self.engine.remove_secret(Kind::Secret, name)
    }

    async fn rotate_secret_key(&self) -> Result<usize> {
        // There is no key.
        Ok(self.engine.lock().secrets.len())
    }

    async fn list_configs(&self) -> Result<Vec<Config>> {
        Ok(self.engine.configs(Kind::Config))
    }

    async fn inspect_config(&self, name: &str) -> Result<Config> {
        self.engine.config(Kind::Config, name)
    }

    async fn create_config(&self, spec: SecretSpec) -> Result<String> {
        self.engine.create_secret(Kind::Config, spec)
    }

    async fn update_config(&self, name: &str, update: SecretUpdate) -> Result<()> {
        self.engine.update_secret(Kind::Config, name, update)
    }

    async fn remove_config(&self, name: &str) -> Result<()> {
        self.engine.remove_secret(Kind::Config, name)
    }

    async fn list_kernels(&self) -> Result<Vec<Kernel>> {
        self.engine.kernels.list().await
    }

    async fn inspect_kernel(&self, name: &str) -> Result<Kernel> {
        self.engine.kernels.inspect(name).await
    }

    async fn install_kernel(&self, spec: KernelSpec) -> Result<Kernel> {
        self.engine.kernels.install(spec).await
    }

    async fn set_default_kernel(&self, name: &str) -> Result<()> {
        self.engine.kernels.set_default(name).await
    }

    async fn remove_kernel(&self, name: &str) -> Result<()> {
        self.engine.kernels.remove(name).await
    }
}

fn engine_emit_resize(mock: &MockRuntime, entry: &crate::container::Entry, size: TerminalSize) {
    let (height, width) = (size.rows.to_string(), size.cols.to_string());
    mock.engine
        .emit(entry, "resize", &[("height", &height), ("width", &width)]);
}
