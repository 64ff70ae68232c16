//! What a virtual machine can't do for its container, refused by name.

use coracle_runtime::spec::HostConfig;
use coracle_runtime::{Result, RuntimeError};

use crate::container::record::MountRecord;

/// Refuses what needs the host's kernel, its devices or its namespaces.
pub(crate) fn check(host_config: &HostConfig) -> Result<()> {
    let joins = host_config.network_mode.starts_with("container:");
    let mode = |mode: &str| mode == "host" || (mode.starts_with("container:") && !joins);
    let kernel = "a virtual machine has a kernel of its own; what runs in one machine can be shared \
                  with --network container:NAME as well";
    let checks: [(bool, &str, &str); 11] = [
        (
            host_config.network_mode == "host",
            "NetworkMode \"host\"",
            "a virtual machine has a network of its own; publish ports, or use --network bridge",
        ),
        (
            joins
                && [super::KERNEL, super::KERNEL_ARGS]
                    .iter()
                    .any(|key| host_config.annotations.contains_key(*key)),
            "kernel",
            "the virtual machine that is joined has one",
        ),
        (mode(&host_config.pid_mode), "PidMode", kernel),
        (mode(&host_config.ipc_mode), "IpcMode", kernel),
        (host_config.uts_mode == "host", "UTSMode", kernel),
        (
            host_config
                .devices
                .iter()
                .any(|device| device.path_on_host == "/dev/kvm"),
            "Devices \"/dev/kvm\"",
            "nested virtualization is not there, as the guest's kernel has no KVM; use --runtime \
             process to give the container the host's",
        ),
        (
            !host_config.devices.is_empty(),
            "Devices",
            "the host's devices are not passed into a virtual machine",
        ),
        (
            !host_config.blkio_weight_device.is_empty(),
            "BlkioWeightDevice",
            "the host's devices are not those of a virtual machine",
        ),
        (
            !(host_config.blkio_device_read_bps.is_empty()
                && host_config.blkio_device_write_bps.is_empty()
                && host_config.blkio_device_read_iops.is_empty()
                && host_config.blkio_device_write_iops.is_empty()),
            "BlkioDevice…",
            "the host's devices are not those of a virtual machine",
        ),
        (
            !host_config.cpuset_mems.is_empty(),
            "CpusetMems",
            "a virtual machine has one memory node",
        ),
        (
            !host_config.cpuset_cpus.is_empty(),
            "CpusetCpus",
            "a virtual machine's processors are not the host's; use --cpus",
        ),
    ];
    for (given, option, why) in checks {
        if given {
            return Err(refused(option, why));
        }
    }
    Ok(())
}

/// Refuses mounts that a share can't be.
pub(crate) fn check_mounts(mounts: &[MountRecord]) -> Result<()> {
    for mount in mounts {
        let propagation = mount.point.propagation.trim_start_matches('r');
        if mount.point.kind == "bind" && matches!(propagation, "shared" | "slave") {
            return Err(refused(
                "propagation",
                "mounts made on one side are not seen on the other side of a virtual machine",
            ));
        }
    }
    Ok(())
}

/// How many processors it is to have: those that are asked for, rounded up.
pub(crate) fn cpus(host_config: &HostConfig, default: u32, most: u32) -> u32 {
    let quota = match (host_config.nano_cpus, host_config.cpu_quota) {
        (nano, _) if nano > 0 => nano.unsigned_abs().div_ceil(1_000_000_000),
        (_, quota) if quota > 0 => {
            let period = match host_config.cpu_period {
                0 => 100_000,
                period => period.unsigned_abs().max(1),
            };
            quota.unsigned_abs().div_ceil(period)
        }
        _ => u64::from(default),
    };
    u32::try_from(quota).unwrap_or(most).clamp(1, most.max(1))
}

/// How many processors it can be given while it runs. Each that it does not use yet costs QEMU 0.3 MiB.
pub(crate) fn max_cpus(cpus: u32, most: u32) -> u32 {
    const ROOM: u32 = 4;
    cpus.saturating_mul(2).max(ROOM).min(most).max(cpus)
}

