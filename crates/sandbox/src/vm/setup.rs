//! What the guest is told before its container starts: which disks, interfaces, shares and files.
//! The container's configuration is rewritten for the guest, where paths of this host mean nothing.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use coracle_guest::Channel;
use coracle_guest::File;
use coracle_guest::Interface;
use coracle_guest::Listen;
use coracle_guest::Root;
use coracle_guest::Setup;
use coracle_guest::Share;
use coracle_guest::Time;
use coracle_network::tap;
use coracle_share::ServeOptions;
use coracle_task::ErrorKind;
use coracle_task::MachineConfig;
use coracle_task::MachineInterface;
use coracle_task::Rootfs;
use coracle_task::TaskConfig;
use coracle_vmm::Nic;
use oci_spec::runtime::Mount;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;

use super::Running;
use super::from_guest;
use super::from_vmm;
use super::place::Place;
use super::pod;
use super::secrets;
use crate::Result;
use crate::SandboxError;

/// The guest's directory for what belongs to containers.
pub(crate) const GUEST: &str = "/run/coracle";
/// The mark of a file system that is mounted by the host.
const BY_HOST: &str = "X-coracle.host";
/// The mark of a mount of a part of its source (`spec`'s way of saying it).
const SUBDIR: &str = "X-mount.subdir=";
/// The most bytes of a file that is copied into the guest.
const MAX_COPY: u64 = 1 << 20;

/// All that is done to make a machine ready.
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    /// What is served on the channels of `setup.shares`, in their order.
    pub(crate) shares: Vec<Source>,
    pub(crate) sockets: Vec<Socket>,
    /// Secrets that were too large to go with the set-up.
    pub(crate) secrets: Vec<File>,
    /// Files that are copied, and where to in the guest.
    pub(crate) copies: Vec<(PathBuf, String)>,
    /// The interfaces that the machine has from its start.
    pub(crate) interfaces: Vec<MachineInterface>,
    /// The container, as the guest is to make it.
    pub(crate) config: TaskConfig,
}

/// A directory or file of this host that the guest sees.
pub(crate) struct Source {
    file: OwnedFd,
    options: ServeOptions,
}

/// A unix socket of this host that the guest reaches by one of its own.
pub(crate) struct Socket {
    pub(crate) listen: Listen,
    pub(crate) path: PathBuf,
}

/// Serves a share for as long as the guest is there.
pub(crate) async fn serve(source: Source, channel: Channel) {
    // It ends with the guest, and nobody is left to be told.
    let _ = coracle_share::serve(channel, source.file, source.options).await;
}

/// Works out what to do. `whole`: with everything that the container sees, else its disks alone.
pub(crate) fn plan(
    config: &TaskConfig,
    machine: &MachineConfig,
    place: &Place,
    whole: bool,
    handed: Option<&OwnedFd>,
) -> Result<Plan> {
    let mut setup = match place.is_member {
        true => Setup::default(),
        false => identity(config).map_err(|error| {
            SandboxError::internal(format!("cannot read random numbers: {error}"))
        })?,
    };
    setup.roots.push(Root {
        container: config.id.clone(),
        image: place.image.clone(),
        layer: Some(place.layer.clone()),
        journal: machine.journal.clone(),
    });
    let mut plan = Plan {
        setup,
        shares: Vec::new(),
        sockets: Vec::new(),
        copies: Vec::new(),
        secrets: Vec::new(),
        interfaces: Vec::new(),
        config: guest_config(config),
    };
    if !whole {
        return Ok(plan);
    }
    plan.setup.interfaces = machine
        .interfaces
        .iter()
        .map(interface)
        .collect::<Result<_>>()?;
    plan.interfaces.clone_from(&machine.interfaces);
    let mut mounts = plan.config.spec.mounts().clone().unwrap_or_default();
    for (number, mount) in mounts.iter_mut().enumerate() {
        if let Some(name) = secrets::name(mount) {
            let secret = secrets::carry(handed, &name, &own(&config.id), number, mount).map_err(
                |error| {
                    let at = mount.destination().display();
                    SandboxError::internal(format!("cannot mount the secret at {at}: {error}"))
                },
            )?;
            plan.add_secret(secret);
        } else if is_by_host(mount) {
            plan.carry_filesystem(number, mount)?;
        } else if is_bind(mount) {
            plan.carry(number, mount, &machine.copies, place)?;
        }
    }
    if !place.is_member {
        plan.copy_for_members(config, &machine.copies)?;
    }
    plan.config.spec.set_mounts(Some(mounts));
    Ok(plan)
}

/// What every machine needs: an identity of its own.
fn identity(config: &TaskConfig) -> io::Result<Setup> {
    let machine_id = random::<16>()?;
    let machine_id = machine_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Setup {
        entropy: random::<64>()?.to_vec(),
        time: Some(now()),
        hostname: config.spec.hostname().clone(),
        machine_id: Some(machine_id),
        ..Default::default()
    })
}

