//! Limits: memory, processors, processes, block devices.

use std::collections::BTreeMap;

use clap::Args;
use coracle_docker::container::CreateBody;
use coracle_runtime::spec::HostConfig;

use super::{throttle, ulimit, units};
use crate::error::{Error, Result};
use crate::output::warn;

/// Limits that `update` changes, too.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Memory
    #[arg(short = 'm', long, value_name = "SIZE")]
    memory: Option<String>,
    /// Memory that is given back when the host runs short
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Memory and swap together; -1 for any amount of swap
    #[arg(long, value_name = "SIZE")]
    memory_swap: Option<String>,
    /// Processors, such as 1.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// Relative weight for processor time
    #[arg(short = 'c', long, value_name = "WEIGHT")]
    cpu_shares: Option<i64>,
    /// Scheduler's period, microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<i64>,
    /// Processor time in a period, microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
    /// Real-time scheduler's period, microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<i64>,
    /// Real-time processor time in a period, microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_runtime: Option<i64>,
    /// Processors to run on, such as 0-2,5
    #[arg(long, value_name = "CPUS")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "NODES")]
    cpuset_mems: Option<String>,
    /// Processes; -1 for any number
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// Relative weight for block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Kernel memory; long deprecated
    #[arg(long, value_name = "SIZE", hide = true)]
    kernel_memory: Option<String>,
}

impl Limits {
    /// Puts what was given into a configuration.
    pub(crate) fn apply(&self, host: &mut HostConfig) -> Result<()> {
        let size = |option: &str, given: &Option<String>| match given {
            Some(text) => units::bytes(text).map_err(|why| Error::option(option, text, why)),
            None => Ok(0),
        };
        host.memory = size("-m, --memory", &self.memory)?;
        host.memory_reservation = size("--memory-reservation", &self.memory_reservation)?;
        if self.kernel_memory.is_some() {
            warn("WARNING: --kernel-memory is deprecated, and does nothing");
        }
        if let Some(text) = &self.memory_swap {
            host.memory_swap = units::positive_bytes(text)
                .map_err(|why| Error::option("--memory-swap", text, why))?;
        }
        if let Some(text) = &self.cpus {
            host.nano_cpus = nano_cpus(text)?;
        }
        host.cpu_shares = self.cpu_shares.unwrap_or_default();
        host.cpu_period = self.cpu_period.unwrap_or_default();
        host.cpu_quota = self.cpu_quota.unwrap_or_default();
        host.cpu_realtime_period = self.cpu_rt_period.unwrap_or_default();
        host.cpu_realtime_runtime = self.cpu_rt_runtime.unwrap_or_default();
        host.cpuset_cpus = self.cpuset_cpus.clone().unwrap_or_default();
        host.cpuset_mems = self.cpuset_mems.clone().unwrap_or_default();
        host.pids_limit = self.pids_limit;
        host.blkio_weight = self.blkio_weight.unwrap_or_default();
        Ok(())
    }
}

