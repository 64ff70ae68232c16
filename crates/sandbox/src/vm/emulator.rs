//! Programs of other architectures: the guest's kernel has them run by an emulator of this host.
//!
//! The emulator is a share of one file. The kernel opens it when it is told of it (flag `F`), so the
//! container neither sees nor provides it.

use coracle_guest::Agent;
use coracle_guest::Binfmt;
use coracle_guest::Share;
use coracle_task::Emulator;
use coracle_task::ErrorKind;
use coracle_task::Format;

use super::mounts::Source;
use super::setup::GUEST;
use super::setup::Plan;
use crate::Result;
use crate::SandboxError;

/// `O`: the program is opened for it; `C`: with the program's set-user-id bit; `F`: opened now; `P`: with
/// the name that the program was called by.
const FLAGS: &str = "POCF";

/// Sees to it that another's machine has an emulator, which is there for all who are in it.
pub(crate) async fn find(emulator: &Emulator, agent: &Agent) -> Result<()> {
    let refused = |message: String| SandboxError::new(ErrorKind::Unsupported, message);
    let architecture = &emulator.architecture;
    let format = Format::of(architecture)
        .ok_or_else(|| refused(format!("programs for {architecture} can't be emulated")))?;
    let path = format!("/proc/sys/fs/binfmt_misc/{}", name(format.qemu));
    match agent.read_file(&path).await {
        Ok(_) => Ok(()),
        Err(_) => Err(refused(format!(
            "the virtual machine that is joined has no emulator for {architecture}: the container that it \
             was started for has to be of that platform too"
        ))),
    }
}

fn name(qemu: &str) -> String {
    format!("qemu-{qemu}")
}

/// Adds an emulator to what the guest is given; answers what is to be registered once the plan's shares
/// are served.
pub(crate) fn share(emulator: &Emulator, plan: &mut Plan) -> Result<Binfmt> {
    let refused = |message: String| SandboxError::new(ErrorKind::Unsupported, message);
    let architecture = &emulator.architecture;
    let format = Format::of(architecture)
        .ok_or_else(|| refused(format!("programs for {architecture} can't be emulated")))?;
    let program = emulator.program.display();
    let source = Source::file(&emulator.program)
        .map_err(|error| refused(format!("cannot open the emulator {program}: {error}")))?;
    let target = format!("{GUEST}/emulators/{}", format.qemu);
    plan.shares.push(source);
    plan.setup.shares.push(Share {
        target: target.clone(),
        is_dir: false,
        read_only: true,
    });
    Ok(Binfmt {
        name: name(format.qemu),
        offset: 0,
        magic: format.magic().to_vec(),
        mask: format.mask().to_vec(),
        interpreter: target,
        flags: FLAGS.into(),
    })
}