/// This host's time.
pub(super) fn now() -> Time {
    let now = jiff::Timestamp::now();
    Time {
        seconds: now.as_second(),
        nanos: u32::try_from(now.subsec_nanosecond()).unwrap_or_default(),
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

fn guest_config(config: &TaskConfig) -> TaskConfig {
    let own = PathBuf::from(own(&config.id));
    TaskConfig {
        rootfs: Rootfs::Overlay {
            lower: vec![own.join("image")],
            upper: own.join("layer/upper"),
            work: own.join("layer/work"),
        },
        cgroup_parent: "/coracle".into(),
        cgroup_name: config.id.clone(),
        // The whole disk is written when the machine ends.
        durable: false,
        ports: Vec::new(),
        published: Vec::new(),
        sockets: 0,
        machine: None,
        ..config.clone()
    }
}

/// Makes a machine's interfaces these; `now` is kept to what it has.
pub(crate) async fn set_interfaces(
    running: &Running,
    now: &mut Vec<MachineInterface>,
    wanted: &[MachineInterface],
) -> Result<()> {
    let of = |list: &[MachineInterface], mac: &str| {
        let found = list.iter().find(|interface| interface.mac == mac);
        found.cloned()
    };
    for old in now.clone() {
        match of(wanted, &old.mac) {
            Some(same) if same == old => continue,
            kept => {
                let unset = running.agent.unset_interface(&interface(&old)?).await;
                unset.map_err(from_guest)?;
                if kept.is_none() {
                    let mac = old.mac.parse().map_err(from_vmm)?;
                    running.machine.remove_nic(mac).await.map_err(from_vmm)?;
                }
                now.retain(|interface| interface.mac != old.mac || kept.is_some());
            }
        }
    }
    for new in wanted {
        let known = of(now, &new.mac);
        if known.as_ref() == Some(new) {
            continue;
        }
        if known.is_none() {
            let tap =
                tap::open(&new.tap).map_err(|error| SandboxError::internal(error.to_string()))?;
            let mac = new.mac.parse().map_err(from_vmm)?;
            let plugged = running.machine.add_nic(Nic { tap, mac }).await;
            plugged.map_err(from_vmm)?;
            now.push(new.clone());
        }
        let set = running.agent.set_interface(&interface(new)?).await;
        set.map_err(from_guest)?;
        if let Some(place) = now.iter_mut().find(|interface| interface.mac == new.mac) {
            *place = new.clone();
        }
    }
    Ok(())
}

/// Copies again what was copied into the guest.
pub(crate) async fn renew(running: &Running) -> Result<()> {
    for (source, target) in running.copies.iter() {
        let file = copy(source, target).map_err(|error| {
            SandboxError::internal(format!("cannot copy {}: {error}", source.display()))
        })?;
        running.agent.write_file(&file).await.map_err(from_guest)?;
    }
    Ok(())
}

fn interface(given: &MachineInterface) -> Result<Interface> {
    let mac: coracle_vmm::MacAddr = given.mac.parse().map_err(from_vmm)?;
    Ok(Interface {
        mac: mac.0,
        name: given.name.clone(),
        mtu: given.mtu,
        addresses: given.addresses.clone(),
        gateways: given.gateway4.into_iter().chain(given.gateway6).collect(),
        routes: Vec::new(),
    })
}

/// A container's directory in the guest.
fn own(id: &str) -> String {
    format!("{GUEST}/{id}")
}

/// Where a file that is copied into the guest is, for the owner of the machine and all who join it.
fn copied(owner: &str, source: &Path) -> String {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/files/{name}", own(owner))
}

fn options(mount: &Mount) -> impl Iterator<Item = &str> {
    mount.options().iter().flatten().map(String::as_str)
}

fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind")
        || options(mount).any(|option| matches!(option, "bind" | "rbind"))
}

/// A file system that the guest can't mount by itself.
fn is_by_host(mount: &Mount) -> bool {
    options(mount).any(|option| option == BY_HOST)
}

impl Plan {
    /// Mounts a file system for this machine alone, and shares it with the guest.
    fn carry_filesystem(&mut self, number: usize, mount: &mut Mount) -> Result<()> {
        let file = coracle_launcher::detached(mount)
            .map_err(|error| SandboxError::new(ErrorKind::InvalidArgument, error.to_string()))?;
        let read_only = options(mount).any(|option| option == "ro");
        let target = format!("{GUEST}/shares/{number}");
        self.setup.shares.push(Share {
            target: target.clone(),
            is_dir: true,
            read_only,
        });
        let mut options = ServeOptions::default();
        options.read_only = read_only;
        self.shares.push(Source { file, options });
        let access = if read_only { "ro" } else { "rw" };
        mount.set_options(Some(vec!["bind".into(), "rprivate".into(), access.into()]));
        mount.set_typ(Some("bind".into()));
        mount.set_source(Some(target.into()));
        Ok(())
    }

    fn add_secret(&mut self, secret: File) {
        let files = self.setup.files.iter();
        let size: usize = files.map(|file| file.data.len()).sum();
        match size.saturating_add(secret.data.len()) > secrets::SET_UP {
            true => self.secrets.push(secret),
            false => self.setup.files.push(secret),
        }
    }

    /// Brings the source of a bind mount into the guest, and has the mount refer to it there.
    fn carry(
        &mut self,
        number: usize,
        mount: &mut Mount,
        copies: &[PathBuf],
        place: &Place,
    ) -> Result<()> {
        let source = mount.source().clone().unwrap_or_default();
        if place.is_member && pod::is_reference(&source) {
            return Ok(());
        }
        let failed = |error: io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::InvalidArgument,
                _ => ErrorKind::Internal,
            };
            let message = format!("cannot mount {}: {error}", source.display());
            SandboxError::new(kind, message)
        };
        if copies.contains(&source) {
            let target = copied(&place.owner, &source);
            mount.set_source(Some(target.clone().into()));
            // What another put there is everybody's.
            if !place.is_member {
                let file = copy(&source, &target).map_err(failed)?;
                self.setup.files.push(file);
                self.copies.push((source, target));
            }
            return Ok(());
        }
        let read_only = options(mount).any(|option| matches!(option, "ro" | "rro"));
        let recursive = options(mount).any(|option| option == "rbind");
        let subdir = options(mount).find_map(|option| option.strip_prefix(SUBDIR));
        let file = open(&source, subdir).map_err(failed)?;
        let metadata = fs::File::from(file.try_clone().map_err(failed)?)
            .metadata()
            .map_err(failed)?;
        let kind = metadata.file_type();
        let target = if kind.is_socket() {
            self.relay(number, &source, &metadata)
        } else if kind.is_dir() || kind.is_file() {
            let target = format!("{}/shares/{number}", own(&self.config.id));
            self.setup.shares.push(Share {
                target: target.clone(),
                is_dir: kind.is_dir(),
                read_only,
            });
            let mut options = ServeOptions::default();
            options.read_only = read_only;
            options.recursive = recursive;
            self.shares.push(Source { file, options });
            target
        } else {
            let message = format!(
                "cannot mount {}: only directories, files and unix sockets can be shared with a \
                 virtual machine",
                source.display()
            );
            return Err(SandboxError::new(ErrorKind::Unsupported, message));
        };
        let kept = options(mount).filter(|option| !option.starts_with(SUBDIR));
        let kept: Vec<String> = kept.map(str::to_owned).collect();
        mount.set_options(Some(kept));
        mount.set_source(Some(target.into()));
        Ok(())
    }

    /// Copies also what the container itself has no use for, as it mounts others there.
    fn copy_for_members(&mut self, config: &TaskConfig, copies: &[PathBuf]) -> Result<()> {
        for source in copies {
            if self.copies.iter().any(|(known, _)| known == source) || !source.exists() {
                continue;
            }
            let target = copied(&config.id, source);
            let file = copy(source, &target).map_err(|error| {
                SandboxError::internal(format!("cannot copy {}: {error}", source.display()))
            })?;
            self.setup.files.push(file);
            self.copies.push((source.clone(), target));
        }
        Ok(())
    }

    /// A socket in the guest whose connections go to one of this host.
    fn relay(&mut self, number: usize, path: &Path, metadata: &fs::Metadata) -> String {
        let target = format!("{}/sockets/{number}", own(&self.config.id));
        self.sockets.push(Socket {
            listen: Listen {
                relay: u32::try_from(number).unwrap_or(u32::MAX),
                path: target.clone(),
                mode: metadata.mode() & 0o777,
                uid: metadata.uid(),
                gid: metadata.gid(),
            },
            path: path.to_owned(),
        });
        target
    }
}

impl Source {
    /// One file of this host, which the guest can only read.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let mut options = ServeOptions::default();
        options.read_only = true;
        let file = open(path, None)?;
        Ok(Self { file, options })
    }
}

/// Opens what is to be shared, without following what is not the host's own.
fn open(source: &Path, subdir: Option<&str>) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let whole = rustix::fs::open(source, flags, Mode::empty())?;
    match subdir {
        None => Ok(whole),
        Some(part) => Ok(rustix::fs::openat2(
            &whole,
            part,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )?),
    }
}

fn copy(source: &Path, target: &str) -> io::Result<File> {
    use std::io::Read;
    let file = fs::File::open(source)?;
    let metadata = file.metadata()?;
    let mut data = Vec::new();
    file.take(MAX_COPY).read_to_end(&mut data)?;
    Ok(File {
        path: target.to_owned(),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        data,
    })
}
