//! Refuses, by name and before anything is done, what can't be honoured.

use std::path::Path;

use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxPersonality, Mount, Process, Spec};

use crate::error::Error;
use crate::mounts::options::Options;
use crate::namespaces::{Plan, flag};
use crate::request::{ExecRequest, InitRequest, Rootfs};
use crate::{rootfs, sys, sysctl};

pub(crate) fn no_process() -> Error {
    Error::Invalid("process is missing".into())
}

/// Checks a container.
pub(crate) fn init(request: &InitRequest) -> Result<(), Error> {
    let spec = &request.spec;
    if request.id.contains('\0') {
        return Err(Error::Invalid(
            "the container's id holds a zero byte".into(),
        ));
    }
    platforms(spec)?;
    process(
        spec.process().as_ref().ok_or_else(no_process)?,
        request.user.as_deref(),
    )?;
    let linux = spec
        .linux()
        .as_ref()
        .ok_or_else(|| Error::Invalid("linux is missing".into()))?;
    let plan = Plan::of(spec);
    namespaces(spec, linux, &plan)?;
    unsupported(linux)?;
    for key in linux.sysctl().iter().flatten().map(|(key, _)| key) {
        sysctl::check(key, &plan)?;
    }
    for mount in spec.mounts().iter().flatten() {
        check_mount(mount)?;
    }
    for device in linux.devices().iter().flatten() {
        absolute("linux.devices", device.path())?;
    }
    let paths = [linux.masked_paths(), linux.readonly_paths()];
    for path in paths.into_iter().flatten().flatten() {
        absolute("linux.maskedPaths or readonlyPaths", Path::new(path))?;
    }
    if let Some(propagation) = linux.rootfs_propagation().as_deref()
        && !propagation.is_empty()
        && rootfs::parse_propagation(propagation).is_none()
    {
        let problem = format!("linux.rootfsPropagation {propagation:?} is not known");
        return Err(Error::Invalid(problem));
    }
    check_rootfs(&request.rootfs)
}

/// Checks a process for a running container.
pub(crate) fn exec(request: &ExecRequest) -> Result<(), Error> {
    personality(request.personality.as_ref())?;
    process(&request.process, request.user.as_deref())
}

fn refuse_if(condition: bool, what: &str) -> Result<(), Error> {
    if condition {
        Err(Error::Unsupported(what.into()))
    } else {
        Ok(())
    }
}

fn platforms(spec: &Spec) -> Result<(), Error> {
    refuse_if(spec.solaris().is_some(), "solaris")?;
    refuse_if(spec.windows().is_some(), "windows")?;
    refuse_if(spec.vm().is_some(), "vm")?;
    refuse_if(spec.zos().is_some(), "zos")?;
    #[allow(deprecated, reason = "they are refused, not used")]
    refuse_if(
        spec.uid_mappings().is_some() || spec.gid_mappings().is_some(),
        "uidMappings outside of linux",
    )?;
    let Some(hooks) = spec.hooks() else {
        return Ok(());
    };
    #[allow(deprecated, reason = "it is refused, not used")]
    let all = [
        ("hooks.prestart", hooks.prestart()),
        ("hooks.createRuntime", hooks.create_runtime()),
        ("hooks.createContainer", hooks.create_container()),
        ("hooks.startContainer", hooks.start_container()),
        ("hooks.poststart", hooks.poststart()),
        ("hooks.poststop", hooks.poststop()),
    ];
    for (name, hooks) in all {
        refuse_if(hooks.iter().flatten().next().is_some(), name)?;
    }
    Ok(())
}

fn process(process: &Process, user: Option<&str>) -> Result<(), Error> {
    refuse_if(process.command_line().is_some(), "process.commandLine")?;
    refuse_if(process.user().username().is_some(), "process.user.username")?;
    refuse_if(
        process.exec_cpu_affinity().is_some(),
        "process.execCPUAffinity",
    )?;
    let named = |label: &Option<String>| label.as_ref().is_some_and(|label| !label.is_empty());
    if named(process.apparmor_profile()) {
        let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
        let enabled = enabled.is_ok_and(|text| text.starts_with(b"Y"));
        refuse_if(
            !enabled,
            "process.apparmorProfile without AppArmor in the kernel",
        )?;
        refuse_if(
            named(process.selinux_label()),
            "process.selinuxLabel beside process.apparmorProfile",
        )?;
    }
    if named(process.selinux_label()) {
        let enabled = Path::new("/sys/fs/selinux/enforce").exists();
        refuse_if(
            !enabled,
            "process.selinuxLabel without SELinux in the kernel",
        )?;
    }
    let args = process.args().as_deref().unwrap_or_default();
    match args.first() {
        None => return Err(Error::Invalid("no command specified".into())),
        Some(command) if command.is_empty() => {
            return Err(Error::Invalid("the command is an empty string".into()));
        }
        Some(_) => {}
    }
    absolute("process.cwd", process.cwd())?;
    let env = process.env().as_deref().unwrap_or_default();
    let strings = args.iter().chain(env).map(String::as_str).chain(user);
    for string in strings {
        if string.contains('\0') {
            let problem = format!("{string:?} holds a zero byte");
            return Err(Error::Invalid(problem));
        }
    }
    for limit in process.rlimits().iter().flatten() {
        if limit.soft() > limit.hard() {
            let problem = format!("{}: the soft limit is above the hard one", limit.typ());
            return Err(Error::Invalid(problem));
        }
    }
    Ok(())
}

