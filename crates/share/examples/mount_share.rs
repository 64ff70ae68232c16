//! Mounts a directory or file of this host on another, through relay and server, until it is
//! unmounted: `mount_share SOURCE TARGET [ro] [recursive] [acl] [cache-in-ms]`. Run it in a mount
//! namespace of its own (`unshare -m`).

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use coracle_share::{ServeOptions, mount, relay, serve};
use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, target, options @ ..] = &arguments[..] else {
        return Err("usage: mount_share SOURCE TARGET [ro] [recursive] [acl] [cache-in-ms]".into());
    };
    let mut serving = ServeOptions::default();
    for option in options {
        match option.as_str() {
            "ro" => serving.read_only = true,
            "recursive" => serving.recursive = true,
            "acl" => serving.acl = true,
            time => serving.cache = Duration::from_millis(time.parse()?),
        }
    }
    let is_dir = Path::new(source).is_dir();
    let source = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let fuse = mount(Path::new(target), is_dir, serving.read_only)?;
    let (host, guest) = std::os::unix::net::UnixStream::pair()?;
    // Each side with a thread of its own, as on either side of a machine.
    let server = std::thread::spawn(move || {
        runtime()?.block_on(async { serve(stream(host)?, source, serving).await })
    });
    runtime()?.block_on(async { relay(fuse, stream(guest)?).await })?;
    server.join().map_err(|_| "the server panicked")??;
    Ok(())
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn stream(stream: std::os::unix::net::UnixStream) -> std::io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}
