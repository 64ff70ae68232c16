//! What a container mounts of this host: directories and files that are shared with the guest or copied
//! into it, unix sockets that are relayed.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use coracle_guest::Channel;
use coracle_guest::File;
use coracle_guest::Listen;
use coracle_guest::Share;
use coracle_share::ServeOptions;
use coracle_task::ErrorKind;
use coracle_task::TaskConfig;
use oci_spec::runtime::Mount;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::ResolveFlags;

use super::Running;
use super::from_guest;
use super::place::Place;
use super::pod;
use super::secrets;
use super::setup::GUEST;
use super::setup::Plan;
use super::setup::own;
use crate::Result;
use crate::SandboxError;

/// The mark of a file system that is mounted by the host.
const BY_HOST: &str = "X-coracle.host";
/// The mark of a mount of a part of its source (`spec`'s way of saying it).
const SUBDIR: &str = "X-mount.subdir=";
/// The most bytes of a file that is copied into the guest.
const MAX_COPY: u64 = 1 << 20;

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

impl Plan {
    /// Mounts a file system for this machine alone, and shares it with the guest.
    pub(super) fn carry_filesystem(&mut self, number: usize, mount: &mut Mount) -> Result<()> {
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

    pub(super) fn add_secret(&mut self, secret: File) {
        let files = self.setup.files.iter();
        let size: usize = files.map(|file| file.data.len()).sum();
        match size.saturating_add(secret.data.len()) > secrets::SET_UP {
            true => self.secrets.push(secret),
            false => self.setup.files.push(secret),
        }
    }

    /// Brings the source of a bind mount into the guest, and has the mount refer to it there.
    pub(super) fn carry(
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
    pub(super) fn copy_for_members(
        &mut self,
        config: &TaskConfig,
        copies: &[PathBuf],
    ) -> Result<()> {
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

/// Where a file that is copied into the guest is, for the owner of the machine and all who join it.
fn copied(owner: &str, source: &Path) -> String {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    format!("{}/files/{name}", own(owner))
}

fn options(mount: &Mount) -> impl Iterator<Item = &str> {
    mount.options().iter().flatten().map(String::as_str)
}

pub(super) fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind")
        || options(mount).any(|option| matches!(option, "bind" | "rbind"))
}

/// A file system that the guest can't mount by itself.
pub(super) fn is_by_host(mount: &Mount) -> bool {
    options(mount).any(|option| option == BY_HOST)
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
