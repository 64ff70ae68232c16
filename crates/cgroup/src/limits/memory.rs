//! Memory: v1's `memory.*_in_bytes`, v2's `memory.max`, `.low` and `.swap.max`.

use std::io;
use std::path::Path;

use oci_spec::runtime::LinuxMemory;

use super::Fresh;
use crate::Cgroup;
use crate::Error;
use crate::cgroup::Place;
use crate::files;
use crate::parse;

const CONTROLLER: &str = "memory";

pub(super) fn apply(cgroup: &Cgroup, memory: &LinuxMemory, fresh: Fresh) -> Result<(), Error> {
    let kernel = memory.kernel();
    if set(kernel).is_some() {
        return Err(Error::unsupported(
            "memory.kernel",
            "the kernel has no limit for kernel memory any more (since Linux 5.4)",
        ));
    }
    if memory.use_hierarchy() == Some(false) {
        return Err(Error::unsupported(
            "memory.useHierarchy",
            "memory is always accounted hierarchically",
        ));
    }
    let Some(limit) = first_limit(memory) else {
        // Switching the OOM killer on again is the one thing that asks for nothing.
        return match (cgroup.place(CONTROLLER), fresh) {
            (Some(Place::V1(dir)), Fresh::No) => v1(dir, memory, fresh),
            _ => Ok(()),
        };
    };
    match cgroup.need(CONTROLLER, limit)? {
        Place::V1(dir) => v1(dir, memory, fresh),
        Place::V2(dir) => v2(dir, memory),
    }
}

/// The name of the first limit that asks for something.
fn first_limit(memory: &LinuxMemory) -> Option<&'static str> {
    let limits = [
        ("memory.limit", set(memory.limit()).is_some()),
        ("memory.swap", set(memory.swap()).is_some()),
        ("memory.reservation", set(memory.reservation()).is_some()),
        ("memory.kernelTCP", set(memory.kernel_tcp()).is_some()),
        ("memory.swappiness", memory.swappiness().is_some()),
        (
            "memory.disableOOMKiller",
            memory.disable_oom_killer() == Some(true),
        ),
    ];
    limits
        .into_iter()
        .find_map(|(name, asked)| asked.then_some(name))
}

/// 0 is "not set" for every amount of memory.
fn set(bytes: Option<i64>) -> Option<i64> {
    bytes.filter(|&bytes| bytes != 0)
}

/// Any negative number means unlimited.
fn check_before_update(dir: &Path, memory: &LinuxMemory, usage: &str) -> Result<(), Error> {
    let Some(limit) = set(memory.limit()).and_then(|limit| u64::try_from(limit).ok()) else {
        return Ok(());
    };
    if memory.check_before_update() != Some(true) {
        return Ok(());
    }
    let used = files::read_optional(dir, usage)?.map_or(0, |text| parse::number(&text));
    match used > limit {
        false => Ok(()),
        true => Err(Error::invalid(
            "memory.limit",
            limit,
            format!("{used} bytes are in use"),
        )),
    }
}

fn v1(dir: &Path, memory: &LinuxMemory, fresh: Fresh) -> Result<(), Error> {
    check_before_update(dir, memory, "memory.usage_in_bytes")?;
    let limit = set(memory.limit());
    let swap = match (limit, set(memory.swap())) {
        // Else the limit can't be lifted above the old sum.
        (Some(..0), None) => Some(-1),
        (_, swap) => swap,
    };
    let write = |file: &str, value: Option<i64>, name: &str| match value {
        Some(value) => files::set(dir, file, value.max(-1), name, CONTROLLER)
            .map_err(|error| with_usage(dir, error)),
        None => Ok(()),
    };
    let write_limit = || write("memory.limit_in_bytes", limit, "memory.limit");
    let write_swap = || {
        match write("memory.memsw.limit_in_bytes", swap, "memory.swap") {
            // Without swap accounting, all are unlimited.
            Err(Error::Unavailable { .. }) if swap < Some(0) => Ok(()),
            Err(Error::Unavailable { .. }) => Err(Error::NoSwapLimit),
            result => result,
        }
    };
    // At no time may the limit be above the sum.
    let swap_first = match (limit, swap) {
        (Some(_), Some(swap)) if fresh == Fresh::No => {
            let now = files::read(dir, "memory.limit_in_bytes")
                .map_err(|error| Error::io("reading", dir.join("memory.limit_in_bytes"), error))?;
            u64::try_from(swap).map_or(true, |swap| parse::number(&now) < swap)
        }
        _ => false,
    };
    if swap_first {
        write_swap()?;
        write_limit()?;
    } else {
        write_limit()?;
        write_swap()?;
    }
    write(
        "memory.soft_limit_in_bytes",
        set(memory.reservation()),
        "memory.reservation",
    )?;
    write(
        "memory.kmem.tcp.limit_in_bytes",
        set(memory.kernel_tcp()),
        "memory.kernelTCP",
    )?;
    if let Some(swappiness) = memory.swappiness() {
        if swappiness > 100 {
            let reason = "it must be from 0 to 100";
            return Err(Error::invalid("memory.swappiness", swappiness, reason));
        }
        let name = "memory.swappiness";
        files::set(dir, "memory.swappiness", swappiness, name, CONTROLLER)?;
    }
    match (memory.disable_oom_killer(), fresh) {
        (Some(false), Fresh::Yes) | (None, _) => Ok(()),
        (Some(disable), _) => files::set(
            dir,
            "memory.oom_control",
            u8::from(disable),
            "memory.disableOOMKiller",
            CONTROLLER,
        ),
    }
}

