//! Docker's profile file format, and Docker's default profile in it.
//!
//! The format is the OCI `linux.seccomp` with `archMap` in place of `architectures`, and with
//! `includes` and `excludes` on each rule (moby's `profiles/seccomp`). Members that the format
//! doesn't have are ignored, as Docker does.

use oci_spec::runtime::Arch;
use oci_spec::runtime::Capabilities;
use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::LinuxSeccompAction;
use oci_spec::runtime::LinuxSeccompArg;
use oci_spec::runtime::LinuxSeccompArgBuilder;
use oci_spec::runtime::LinuxSeccompFilterFlag;
use oci_spec::runtime::LinuxSeccompOperator;
use oci_spec::runtime::LinuxSyscall;
use serde::Deserialize;

use crate::Error;
use crate::Machine;

/// The largest profile file that is read, in bytes.
pub const MAX_PROFILE_SIZE: usize = 1024 * 1024;

const DEFAULT: &str = include_str!("default.json");

/// Docker's default profile, for a process with the bounding capabilities `caps` on this machine.
///
/// # Errors
/// [`Error::UnsupportedMachine`].
pub fn default_profile(caps: &Capabilities) -> Result<LinuxSeccomp, Error> {
    parse_profile(DEFAULT.as_bytes(), caps, Machine::host()?)
}

/// Reads a profile file in Docker's format, for a process with the bounding capabilities `caps`.
///
/// # Errors
/// Any [`Error`] about the file; rules that are filtered out are checked too.
pub fn parse_profile(
    json: &[u8],
    caps: &Capabilities,
    machine: Machine,
) -> Result<LinuxSeccomp, Error> {
    if json.len() > MAX_PROFILE_SIZE {
        return Err(Error::TooLarge {
            size: json.len(),
            max: MAX_PROFILE_SIZE,
        });
    }
    let file: File = serde_json::from_slice(json)?;
    file.resolve(caps, machine, host_kernel())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    default_action: Option<String>,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<ArchMap>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    args: Option<Vec<Option<Argument>>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// A kernel's major and minor version.
type Kernel = (u32, u32);

impl File {
    fn resolve(
        self,
        caps: &Capabilities,
        machine: Machine,
        kernel: Kernel,
    ) -> Result<LinuxSeccomp, Error> {
        let architectures = self.architectures.unwrap_or_default();
        let map = self.arch_map.unwrap_or_default();
        if !architectures.is_empty() && !map.is_empty() {
            return Err(Error::BothArchitectures);
        }
        let mut arches = Vec::new();
        for name in &architectures {
            arches.push(arch(name)?);
        }
        for entry in &map {
            let main = arch(&entry.architecture)?;
            let subs = entry.sub_architectures.iter().flatten();
            let subs = subs.map(|name| arch(name)).collect::<Result<Vec<_>, _>>()?;
            if main == machine.arch() && arches.is_empty() {
                arches.push(main);
                arches.extend(subs);
            }
        }
        let mut calls = Vec::new();
        for call in self.syscalls.unwrap_or_default() {
            let wanted = call.wanted(caps, machine, kernel)?;
            let call = call.into_oci()?;
            if wanted {
                calls.push(call);
            }
        }
        let mut profile = LinuxSeccomp::default();
        profile.set_default_action(action(
            self.default_action
                .as_deref()
                .filter(|name| !name.is_empty())
                .ok_or(Error::NoDefaultAction)?,
        )?);
        profile.set_default_errno_ret(self.default_errno_ret);
        profile.set_architectures((!arches.is_empty()).then_some(arches));
        let flags = self
            .flags
            .map(|names| names.iter().map(|n| flag(n)).collect());
        profile.set_flags(flags.transpose()?);
        profile.set_listener_path(self.listener_path.map(Into::into));
        profile.set_listener_metadata(self.listener_metadata);
        profile.set_syscalls((!calls.is_empty()).then_some(calls));
        Ok(profile)
    }
}

impl Call {
    fn wanted(&self, caps: &Capabilities, machine: Machine, kernel: Kernel) -> Result<bool, Error> {
        if let Some(filter) = &self.excludes {
            let arch = filter.has_arch(machine);
            let cap = filter.caps().iter().any(|cap| has(caps, cap));
            if filter.kernel_reached(kernel)? == Some(true) || arch == Some(true) || cap {
                return Ok(false);
            }
        }
        if let Some(filter) = &self.includes {
            let arch = filter.has_arch(machine);
            let all = filter.caps().iter().all(|cap| has(caps, cap));
            if filter.kernel_reached(kernel)? == Some(false) || arch == Some(false) || !all {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn into_oci(self) -> Result<LinuxSyscall, Error> {
        let names = match (self.name.filter(|name| !name.is_empty()), self.names) {
            (Some(_), Some(names)) if !names.is_empty() => return Err(Error::BothNames),
            (Some(name), _) => vec![name],
            (None, names) => names.unwrap_or_default(),
        };
        let args = self
            .args
            .into_iter()
            .flatten()
            .flatten()
            .map(Argument::into_oci)
            .collect::<Result<Vec<_>, _>>()?;
        let mut call = LinuxSyscall::default();
        call.set_names(names);
        call.set_action(action(&self.action)?);
        call.set_errno_ret(self.errno_ret);
        call.set_args((!args.is_empty()).then_some(args));
        Ok(call)
    }
}

impl Argument {
    fn into_oci(self) -> Result<LinuxSeccompArg, Error> {
        let op: LinuxSeccompOperator = match self.op.parse() {
            Ok(op) => op,
            Err(_) => return Err(Error::UnknownOperator(self.op)),
        };
        if self.index > 5 {
            return Err(Error::ArgumentIndex(self.index));
        }
        let masked = op == LinuxSeccompOperator::ScmpCmpMaskedEq;
        let mut arg = LinuxSeccompArgBuilder::default()
            .index(self.index)
            .value(self.value)
            .op(op);
        if masked {
            arg = arg.value_two(self.value_two);
        }
        arg.build().map_err(|_| Error::ArgumentIndex(self.index))
    }
}

impl Filter {
    fn caps(&self) -> &[String] {
        self.caps.as_deref().unwrap_or_default()
    }

    fn has_arch(&self, machine: Machine) -> Option<bool> {
        let arches = self.arches.as_deref().filter(|list| !list.is_empty())?;
        Some(arches.iter().any(|name| name == machine.docker_name()))
    }

    fn kernel_reached(&self, kernel: Kernel) -> Result<Option<bool>, Error> {
        let Some(text) = self.min_kernel.as_deref() else {
            return Ok(None);
        };
        let min = version(text).ok_or_else(|| Error::BadKernelVersion(text.to_owned()))?;
        Ok(Some(kernel >= min))
    }
}

fn has(caps: &Capabilities, name: &str) -> bool {
    name.strip_prefix("CAP_")
        .and_then(|name| name.parse().ok())
        .is_some_and(|cap| caps.contains(&cap))
}

fn action(name: &str) -> Result<LinuxSeccompAction, Error> {
    name.parse()
        .map_err(|_| Error::UnknownAction(name.to_owned()))
}

fn arch(name: &str) -> Result<Arch, Error> {
    name.parse()
        .map_err(|_| Error::UnknownArchitecture(name.to_owned()))
}

fn flag(name: &str) -> Result<LinuxSeccompFilterFlag, Error> {
    name.parse()
        .map_err(|_| Error::UnknownFlag(name.to_owned()))
}

/// `major.minor`, as Docker reads `minKernel`.
fn version(text: &str) -> Option<Kernel> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The running kernel; an unreadable release counts as the oldest.
fn host_kernel() -> Kernel {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
