//! DockerRuntime itself: the trait, handed on to what does the work.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use coracle_client::{Client, Host, TlsOptions};
use coracle_runtime::archive::{ExtractOptions, PathArchive, PathStat};
use coracle_runtime::container::{
    Change, Changed, Container, Created, ExitStatus, Pruned, RemoveOptions, StopOptions, Top,
    UpdateOptions, WaitCondition,
};
use coracle_runtime::exec::{Exec, ExecSpec, StartExec};
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
use coracle_runtime::{Capabilities, EventBus, Filters, Result, Runtime, RuntimeError};
use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;

use crate::engine::Engine;
use crate::error::{About, kind};
use crate::events::Events;
use crate::memory::Memory;

/// What all requests have: the client, what is known of the engine, and its events.
pub(crate) struct Bridge {
    pub(crate) client: Arc<Client>,
    pub(crate) engine: Engine,
    pub(crate) events: Arc<Events>,
    /// What execs were asked to be. Engines tell only a part of it.
    pub(crate) specs: Memory<ExecSpec>,
    /// Images' platforms, by id.
    pub(crate) platforms: Memory<String>,
}

impl Bridge {
    /// An error of the client's, in the trait's terms.
    pub(crate) fn error(&self, about: About, error: coracle_client::Error) -> RuntimeError {
        kind(about, error, self.client.host())
    }

    /// A request that changes nothing.
    pub(crate) async fn ask<T>(
        &self,
        about: About,
        request: impl Future<Output = coracle_client::Result<T>>,
    ) -> Result<T> {
        request.await.map_err(|error| self.error(about, error))
    }

    /// A request that changes something: what it caused is told before it returns, also where it
    /// failed.
    pub(crate) async fn change<T>(
        &self,
        about: About,
        request: impl Future<Output = coracle_client::Result<T>>,
    ) -> Result<T> {
        let done = request.await;
        self.events.catch_up().await;
        done.map_err(|error| self.error(about, error))
    }
}

/// A Docker-compatible engine, as a runtime.
pub struct DockerRuntime {
    bridge: Arc<Bridge>,
    follower: AbortHandle,
}

