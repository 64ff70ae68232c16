//! The daemon, and the host it runs on.

use std::collections::BTreeMap;

use coracle_runtime::system as domain;

use crate::wire::answer;

answer! {
    /// What runs.
    pub struct Version {
        /// The product's name.
        product: String,
        /// Its version.
        version: String,
        /// Source revision, where known.
        revision: String,
        /// This API's version.
        api_version: String,
        /// Kernel release.
        kernel: String,
        /// Operating system, in Go's words.
        os: String,
        /// Architecture, in Go's words.
        architecture: String,
    }

    /// The host and the daemon's state.
    pub struct Info {
        /// A stable identity of this installation.
        id: String,
        /// Host name.
        name: String,
        /// Containers by state.
        containers: ContainerCounts,
        /// Images.
        images: u64,
        /// Storage driver.
        storage_driver: String,
        /// Where everything is kept.
        data_root: String,
        /// Kernel release.
        kernel: String,
        /// The distribution's name.
        operating_system: String,
        /// The distribution's version.
        os_version: String,
        /// `uname -m`.
        architecture: String,
        /// Processors.
        cpus: u64,
        /// Bytes of memory.
        memory: u64,
        /// `1` or `2`.
        cgroup_version: String,
        /// The default log driver.
        log_driver: String,
        /// Isolation kinds there are, with what runs them.
        runtimes: BTreeMap<String, String>,
        /// The default one.
        default_runtime: String,
        /// What confines containers.
        security_options: Vec<String>,
        /// The daemon's labels.
        labels: Vec<String>,
        /// What the user should know.
        warnings: Vec<String>,
    }

    /// Containers by state.
    pub struct ContainerCounts {
        /// All.
        total: u64,
        /// Running.
        running: u64,
        /// Paused.
        paused: u64,
        /// Stopped.
        stopped: u64,
    }

    /// What this daemon can do. What is `false` answers 501.
    pub struct Capabilities {
        /// Pause and unpause.
        pause: bool,
        /// Further processes.
        exec: bool,
        /// Attach.
        attach: bool,
        /// Statistics.
        stats: bool,
        /// Process lists.
        top: bool,
        /// Changing resources of a container.
        update: bool,
        /// Files in and out.
        archive: bool,
        /// Changes and commit.
        commit: bool,
        /// Pull and push.
        registry: bool,
        /// Save, load and import of images.
        image_archive: bool,
        /// Building images.
        build: bool,
        /// User-defined networks.
        networks: bool,
        /// Volumes.
        volumes: bool,
        /// Secrets and configs.
        secrets: bool,
        /// Health checks.
        health: bool,
        /// Guest kernels.
        kernels: bool,
        /// Containers in virtual machines.
        vm: bool,
    }

    /// That the daemon answers.
    pub struct Health {
        /// `ok`.
        status: String,
        /// Seconds since it began to serve.
        uptime_seconds: u64,
    }

    /// Bytes on disk.
    pub struct DiskUsage {
        /// All layers, each counted once.
        layers: u64,
        /// What containers have written.
        containers: u64,
        /// Volumes.
        volumes: u64,
        /// Templates of virtual machines.
        templates: u64,
        /// Images as disks of virtual machines: these bytes are among those of `layers`.
        root_disks: u64,
    }
}

impl From<domain::Version> for Version {
    fn from(version: domain::Version) -> Self {
        Self {
            product: version.product,
            version: version.version,
            revision: version.revision,
            api_version: "1".to_owned(),
            kernel: version.kernel,
            os: version.os,
            architecture: version.arch,
        }
    }
}

impl From<domain::Info> for Info {
    fn from(info: domain::Info) -> Self {
        Self {
            id: info.id,
            name: info.name,
            containers: ContainerCounts {
                total: info.containers,
                running: info.running,
                paused: info.paused,
                stopped: info.stopped,
            },
            images: info.images,
            storage_driver: info.storage_driver,
            data_root: info.root,
            kernel: info.kernel,
            operating_system: info.operating_system,
            os_version: info.os_version,
            architecture: info.architecture,
            cpus: info.cpus,
            memory: info.memory,
            cgroup_version: info.cgroup_version,
            log_driver: info.log_driver,
            runtimes: info.runtimes,
            default_runtime: info.default_runtime,
            security_options: info.security_options,
            labels: info.labels,
            warnings: info.warnings,
        }
    }
}

impl From<coracle_runtime::Capabilities> for Capabilities {
    fn from(can: coracle_runtime::Capabilities) -> Self {
        Self {
            pause: can.pause,
            exec: can.exec,
            attach: can.attach,
            stats: can.stats,
            top: can.top,
            update: can.update,
            archive: can.archive,
            commit: can.commit,
            registry: can.registry,
            image_archive: can.image_archive,
            build: can.build,
            networks: can.networks,
            volumes: can.volumes,
            secrets: can.secrets,
            health: can.health,
            kernels: can.kernels,
            vm: can.vm,
        }
    }
}

impl From<&domain::DiskUsage> for DiskUsage {
    fn from(usage: &domain::DiskUsage) -> Self {
        let containers = usage.containers.iter().filter_map(|one| one.size_rw);
        let volumes = usage.volumes.iter().filter_map(|one| one.size);
        Self {
            layers: usage.layers_size,
            containers: containers.sum(),
            volumes: volumes.sum(),
            templates: usage.templates.iter().map(|one| one.size).sum(),
            root_disks: usage.root_disks.iter().map(|one| one.size).sum(),
        }
    }
}
