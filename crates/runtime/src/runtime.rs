//! The trait itself.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::archive::{ExtractOptions, PathArchive, PathStat};
use crate::capability::Capabilities;
use crate::container::{
    Change, Changed, Container, Created, ExitStatus, Pruned, RemoveOptions, StopOptions, Top,
    UpdateOptions, WaitCondition,
};
use crate::error::{Result, RuntimeError};
use crate::event::EventBus;
use crate::exec::{Exec, ExecSpec, StartExec};
use crate::filter::Filters;
use crate::image::{
    CommitRequest, Distribution, HistoryEntry, Image, ImageRemoval, ImportRequest, LoginStatus,
    Progress, PrunedImages, PullRequest, PushRequest, RegistryAuth, RemoveImageOptions,
};
use crate::io::{AttachOptions, Attached, BoxStream, ByteStream, LogOptions, Logs, TerminalSize};
use crate::kernel::{Kernel, KernelSpec};
use crate::network::{ConnectRequest, Network, NetworkSpec};
use crate::secret::{Config, Secret, SecretSpec, SecretUpdate};
use crate::spec::ContainerSpec;
use crate::stats::Stats;
use crate::system::{DiskUsage, Info, Version};
use crate::volume::{Volume, VolumeSpec};

/// Something that runs containers.
///
/// `name` arguments take what users type: a full id, a name (with or without a leading slash), or a
/// prefix of an id that fits only one. A name that fits nothing is
/// [`NotFound`](RuntimeError::NotFound), one that fits several ids
/// [`InvalidArgument`](RuntimeError::InvalidArgument).
///
/// All methods may be called at any time, concurrently, for one container too: a conformer orders
/// them. What the [`Capabilities`] leave out answers [`NotSupported`](RuntimeError::NotSupported).
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// What this runtime can do. Constant for its life.
    fn capabilities(&self) -> Capabilities;

    /// The bus that all of this runtime's events are published on.
    fn events(&self) -> &EventBus;

    /// What runs.
    async fn version(&self) -> Result<Version>;

    /// The host, and counts of what there is.
    async fn info(&self) -> Result<Info>;

    /// Bytes on disk, by object.
    async fn disk_usage(&self) -> Result<DiskUsage>;

    // Containers: life.

    /// Every container there is, newest first; with `size`, their sizes too (slower).
    async fn list_containers(&self, size: bool) -> Result<Vec<Container>>;

    /// One container; with `size`, its sizes too.
    async fn inspect_container(&self, name: &str, size: bool) -> Result<Container>;

    /// Makes a container and does not start it. Event `create`.
    ///
    /// Errors: [`ImageNotFound`](RuntimeError::ImageNotFound), a taken name is
    /// [`AlreadyExists`](RuntimeError::AlreadyExists) with Docker's text, an option that is not
    /// honoured [`InvalidArgument`](RuntimeError::InvalidArgument) with its name. On any error
    /// nothing is left behind.
    async fn create_container(&self, spec: ContainerSpec) -> Result<Created>;

    /// Starts a container; `false` where it runs already. Event `start`.
    ///
    /// Returns when the command's `execve` has succeeded. Where it fails, the container's exit code
    /// is 127 (not found) or 126 (not executable), the error is
    /// [`InvalidArgument`](RuntimeError::InvalidArgument) with Docker's text, and its state is as it
    /// was before. A paused container is [`InvalidState`](RuntimeError::InvalidState).
    async fn start_container(&self, name: &str) -> Result<Changed>;

    /// Asks the process to stop, kills it after the time-out, and returns when it has ended;
    /// `false` where it was not running. Cancels its restart policy until the next start. Events
    /// `kill`, `die`, `stop`.
    async fn stop_container(&self, name: &str, options: StopOptions) -> Result<Changed>;

    /// Stops where running, then starts. Event `restart` after those of both.
    async fn restart_container(&self, name: &str, options: StopOptions) -> Result<()>;

    /// Sends a signal, by name (`KILL`, `SIGTERM`) or number. [`InvalidState`](RuntimeError::InvalidState)
    /// where it does not run. Event `kill`.
    async fn kill_container(&self, name: &str, signal: &str) -> Result<()>;

    /// Freezes all processes. [`InvalidState`](RuntimeError::InvalidState) where it is not running or
    /// is paused already. Event `pause`.
    async fn pause_container(&self, name: &str) -> Result<()>;

    /// Thaws. [`InvalidState`](RuntimeError::InvalidState) where it is not paused. Event `unpause`.
    async fn unpause_container(&self, name: &str) -> Result<()>;

    /// Begins to wait: by the time this returns the wait is registered, so that no later exit can be
    /// missed; the future it gives resolves with the exit status.
    async fn wait_container(
        &self,
        name: &str,
        condition: WaitCondition,
    ) -> Result<BoxFuture<'static, Result<ExitStatus>>>;

    /// Gives it another name. Event `rename`.
    async fn rename_container(&self, name: &str, new_name: &str) -> Result<()>;

    /// Changes resources and restart policy, at once where it runs; gives warnings. Event `update`.
    async fn update_container(&self, name: &str, options: UpdateOptions) -> Result<Vec<String>>;

    /// Removes it; running ones only with `force`, else
    /// [`InvalidState`](RuntimeError::InvalidState). Event `destroy`.
    async fn remove_container(&self, name: &str, options: RemoveOptions) -> Result<()>;

    /// Removes every stopped container that fits (`until`, `label`, `label!`). Event `prune`.
    async fn prune_containers(&self, filters: &Filters) -> Result<Pruned>;

    // Containers: processes and streams.

    /// Connects to a container's process. May come before the start: then everything it writes is seen.
    async fn attach_container(&self, name: &str, options: AttachOptions) -> Result<Attached>;

    /// A client has left its process by the keys that detach; the process goes on. Event `detach`.
    async fn detach_container(&self, name: &str) -> Result<()>;

    /// Sets the terminal's size.
    async fn resize_container(&self, name: &str, size: TerminalSize) -> Result<()>;

    /// Reads the log.
    async fn container_logs(&self, name: &str, options: LogOptions) -> Result<Logs>;

    /// Its processes, as `ps` with these arguments (empty means `-ef`) prints them.
    async fn container_top(&self, name: &str, ps_args: &str) -> Result<Top>;

    /// Its use of the host: once, or every second with `stream`, until it is removed. A container
    /// that is not running gives readings of zero.
    async fn container_stats(&self, name: &str, stream: bool) -> Result<BoxStream<Stats>>;

    /// How its files differ from its image's, sorted by path.
    async fn container_changes(&self, name: &str) -> Result<Vec<Change>>;

    /// Prepares a further process in a running container; gives its id. Event `exec_create`.
    async fn create_exec(&self, container: &str, spec: ExecSpec) -> Result<String>;

    /// Starts it; gives its streams unless detached. Event `exec_start`, and `exec_die` at its end.
    async fn start_exec(&self, id: &str, start: StartExec) -> Result<Option<Attached>>;

    /// How it stands.
    async fn inspect_exec(&self, id: &str) -> Result<Exec>;

    /// A client has left it by the keys that detach; it goes on. Event `exec_detach`.
    async fn detach_exec(&self, id: &str) -> Result<()>;

    /// Sets its terminal's size.
    async fn resize_exec(&self, id: &str, size: TerminalSize) -> Result<()>;

    // Containers: files.

    /// What a path inside is. Running or not.
    async fn stat_path(&self, name: &str, path: &str) -> Result<PathStat>;

    /// A path inside, as a tar.
    async fn read_path(&self, name: &str, path: &str) -> Result<PathArchive>;

    /// Extracts a tar (plain or compressed) into a directory inside.
    async fn write_path(
        &self,
        name: &str,
        path: &str,
        options: ExtractOptions,
        tar: ByteStream,
    ) -> Result<()>;

    /// The whole root file system as a tar. Event `export`.
    async fn export_container(&self, name: &str) -> Result<ByteStream>;

    /// Makes an image of it; gives the image's id. Event `commit`.
    async fn commit_container(&self, request: CommitRequest) -> Result<String>;

    // Images.

    /// Every image there is, untagged ones too; with `shared_size`, what they share.
    async fn list_images(&self, shared_size: bool) -> Result<Vec<Image>>;

    /// One image, by name, name and digest, or (a prefix of) its id.
    async fn inspect_image(&self, name: &str) -> Result<Image>;

    /// Its history, newest step first.
    async fn image_history(&self, name: &str) -> Result<Vec<HistoryEntry>>;

    /// Puts a name on an image, taking it off any other. Event `tag`.
    async fn tag_image(&self, source: &str, target: &str) -> Result<()>;

    /// Takes a name off, and deletes what then has none. Events `untag`, `delete`.
    async fn remove_image(
        &self,
        name: &str,
        options: RemoveImageOptions,
    ) -> Result<Vec<ImageRemoval>>;

    /// Deletes unused images that fit (`dangling` (default true), `until`, `label`, `label!`).
    async fn prune_images(&self, filters: &Filters) -> Result<PrunedImages>;

    /// Pulls. Errors that come before any work come as the call's own; later ones end the stream.
    /// Event `pull`.
    async fn pull_image(&self, request: PullRequest) -> Result<BoxStream<Progress>>;

    /// Pushes. Event `push`.
    async fn push_image(&self, request: PushRequest) -> Result<BoxStream<Progress>>;

    /// Images with their names as a tar that is an OCI layout and a Docker archive at once.
    async fn save_images(&self, names: &[String]) -> Result<ByteStream>;

    /// Loads such a tar, or either kind alone, plain or compressed. Event `load`.
    async fn load_images(&self, tar: ByteStream) -> Result<BoxStream<Progress>>;

    /// Makes an image of a root file system; gives its id. Event `import`.
    async fn import_image(&self, request: ImportRequest) -> Result<String>;

    /// What the registry has under a name, without pulling it.
    async fn inspect_distribution(
        &self,
        name: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<Distribution>;

    /// Checks credentials with their registry.
    async fn registry_login(&self, auth: RegistryAuth) -> Result<LoginStatus>;

    /// Builds an image from a context tar.
    async fn build_image(
        &self,
        _context: ByteStream,
        _options: Bytes,
    ) -> Result<BoxStream<Progress>> {
        Err(RuntimeError::NotSupported("build".into()))
    }

    // Networks.

    /// Every network there is.
    async fn list_networks(&self) -> Result<Vec<Network>>;

    /// One network, by name or (a prefix of) its id.
    async fn inspect_network(&self, name: &str) -> Result<Network>;

    /// Makes one; gives its id. Event `create`.
    async fn create_network(&self, _spec: NetworkSpec) -> Result<String> {
        Err(RuntimeError::NotSupported("network create".into()))
    }

    /// Removes one that nothing uses. Event `destroy`.
    async fn remove_network(&self, _name: &str) -> Result<()> {
        Err(RuntimeError::NotSupported("network remove".into()))
    }

    /// Puts a container on a network. Event `connect`.
    async fn connect_network(&self, _network: &str, _request: ConnectRequest) -> Result<()> {
        Err(RuntimeError::NotSupported("network connect".into()))
    }

    /// Takes it off. Event `disconnect`.
    async fn disconnect_network(
        &self,
        _network: &str,
        _container: &str,
        _force: bool,
    ) -> Result<()> {
        Err(RuntimeError::NotSupported("network disconnect".into()))
    }

    /// Removes every user-defined network that nothing uses and that fits.
    async fn prune_networks(&self, _filters: &Filters) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    // Volumes.

    /// Every volume there is.
    async fn list_volumes(&self) -> Result<Vec<Volume>>;

    /// One volume.
    async fn inspect_volume(&self, name: &str) -> Result<Volume>;

    /// Makes one, or gives the one of that name. Event `create`.
    async fn create_volume(&self, spec: VolumeSpec) -> Result<Volume>;

    /// Removes one that no container uses; one that is not there is an error unless `force`. Event `destroy`.
    async fn remove_volume(&self, name: &str, force: bool) -> Result<()>;

    /// Removes unused anonymous volumes (all with filter `all=true`) that fit. Event `prune`.
    async fn prune_volumes(&self, filters: &Filters) -> Result<Pruned>;

    // Secrets and configs.

    /// Every secret there is; values never.
    async fn list_secrets(&self) -> Result<Vec<Secret>> {
        Err(RuntimeError::NotSupported("secret list".into()))
    }

    /// One secret, by id, name, or a prefix of its id that fits only one.
    async fn inspect_secret(&self, _name: &str) -> Result<Secret> {
        Err(RuntimeError::NotSupported("secret inspect".into()))
    }

    /// Keeps a value under a new name; gives its id. Containers get it by their
    /// [references](crate::spec::HostConfig::secrets), at each start. Event `create`.
    ///
    /// Errors: a taken name is [`AlreadyExists`](RuntimeError::AlreadyExists); names that Docker
    /// refuses, an empty value and one of 500 KiB or more are
    /// [`InvalidArgument`](RuntimeError::InvalidArgument).
    async fn create_secret(&self, _spec: SecretSpec) -> Result<String> {
        Err(RuntimeError::NotSupported("secret create".into()))
    }

    /// Changes its labels. [`InvalidArgument`](RuntimeError::InvalidArgument) where it has another
    /// version by now. Event `update`.
    async fn update_secret(&self, _name: &str, _update: SecretUpdate) -> Result<()> {
        Err(RuntimeError::NotSupported("secret update".into()))
    }

    /// Removes it. [`InvalidArgument`](RuntimeError::InvalidArgument), as Docker has it, while a
    /// container refers to it. Event `remove`.
    async fn remove_secret(&self, _name: &str) -> Result<()> {
        Err(RuntimeError::NotSupported("secret remove".into()))
    }

    /// Encrypts all secrets and configs under a new key, and destroys the old one; gives how many
    /// there were. Cut short anywhere, it is finished later, and nothing is lost.
    async fn rotate_secret_key(&self) -> Result<usize> {
        Err(RuntimeError::NotSupported("secret key rotation".into()))
    }

    /// Every config there is, with its value.
    async fn list_configs(&self) -> Result<Vec<Config>> {
        Err(RuntimeError::NotSupported("config list".into()))
    }

    /// One config, found as a secret is.
    async fn inspect_config(&self, _name: &str) -> Result<Config> {
        Err(RuntimeError::NotSupported("config inspect".into()))
    }

    /// As [`create_secret`](Self::create_secret), for values below 1,024,000 bytes that may be shown.
    async fn create_config(&self, _spec: SecretSpec) -> Result<String> {
        Err(RuntimeError::NotSupported("config create".into()))
    }

    /// As [`update_secret`](Self::update_secret).
    async fn update_config(&self, _name: &str, _update: SecretUpdate) -> Result<()> {
        Err(RuntimeError::NotSupported("config update".into()))
    }

    /// As [`remove_secret`](Self::remove_secret).
    async fn remove_config(&self, _name: &str) -> Result<()> {
        Err(RuntimeError::NotSupported("config remove".into()))
    }

    // Guest kernels.

    /// Every guest kernel there is, by name.
    async fn list_kernels(&self) -> Result<Vec<Kernel>> {
        Err(RuntimeError::NotSupported("kernel list".into()))
    }

    /// One guest kernel; `default` is the default one.
    async fn inspect_kernel(&self, _name: &str) -> Result<Kernel> {
        Err(RuntimeError::NotSupported("kernel inspect".into()))
    }

    /// Installs one from the runtime's host; the first becomes the default. What can't serve a guest
    /// is [`InvalidArgument`](RuntimeError::InvalidArgument), and nothing is left of it.
    async fn install_kernel(&self, _spec: KernelSpec) -> Result<Kernel> {
        Err(RuntimeError::NotSupported("kernel install".into()))
    }

    /// Chooses what machines boot that name no kernel.
    async fn set_default_kernel(&self, _name: &str) -> Result<()> {
        Err(RuntimeError::NotSupported("kernel set".into()))
    }

    /// Removes one. The default is [`InvalidState`](RuntimeError::InvalidState) while there are others.
    async fn remove_kernel(&self, _name: &str) -> Result<()> {
        Err(RuntimeError::NotSupported("kernel remove".into()))
    }
}
