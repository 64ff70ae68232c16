//! Directories and files of the host.

use coracle_guest::{Channel, Share};

use crate::error::{During, Result};
use crate::machine::absolute;
use crate::mounts::make_target;

/// Mounts one, and carries its requests to the host until it is unmounted.
pub(crate) fn share(share: &Share, channel: Channel) -> Result<()> {
    let target = absolute(&share.target)?;
    make_target(target, !share.is_dir)?;
    let fuse = coracle_share::mount(target, share.is_dir, share.read_only)
        .during(|| format!("mount the share at {}", share.target))?;
    let name = share.target.clone();
    tokio::spawn(async move {
        if let Err(error) = coracle_share::relay(fuse, channel).await {
            crate::complain(&format!("the share at {name}: {error}"));
        }
    });
    Ok(())
}
