//! Unix sockets of containers at paths of this host: made before the shim, which serves and removes them.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use coracle_runtime::{Result, RuntimeError};
use coracle_task::PublishedSocket;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::record::{Dirs, Record};
use crate::durable::{self, Durability};

/// How many connections may wait.
const BACKLOG: i32 = 128;

/// Where it is kept which they are, for whoever removes them after the shim was killed.
fn list(dirs: &Dirs) -> PathBuf {
    dirs.root.join("sockets.json")
}

/// Makes a container's published sockets; `first` is the number of the first descriptor.
///
/// # Errors
/// If there is something at their path already, or they can't be made. None is left then.
pub(super) fn publish(
    record: &Record,
    dirs: &Dirs,
    first: usize,
) -> Result<(Vec<PublishedSocket>, Vec<OwnedFd>)> {
    retract(dirs);
    let wanted = coracle_spec::published_sockets(&record.host_config)?;
    let (mut published, mut descriptors) = (Vec::new(), Vec::new());
    for (fd_index, socket) in (first..).zip(wanted) {
        let made = bind(&socket.host).and_then(|(descriptor, identity)| {
            descriptors.push(descriptor);
            published.push(PublishedSocket {
                fd_index,
                host: socket.host.clone(),
                identity,
                container: socket.container,
            });
            // Known before the next one is made: whoever comes after a crash removes it.
            durable::write_json(&list(dirs), &published, Durability::Process)
        });
        if let Err(error) = made {
            for socket in &published {
                remove(socket);
            }
            return Err(refused(&socket.host, &error));
        }
    }
    Ok((published, descriptors))
}

fn refused(path: &Path, error: &io::Error) -> RuntimeError {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::AddrInUse => RuntimeError::AlreadyExists(format!(
            "cannot publish a socket at {path}: there is a file already; remove it, or choose another path"
        )),
        io::ErrorKind::NotFound => RuntimeError::InvalidArgument(format!(
            "cannot publish a socket at {path}: its directory does not exist"
        )),
        _ => RuntimeError::InvalidArgument(format!("cannot publish a socket at {path}: {error}")),
    }
}

/// A socket for the owner of its directory, and for nobody else. Its file's device and inode.
fn bind(path: &Path) -> io::Result<(OwnedFd, (u64, u64))> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let owner = fs::metadata(directory)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Nobody can connect before it listens.
    let ready = || {
        let made = fs::symlink_metadata(path)?;
        if (made.uid(), made.gid()) != (owner.uid(), owner.gid()) {
            match chown(path, Some(owner.uid()), Some(owner.gid())) {
                // An owner whom this user's namespace doesn't have.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                changed => changed?,
            }
        }
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok::<_, io::Error>((made.dev(), made.ino()))
    };
    match ready() {
        Ok(identity) => Ok((socket, identity)),
        Err(error) => {
            let _the_first_error_counts = fs::remove_file(path);
            Err(error)
        }
    }
}

/// Removes those of the last run, if its shim didn't.
pub(super) fn retract(dirs: &Dirs) {
    let path = list(dirs);
    let found = durable::read_json::<Vec<PublishedSocket>>(&path);
    match found {
        Ok(None) => return,
        Ok(Some(sockets)) => sockets.iter().for_each(remove),
        Err(error) => tracing::warn!(%error, "cannot read which sockets were published"),
    }
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(%error, "cannot forget which sockets were published");
    }
}

fn remove(socket: &PublishedSocket) {
    if let Err(error) = socket.remove() {
        tracing::warn!(path = %socket.host.display(), %error, "cannot remove a published socket");
    }
}
