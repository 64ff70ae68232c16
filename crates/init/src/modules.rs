//! Kernel modules of the initial RAM disk.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Loads what `<dir>/order` names, in its order; nothing where there is none. What the kernel has
/// already, or has no device for, is passed over.
pub(crate) fn load(dir: &Path) -> io::Result<()> {
    let order = match fs::read_to_string(dir.join("order")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        order => order?,
    };
    for name in order.lines().filter(|name| !name.is_empty()) {
        let file = File::open(dir.join(name))?;
        match rustix::system::finit_module(&file, c"", 0) {
            Ok(()) | Err(Errno::EXIST | Errno::NODEV) => {}
            Err(errno) => crate::complain(&format!("cannot load the module {name}: {errno}")),
        }
    }
    Ok(())
}