/// How much memory it is to have, bytes: what is asked for and what its kernel needs, up to the
/// next power of two, so that few templates serve all. The container's own limit is exact.
pub(crate) fn memory(host_config: &HostConfig, default: u64, overhead: u64) -> u64 {
    const LEAST: u64 = 256 << 20;
    const MOST: u64 = 1 << 42;
    let wanted = match host_config.memory {
        0 => default,
        limit => limit.unsigned_abs().saturating_add(overhead),
    };
    wanted.clamp(LEAST, MOST).next_power_of_two()
}

/// Bytes of its writable layer: `--storage-opt size=`, Docker's way of writing sizes.
pub(crate) fn layer_size(host_config: &HostConfig, default: u64) -> Result<u64> {
    const LEAST: u64 = 64 << 20;
    const MOST: u64 = 1 << 44;
    let Some(text) = host_config.storage_opt.get("size") else {
        return Ok(default);
    };
    let bytes = parse_size(text)
        .filter(|bytes| (LEAST..=MOST).contains(bytes))
        .ok_or_else(|| {
            RuntimeError::InvalidArgument(format!(
                "invalid size {text:?} of the writable layer: use a number and a unit, between 64m \
                 and 16t"
            ))
        })?;
    Ok(bytes)
}

/// How the writable layer's journal is used: `--storage-opt journal=`.
pub(crate) fn journal(host_config: &HostConfig) -> Result<Option<String>> {
    match host_config.storage_opt.get("journal").map(String::as_str) {
        None => Ok(None),
        Some(mode @ ("ordered" | "writeback" | "journal")) => Ok(Some(mode.to_owned())),
        Some(other) => Err(RuntimeError::InvalidArgument(format!(
            "invalid journal {other:?} of the writable layer: use ordered, writeback or journal"
        ))),
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.trim_end_matches(['i', 'b']) {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn refused(option: &str, why: &str) -> RuntimeError {
    RuntimeError::InvalidArgument(format!(
        "option {option} is not supported by the runtime \"vm\": {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_sized_by_what_is_asked_for() {
        let mut config = HostConfig::default();
        assert_eq!(cpus(&config, 2, 8), 2);
        assert_eq!(memory(&config, 1 << 30, 128 << 20), 1 << 30);
        config.nano_cpus = 1_500_000_000;
        config.memory = 512 << 20;
        assert_eq!(cpus(&config, 1, 8), 2);
        assert_eq!(cpus(&config, 1, 1), 1);
        assert_eq!(memory(&config, 1 << 30, 128 << 20), 1 << 30);
        assert_eq!((max_cpus(1, 8), max_cpus(3, 8), max_cpus(5, 8)), (4, 6, 8));
        assert_eq!((max_cpus(1, 1), max_cpus(2, 1)), (1, 2));
        config.nano_cpus = 0;
        config.cpu_quota = 300_000;
        config.memory = 6 << 20;
        assert_eq!(cpus(&config, 1, 8), 3);
        assert_eq!(memory(&config, 1 << 30, 128 << 20), 256 << 20);
    }

    #[test]
    fn layers_have_the_size_that_is_asked_for() {
        let size = |text: &str| {
            let config = HostConfig {
                storage_opt: [("size".to_owned(), text.to_owned())].into(),
                ..Default::default()
            };
            layer_size(&config, 7).ok()
        };
        assert_eq!(size("1G"), Some(1 << 30));
        assert_eq!(size("100mib"), Some(100 << 20));
        assert_eq!(size("1"), None);
        assert_eq!(size("x"), None);
        assert_eq!(size("99999999999999t"), None);
        assert_eq!(layer_size(&HostConfig::default(), 7).ok(), Some(7));
    }

    #[test]
    fn journals_are_used_as_is_asked_for() {
        let mode = |text: &str| {
            let config = HostConfig {
                storage_opt: [("journal".to_owned(), text.to_owned())].into(),
                ..Default::default()
            };
            journal(&config).ok().flatten()
        };
        for word in ["ordered", "writeback", "journal"] {
            assert_eq!(mode(word).as_deref(), Some(word));
        }
        assert!(
            ["", "data", "ordered,noload"]
                .iter()
                .all(|word| mode(word).is_none())
        );
        assert!(journal(&HostConfig::default()).unwrap().is_none());
    }
}
