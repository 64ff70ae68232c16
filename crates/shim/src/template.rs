//! Makes a template of virtual machines: it takes as long as a boot, and the engine waits for nobody.

use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use coracle_task::MachineConfig;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// The longest description that is read.
const MAX_CONFIG: u64 = 1 << 20;

/// Makes the template that the file describes, or leaves the one that is there. Gives up when standard
/// input ends, if that is a pipe: whoever wants the template holds the other end.
pub(crate) fn make(file: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    File::open(file)?.take(MAX_CONFIG).read_to_end(&mut text)?;
    // What says that there is one, until that is certain again.
    let key = file.with_extension("key");
    match std::fs::remove_file(&key) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let config: MachineConfig = serde_json::from_slice(&text)?;
    let templates = config
        .templates
        .clone()
        .ok_or_else(|| io::Error::other("the description names no place for templates"))?;
    let made = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            tokio::select! {
                made = coracle_sandbox::make_template(&config, &templates) => {
                    made.map_err(io::Error::other)
                }
                () = nobody_wants_it() => Err(io::Error::other("nobody wants it any more")),
            }
        })?;
    std::fs::write(&key, made)
}

/// Returns when standard input has ended. What is no pipe doesn't, as that of a daemon of an older version.
async fn nobody_wants_it() {
    let input = io::stdin().as_fd().try_clone_to_owned();
    let Ok(mut input) = input.and_then(pipe::Receiver::from_owned_fd) else {
        return std::future::pending().await;
    };
    while matches!(input.read(&mut [0]).await, Ok(1..)) {}
}