/// Limits that only a new container takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct ResourceOptions {
    #[command(flatten)]
    limits: Limits,
    /// How readily memory is swapped, 0 to 100
    #[arg(long, value_name = "NUMBER")]
    memory_swappiness: Option<i64>,
    /// Do not kill where memory runs out
    #[arg(long)]
    oom_kill_disable: bool,
    /// Whom to kill first where memory runs out, -1000 to 1000
    #[arg(long, value_name = "NUMBER")]
    oom_score_adj: Option<i64>,
    /// Resource limit: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
    /// Weight for a block device: PATH:WEIGHT
    #[arg(long, value_name = "PATH:WEIGHT")]
    blkio_weight_device: Vec<String>,
    /// Reads from a device, bytes a second: PATH:SIZE
    #[arg(long, value_name = "PATH:SIZE")]
    device_read_bps: Vec<String>,
    /// Writes to a device, bytes a second: PATH:SIZE
    #[arg(long, value_name = "PATH:SIZE")]
    device_write_bps: Vec<String>,
    /// Reads from a device a second: PATH:NUMBER
    #[arg(long, value_name = "PATH:NUMBER")]
    device_read_iops: Vec<String>,
    /// Writes to a device a second: PATH:NUMBER
    #[arg(long, value_name = "PATH:NUMBER")]
    device_write_iops: Vec<String>,
    /// Processors; Windows only
    #[arg(long, value_name = "NUMBER", hide = true)]
    cpu_count: Option<i64>,
    /// Processor time; Windows only
    #[arg(long, value_name = "PERCENT", hide = true)]
    cpu_percent: Option<i64>,
    /// Input and output, bytes a second; Windows only
    #[arg(long, value_name = "SIZE", hide = true)]
    io_maxbandwidth: Option<String>,
    /// Input and output operations a second; Windows only
    #[arg(long, value_name = "NUMBER", hide = true)]
    io_maxiops: Option<u64>,
}

impl ResourceOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        let host = &mut body.host_config;
        self.limits.apply(host)?;
        // -1 leaves the kernel's, and is what Docker's client sends.
        let swappiness = self.memory_swappiness.unwrap_or(-1);
        if !(-1..=100).contains(&swappiness) {
            let text = swappiness.to_string();
            let why = "valid memory swappiness range is 0-100";
            return Err(Error::option("--memory-swappiness", &text, why));
        }
        host.memory_swappiness = Some(swappiness);
        host.oom_kill_disable = self.oom_kill_disable.then_some(true);
        host.oom_score_adj = self.oom_score_adj.unwrap_or_default();
        // By name, the last one of a name.
        let mut limits = BTreeMap::new();
        for text in &self.ulimit {
            let limit = ulimit::parse(text)?;
            limits.insert(limit.name.clone(), limit);
        }
        host.ulimits = limits.into_values().collect();
        host.blkio_weight_device =
            throttle::weights("--blkio-weight-device", &self.blkio_weight_device)?;
        host.blkio_device_read_bps = throttle::bytes("--device-read-bps", &self.device_read_bps)?;
        host.blkio_device_write_bps =
            throttle::bytes("--device-write-bps", &self.device_write_bps)?;
        host.blkio_device_read_iops =
            throttle::operations("--device-read-iops", &self.device_read_iops)?;
        host.blkio_device_write_iops =
            throttle::operations("--device-write-iops", &self.device_write_iops)?;
        host.cpu_count = self.cpu_count.unwrap_or_default();
        host.cpu_percent = self.cpu_percent.unwrap_or_default();
        host.io_maximum_iops = self.io_maxiops.unwrap_or_default();
        if let Some(text) = &self.io_maxbandwidth {
            let bytes = units::bytes(text);
            host.io_maximum_bandwidth = bytes
                .map_err(|why| Error::option("--io-maxbandwidth", text, why))?
                .unsigned_abs();
        }
        Ok(())
    }
}

/// Billionths of a processor, exactly.
fn nano_cpus(text: &str) -> Result<i64> {
    let refuse = |why: &str| Error::option("--cpus", text, why);
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    if fraction.trim_end_matches('0').len() > 9 {
        return Err(refuse("value is too precise"));
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(refuse("want a number such as 1.5"));
    }
    units::scaled(text, 1_000_000_000).ok_or_else(|| refuse("want a number such as 1.5"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_exact() {
        assert_eq!(nano_cpus("1.5").unwrap(), 1_500_000_000);
        assert_eq!(nano_cpus("0.1").unwrap(), 100_000_000);
        assert_eq!(nano_cpus("2").unwrap(), 2_000_000_000);
        assert_eq!(nano_cpus("0.000000001").unwrap(), 1);
        for bad in ["", "x", "-1", "1e3", "0.0000000001", "1.2.3"] {
            assert!(nano_cpus(bad).is_err(), "{bad}");
        }
    }
}