/// Says how much is in use, where that is why a limit was refused.
fn with_usage(dir: &Path, error: Error) -> Error {
    let Error::Invalid {
        limit,
        value,
        reason,
    } = error
    else {
        return error;
    };
    let read = |file| files::read(dir, file).map_or(0, |text| parse::number(&text));
    let used = read("memory.usage_in_bytes");
    let peak = read("memory.max_usage_in_bytes");
    Error::Invalid {
        limit,
        value,
        reason: format!("{reason} (current usage: {used}, peak usage: {peak})"),
    }
}

fn v2(dir: &Path, memory: &LinuxMemory) -> Result<(), Error> {
    check_before_update(dir, memory, "memory.current")?;
    let v1_only = [
        ("memory.kernelTCP", set(memory.kernel_tcp()).is_some()),
        ("memory.swappiness", memory.swappiness().is_some()),
        (
            "memory.disableOOMKiller",
            memory.disable_oom_killer() == Some(true),
        ),
    ];
    if let Some((name, _)) = v1_only.iter().find(|(_, asked)| *asked) {
        return Err(Error::unsupported(name, "cgroup v2 doesn't have it"));
    }
    if let Some(swap) = swap_alone(dir, memory)? {
        match files::write(dir, "memory.swap.max", &swap) {
            Ok(()) => {}
            // Without swap accounting, all are unlimited.
            Err(error) if error.kind() == io::ErrorKind::NotFound && swap == "max" => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoSwapLimit);
            }
            Err(error) => {
                let file = "memory.swap.max";
                return Err(files::refused(
                    dir,
                    file,
                    &swap,
                    "memory.swap",
                    CONTROLLER,
                    error,
                ));
            }
        }
    }
    if let Some(limit) = set(memory.limit()) {
        files::set(dir, "memory.max", or_max(limit), "memory.limit", CONTROLLER)?;
    }
    if let Some(low) = set(memory.reservation()) {
        let name = "memory.reservation";
        files::set(dir, "memory.low", or_max(low), name, CONTROLLER)?;
    }
    Ok(())
}

/// The specification's `swap` is the sum of memory and swap; v2 limits swap alone.
fn swap_alone(dir: &Path, memory: &LinuxMemory) -> Result<Option<String>, Error> {
    let name = "memory.swap";
    let sum = match (set(memory.limit()), set(memory.swap())) {
        (Some(..0), None) => return Ok(dir.join("memory.swap.max").exists().then(|| or_max(-1))),
        (_, None) => return Ok(None),
        (_, Some(..0)) => return Ok(Some(or_max(-1))),
        (_, Some(sum)) => sum,
    };
    let limit = match set(memory.limit()) {
        Some(limit) => limit,
        None => {
            let now = files::read_optional(dir, "memory.max")?;
            now.and_then(|text| parse::limit(&text))
                .and_then(|limit| i64::try_from(limit).ok())
                .unwrap_or(-1)
        }
    };
    match limit {
        ..0 => Err(Error::invalid(name, sum, "it needs a memory limit")),
        limit if sum < limit => {
            let reason = "memory and swap together can't be less than memory";
            Err(Error::invalid(name, sum, reason))
        }
        limit => Ok(Some(or_max(sum - limit))),
    }
}

fn or_max(value: i64) -> String {
    match value {
        ..0 => "max".to_owned(),
        value => value.to_string(),
    }
}
