//! What a template does before its copies are made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_guest::Failure;
use coracle_sandbox::{ProcessSandbox, Sandbox, Streams};
use coracle_seccomp::Program;
use coracle_task::{Rootfs, TaskConfig};
use oci_spec::runtime::Capabilities;

use crate::error::{During, Result, sandbox};
use crate::{RUN, disks};

/// By this name as its `argv[0]` the program knows that it is to do nothing.
pub(crate) const NOTHING: &str = "coracle-nothing";

/// The container's name, which no other can have.
const ID: &str = ".warm";

/// Whether that container ran: a copy of a template has it behind it.
static RAN: AtomicBool = AtomicBool::new(false);

/// Finds the disks, and runs a container that does nothing, so that everything on its way is in
/// memory and every thread there. Asked again, it has the next container's helper ready only.
pub(crate) async fn prepare() -> Result<()> {
    if !RAN.load(Ordering::Relaxed) {
        disks::scan()?;
        let dir = Path::new(RUN).join(ID);
        let made = run(&dir).await;
        fs::remove_dir_all(&dir).during(|| "remove the first container")?;
        made?;
        RAN.store(true, Ordering::Relaxed);
    }
    ProcessSandbox::prepare().map_err(sandbox)?;
    rustix::fs::sync();
    Ok(())
}

/// A container as the engine makes them.
fn config(dir: &Path) -> Result<TaskConfig> {
    let mut config: TaskConfig = serde_json::from_str(include_str!("warm.json"))
        .map_err(|error| Failure::internal(error.to_string()))?;
    config.rootfs = Rootfs::Overlay {
        lower: vec![dir.join("lower")],
        upper: dir.join("upper"),
        work: dir.join("work"),
    };
    Ok(config)
}

/// The filter of such a container.
fn filter() -> Option<Program> {
    let profile = coracle_seccomp::default_profile(&Capabilities::default()).ok()?;
    coracle_seccomp::compile(&profile).ok()
}

async fn run(dir: &Path) -> Result<()> {
    let lower = dir.join("lower");
    for part in ["lower/proc", "lower/dev", "lower/sys", "upper", "work"] {
        fs::create_dir_all(dir.join(part)).during(|| "make the first container")?;
    }
    let program = lower.join(NOTHING);
    fs::copy("/proc/self/exe", &program).during(|| "copy the program")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .during(|| "copy the program")?;
    let config = config(dir)?;
    let streams = Streams {
        stdin: false,
        output: true,
    };
    let container = ProcessSandbox::new(&config).with_filter(filter());
    let ended = async {
        container.create(streams).await.map_err(sandbox)?;
        let mut launched = container.start().await.map_err(sandbox)?;
        for output in [launched.stdout.take(), launched.stderr.take()]
            .into_iter()
            .flatten()
        {
            tokio::spawn(crate::pump::output(output, tokio::io::sink()));
        }
        Ok(launched.exit.await)
    };
    let ended = ended.await;
    container.delete().await.map_err(sandbox)?;
    match ended?.code {
        0 => Ok(()),
        code => Err(Failure::internal(format!(
            "the first container's program ended with {code}"
        ))),
    }
}
