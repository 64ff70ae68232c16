//! Mounts a directory or file of this host on another, through relay and server, until it is
//! unmounted: `mount_share SOURCE TARGET [ro] [recursive] [acl] [cache-in-ms]`. Run it in a mount
//! namespace of its own (`unshare -m`).

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use coracle_share::{ServeOptions, mount, relay, serve};
use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (host, guest) = UnixStream::pair()?;
        let server = tokio::spawn(serve(host, source, serving));
        relay(mount(Path::new(target), is_dir, serving.read_only)?, guest).await?;
        server.await??;
        Ok(())
    })
}