fn namespaces(spec: &Spec, linux: &Linux, plan: &Plan) -> Result<(), Error> {
    let mut seen = 0;
    for namespace in linux.namespaces().iter().flatten() {
        let bit = flag(namespace.typ());
        if seen & bit != 0 {
            let problem = format!("namespace {} is listed twice", namespace.typ());
            return Err(Error::Invalid(problem));
        }
        seen |= bit;
        let joined = namespace
            .path()
            .as_deref()
            .filter(|path| !path.as_os_str().is_empty());
        if let Some(path) = joined {
            absolute("linux.namespaces", path)?;
            refuse_if(
                namespace.typ() == LinuxNamespaceType::Mount,
                "a mount namespace joined by its path",
            )?;
        }
    }
    refuse_if(
        !plan.makes(sys::NEWNS),
        "a container without a mount namespace",
    )?;
    let needs = |condition: bool, bit: u32, what: &str, namespace: &str| {
        if condition && !plan.has(bit) {
            let problem = format!("{what} needs a {namespace} namespace of the container's own");
            return Err(Error::Invalid(problem));
        }
        Ok(())
    };
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    needs(filled(spec.hostname()), sys::NEWUTS, "hostname", "uts")?;
    needs(filled(spec.domainname()), sys::NEWUTS, "domainname", "uts")?;
    let offsets = linux.time_offsets().iter().flatten().next().is_some();
    needs(offsets, sys::NEWTIME, "linux.timeOffsets", "time")?;
    let count = |map: &Option<Vec<_>>| map.as_ref().map_or(0, Vec::len);
    let maps = [count(linux.uid_mappings()), count(linux.gid_mappings())];
    let mapped = maps.iter().any(|count| *count > 0);
    needs(mapped, sys::NEWUSER, "linux.uidMappings", "user")?;
    if plan.makes(sys::NEWUSER) && maps.contains(&0) {
        let problem = "a new user namespace needs linux.uidMappings and linux.gidMappings";
        return Err(Error::Invalid(problem.into()));
    }
    Ok(())
}

fn unsupported(linux: &Linux) -> Result<(), Error> {
    refuse_if(linux.intel_rdt().is_some(), "linux.intelRdt")?;
    refuse_if(linux.memory_policy().is_some(), "linux.memoryPolicy")?;
    let devices = linux.net_devices().iter().flatten().next().is_some();
    refuse_if(devices, "linux.netDevices")?;
    let label = linux
        .mount_label()
        .as_ref()
        .is_some_and(|label| !label.is_empty());
    refuse_if(label, "linux.mountLabel")?;
    personality(linux.personality().as_ref())
}

fn personality(personality: Option<&LinuxPersonality>) -> Result<(), Error> {
    let flags = personality.and_then(|personality| personality.flags().as_ref());
    let any = flags.is_some_and(|flags| !flags.is_empty());
    refuse_if(any, "linux.personality.flags")
}

fn check_mount(mount: &Mount) -> Result<(), Error> {
    absolute("mounts", mount.destination())?;
    if mount.destination().components().count() < 2 {
        return Err(Error::Invalid(
            "mounts: the root can't be mounted over".into(),
        ));
    }
    let options = Options::of(mount)?;
    if let Some(source) = mount.source().as_deref().filter(|_| options.bind.is_some()) {
        absolute("mounts: the source of a bind", source)?;
    }
    if options.bind.is_none() && matches!(mount.typ().as_deref(), None | Some("bind" | "none")) {
        return Err(Error::Invalid(format!(
            "mounts[{}]: neither a type nor the option bind or rbind",
            mount.destination().display()
        )));
    }
    Ok(())
}

fn absolute(what: &str, path: &Path) -> Result<(), Error> {
    if path.is_absolute() {
        Ok(())
    } else {
        Err(Error::Invalid(format!(
            "{what}: {:?} must be an absolute path",
            path.display()
        )))
    }
}

fn check_rootfs(rootfs: &Rootfs) -> Result<(), Error> {
    let Rootfs::Overlay {
        lower, upper, work, ..
    } = rootfs
    else {
        return Ok(());
    };
    if upper.is_some() != work.is_some() {
        return Err(Error::Invalid(
            "an overlay has both upper and work, or none".into(),
        ));
    }
    if lower.is_empty() {
        return Err(Error::Invalid("an overlay needs a lower directory".into()));
    }
    for path in lower.iter().chain(upper).chain(work) {
        absolute("overlay", path)?;
        if path.as_os_str().as_encoded_bytes().contains(&b'\\') {
            let problem = format!("overlay: {:?} holds a backslash", path.display());
            return Err(Error::Invalid(problem));
        }
    }
    Ok(())
}
