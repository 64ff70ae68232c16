//! Control group limits from Docker's resource options.

use coracle_runtime::spec::{HostConfig, ThrottleDevice};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder,
};

use crate::devices::device_numbers;
use crate::{SpecError, empty};

/// The CFS period that `--cpus` is expressed in, microseconds.
const CPU_PERIOD: u64 = 100_000;

/// The limits asked for; what was not asked for is absent. Devices are not in it.
pub fn resources(config: &HostConfig) -> Result<LinuxResources, SpecError> {
    let mut resources: LinuxResources = empty()?;
    resources
        .set_memory(memory(config)?)
        .set_cpu(cpu(config)?)
        .set_pids(pids(config)?)
        .set_block_io(block_io(config)?);
    Ok(resources)
}

fn memory(config: &HostConfig) -> Result<Option<LinuxMemory>, SpecError> {
    let mut memory: LinuxMemory = empty()?;
    let untouched = memory;
    if config.memory > 0 {
        memory.set_limit(Some(config.memory));
    }
    if config.memory_reservation > 0 {
        memory.set_reservation(Some(config.memory_reservation));
    }
    if config.memory_swap != 0 {
        memory.set_swap(Some(config.memory_swap));
    } else if config.memory > 0 {
        // Docker's default: as much swap as memory.
        memory.set_swap(Some(config.memory.saturating_mul(2)));
    }
    if let Some(swappiness) = config.memory_swappiness.and_then(|n| u64::try_from(n).ok()) {
        memory.set_swappiness(Some(swappiness));
    }
    if config.oom_kill_disable == Some(true) {
        memory.set_disable_oom_killer(Some(true));
    }
    Ok((memory != untouched).then_some(memory))
}

fn cpu(config: &HostConfig) -> Result<Option<LinuxCpu>, SpecError> {
    let mut cpu: LinuxCpu = empty()?;
    let untouched = cpu.clone();
    if let Some(shares) = positive(config.cpu_shares) {
        cpu.set_shares(Some(shares));
    }
    if let Some(nanos) = positive(config.nano_cpus) {
        let quota = nanos.saturating_mul(CPU_PERIOD) / 1_000_000_000;
        cpu.set_period(Some(CPU_PERIOD))
            .set_quota(i64::try_from(quota).ok());
    }
    if let Some(period) = positive(config.cpu_period) {
        cpu.set_period(Some(period));
    }
    if config.cpu_quota != 0 {
        cpu.set_quota(Some(config.cpu_quota));
    }
    if let Some(period) = positive(config.cpu_realtime_period) {
        cpu.set_realtime_period(Some(period));
    }
    if config.cpu_realtime_runtime != 0 {
        cpu.set_realtime_runtime(Some(config.cpu_realtime_runtime));
    }
    if !config.cpuset_cpus.is_empty() {
        cpu.set_cpus(Some(config.cpuset_cpus.clone()));
    }
    if !config.cpuset_mems.is_empty() {
        cpu.set_mems(Some(config.cpuset_mems.clone()));
    }
    Ok((cpu != untouched).then_some(cpu))
}

fn pids(config: &HostConfig) -> Result<Option<LinuxPids>, SpecError> {
    let Some(limit) = config.pids_limit.filter(|limit| *limit > 0) else {
        return Ok(None);
    };
    let mut pids: LinuxPids = empty()?;
    pids.set_limit(limit);
    Ok(Some(pids))
}

fn block_io(config: &HostConfig) -> Result<Option<LinuxBlockIo>, SpecError> {
    let mut block: LinuxBlockIo = empty()?;
    let untouched = block.clone();
    if config.blkio_weight != 0 {
        block.set_weight(Some(config.blkio_weight));
    }
    if !config.blkio_weight_device.is_empty() {
        let mut devices = Vec::new();
        for device in &config.blkio_weight_device {
            let (major, minor) = device_numbers(&device.path)?;
            let weight = LinuxWeightDeviceBuilder::default()
                .major(major)
                .minor(minor)
                .weight(device.weight)
                .build()
                .map_err(|error| SpecError::invalid(error.to_string()))?;
            devices.push(weight);
        }
        block.set_weight_device(Some(devices));
    }
    block
        .set_throttle_read_bps_device(throttle(&config.blkio_device_read_bps)?)
        .set_throttle_write_bps_device(throttle(&config.blkio_device_write_bps)?)
        .set_throttle_read_iops_device(throttle(&config.blkio_device_read_iops)?)
        .set_throttle_write_iops_device(throttle(&config.blkio_device_write_iops)?);
    Ok((block != untouched).then_some(block))
}

fn throttle(limits: &[ThrottleDevice]) -> Result<Option<Vec<LinuxThrottleDevice>>, SpecError> {
    if limits.is_empty() {
        return Ok(None);
    }
    let mut devices = Vec::new();
    for limit in limits {
        let (major, minor) = device_numbers(&limit.path)?;
        let device = LinuxThrottleDeviceBuilder::default()
            .major(major)
            .minor(minor)
            .rate(limit.rate)
            .build()
            .map_err(|error| SpecError::invalid(error.to_string()))?;
        devices.push(device);
    }
    Ok(Some(devices))
}

fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_for_is_nothing_set() {
        let resources = resources(&HostConfig::default()).unwrap();
        assert_eq!(serde_json::to_string(&resources).unwrap(), "{}");
    }

    #[test]
    fn docker_arithmetic() {
        let config = HostConfig {
            memory: 64 << 20,
            nano_cpus: 1_500_000_000,
            pids_limit: Some(10),
            ..Default::default()
        };
        let resources = resources(&config).unwrap();
        let memory = resources.memory().unwrap();
        assert_eq!(
            (memory.limit(), memory.swap()),
            (Some(64 << 20), Some(128 << 20))
        );
        let cpu = resources.cpu().clone().unwrap();
        assert_eq!((cpu.quota(), cpu.period()), (Some(150_000), Some(100_000)));
        assert_eq!(resources.pids().unwrap().limit(), 10);
        assert!(resources.block_io().is_none());
    }
}