impl Drop for DockerRuntime {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl DockerRuntime {
    /// Connects to the engine at `unix://PATH` or `tcp://HOST[:PORT]`, asks what it is and can, and
    /// begins to follow its events.
    ///
    /// # Errors
    /// [`Unavailable`](RuntimeError::Unavailable) where nobody answers,
    /// [`NotSupported`](RuntimeError::NotSupported) of an engine that is too old.
    pub async fn connect(host: &str, tls: Option<&TlsOptions>) -> Result<Self> {
        let refused =
            |error: coracle_client::Error| RuntimeError::InvalidArgument(error.to_string());
        let host = Host::parse(host, tls.is_some()).map_err(refused)?;
        let client = Client::new(host, tls).map_err(refused)?;
        let (client, engine) = Engine::meet(client).await?;
        let client = Arc::new(client);
        let events = Arc::new(Events::new(Arc::clone(&client), engine.ahead));
        let follower = tokio::spawn(Arc::clone(&events).follow()).abort_handle();
        tracing::info!(
            engine = %client.host(),
            api = client.api_version(),
            podman = engine.podman,
            "bridging"
        );
        let bridge = Bridge {
            client,
            engine,
            events,
            specs: Memory::default(),
            platforms: Memory::default(),
        };
        Ok(Self {
            bridge: Arc::new(bridge),
            follower,
        })
    }
}

/// Hands each method on to the bridge's of the same name.
macro_rules! hand_on {
    ($(async fn $name:ident(&self $(, $arg:ident: $ty:ty)*) -> $out:ty;)*) => {
        #[async_trait]
        impl Runtime for DockerRuntime {
            fn capabilities(&self) -> Capabilities {
                self.bridge.engine.capabilities
            }

            fn events(&self) -> &EventBus {
                self.bridge.events.bus()
            }

            $(async fn $name(&self $(, $arg: $ty)*) -> $out {
                self.bridge.$name($($arg),*).await
            })*
        }
    };
}

hand_on! {
    async fn version(&self) -> Result<Version>;
    async fn info(&self) -> Result<Info>;
    async fn disk_usage(&self) -> Result<DiskUsage>;

    async fn list_containers(&self, size: bool) -> Result<Vec<Container>>;
    async fn inspect_container(&self, name: &str, size: bool) -> Result<Container>;
    async fn create_container(&self, spec: ContainerSpec) -> Result<Created>;
    async fn start_container(&self, name: &str) -> Result<Changed>;
    async fn stop_container(&self, name: &str, options: StopOptions) -> Result<Changed>;
    async fn restart_container(&self, name: &str, options: StopOptions) -> Result<()>;
    async fn kill_container(&self, name: &str, signal: &str) -> Result<()>;
    async fn pause_container(&self, name: &str) -> Result<()>;
    async fn unpause_container(&self, name: &str) -> Result<()>;
    async fn wait_container(&self, name: &str, condition: WaitCondition)
        -> Result<BoxFuture<'static, Result<ExitStatus>>>;
    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()>;
    async fn update_container(&self, name: &str, options: UpdateOptions) -> Result<Vec<String>>;
    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()>;
    async fn prune_containers(&self, filters: &Filters) -> Result<Pruned>;

    async fn attach_container(&self, name: &str, options: AttachOptions) -> Result<Attached>;
    async fn detach_container(&self, name: &str) -> Result<()>;
    async fn resize_container(&self, name: &str, size: TerminalSize) -> Result<()>;
    async fn container_logs(&self, name: &str, options: LogOptions) -> Result<Logs>;
    async fn container_top(&self, name: &str, ps_args: &str) -> Result<Top>;
    async fn container_stats(&self, name: &str, stream: bool) -> Result<BoxStream<Stats>>;
    async fn container_changes(&self, name: &str) -> Result<Vec<Change>>;
    async fn create_exec(&self, container: &str, spec: ExecSpec) -> Result<String>;
    async fn start_exec(&self, id: &str, start: StartExec) -> Result<Option<Attached>>;
    async fn inspect_exec(&self, id: &str) -> Result<Exec>;
    async fn detach_exec(&self, id: &str) -> Result<()>;
    async fn resize_exec(&self, id: &str, size: TerminalSize) -> Result<()>;

    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat>;
    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive>;
    async fn write_path(&self, name: &str, path: &str, options: ExtractOptions, tar: ByteStream)
        -> Result<()>;
    async fn export_container(&self, name: &str) -> Result<ByteStream>;
    async fn commit_container(&self, request: CommitRequest) -> Result<String>;

    async fn list_images(&self, shared_size: bool) -> Result<Vec<Image>>;
    async fn inspect_image(&self, name: &str) -> Result<Image>;
    async fn image_history(&self, name: &str) -> Result<Vec<HistoryEntry>>;
    async fn tag_image(&self, source: &str, target: &str) -> Result<()>;
    async fn remove_image(&self, name: &str, options: RemoveImageOptions)
        -> Result<Vec<ImageRemoval>>;
    async fn prune_images(&self, filters: &Filters) -> Result<PrunedImages>;
    async fn pull_image(&self, request: PullRequest) -> Result<BoxStream<Progress>>;
    async fn push_image(&self, request: PushRequest) -> Result<BoxStream<Progress>>;
    async fn save_images(&self, names: &[String]) -> Result<ByteStream>;
    async fn load_images(&self, tar: ByteStream) -> Result<BoxStream<Progress>>;
    async fn import_image(&self, request: ImportRequest) -> Result<String>;
    async fn inspect_distribution(&self, name: &str, auth: Option<RegistryAuth>)
        -> Result<Distribution>;
    async fn registry_login(&self, auth: RegistryAuth) -> Result<LoginStatus>;
    async fn build_image(&self, context: ByteStream, options: Bytes)
        -> Result<BoxStream<Progress>>;

    async fn list_networks(&self) -> Result<Vec<Network>>;
    async fn inspect_network(&self, name: &str) -> Result<Network>;
    async fn create_network(&self, spec: NetworkSpec) -> Result<String>;
    async fn remove_network(&self, name: &str) -> Result<()>;
    async fn connect_network(&self, network: &str, request: ConnectRequest) -> Result<()>;
    async fn disconnect_network(&self, network: &str, container: &str, force: bool) -> Result<()>;
    async fn prune_networks(&self, filters: &Filters) -> Result<Vec<String>>;

    async fn list_volumes(&self) -> Result<Vec<Volume>>;
    async fn inspect_volume(&self, name: &str) -> Result<Volume>;
    async fn create_volume(&self, spec: VolumeSpec) -> Result<Volume>;
    async fn remove_volume(&self, name: &str, force: bool) -> Result<()>;
    async fn prune_volumes(&self, filters: &Filters) -> Result<Pruned>;

    async fn list_secrets(&self) -> Result<Vec<Secret>>;
    async fn inspect_secret(&self, name: &str) -> Result<Secret>;
    async fn create_secret(&self, spec: SecretSpec) -> Result<String>;
    async fn update_secret(&self, name: &str, update: SecretUpdate) -> Result<()>;
    async fn remove_secret(&self, name: &str) -> Result<()>;
    async fn rotate_secret_key(&self) -> Result<usize>;
    async fn list_configs(&self) -> Result<Vec<Config>>;
    async fn inspect_config(&self, name: &str) -> Result<Config>;
    async fn create_config(&self, spec: SecretSpec) -> Result<String>;
    async fn update_config(&self, name: &str, update: SecretUpdate) -> Result<()>;
    async fn remove_config(&self, name: &str) -> Result<()>;

    async fn list_kernels(&self) -> Result<Vec<Kernel>>;
    async fn inspect_kernel(&self, name: &str) -> Result<Kernel>;
    async fn install_kernel(&self, spec: KernelSpec) -> Result<Kernel>;
    async fn set_default_kernel(&self, name: &str) -> Result<()>;
    async fn remove_kernel(&self, name: &str) -> Result<()>;
}
