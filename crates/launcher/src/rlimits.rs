//! Resource limits, the out-of-memory score, priorities and the execution domain.

use std::fs;
use std::io;

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxPersonality, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, PosixRlimit, PosixRlimitType, Scheduler,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use crate::error::{Context, Failure, Stage, Step};
use crate::sys::{self, Scheduling};

fn resource(kind: PosixRlimitType) -> Resource {
    match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}

/// The kernel's and the specification's "no limit" is the largest number.
fn limit(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

fn shown(value: Option<u64>) -> String {
    value.map_or_else(|| "unlimited".into(), |value| value.to_string())
}

fn lower(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

/// Raises hard limits where asked for and possible, as long as the privileges for it are there: in
/// a user namespace they aren't. Soft limits stay, so that nothing of the helper's is restricted.
pub(crate) fn raise_hard_limits(limits: &[PosixRlimit]) {
    for wanted in limits {
        let resource = resource(wanted.typ());
        let now = rustix::process::getrlimit(resource);
        let hard = limit(wanted.hard());
        if lower(now.maximum, hard) == now.maximum && now.maximum != hard {
            // What remains impossible is told when the limits are set for good.
            let _ = rustix::process::setrlimit(
                resource,
                Rlimit {
                    current: now.current,
                    maximum: hard,
                },
            );
        }
    }
}

/// Sets the limits: as asked, or the highest that is allowed, with a warning.
pub(crate) fn set_limits(limits: &[PosixRlimit], warnings: &mut Vec<String>) -> Step<()> {
    for wanted in limits {
        let resource = resource(wanted.typ());
        let asked = Rlimit {
            current: limit(wanted.soft()),
            maximum: limit(wanted.hard()),
        };
        match rustix::process::setrlimit(resource, asked) {
            Err(Errno::PERM) => {
                let maximum = lower(rustix::process::getrlimit(resource).maximum, asked.maximum);
                let possible = Rlimit {
                    current: lower(asked.current, maximum),
                    maximum,
                };
                warnings.push(format!(
                    "{}: the hard limit can't be raised to {} without CAP_SYS_RESOURCE, {} is used",
                    wanted.typ(),
                    shown(asked.maximum),
                    shown(maximum)
                ));
                rustix::process::setrlimit(resource, possible)
            }
            set => set,
        }
        .during(Stage::Process, || format!("set {}", wanted.typ()))?;
    }
    Ok(())
}

/// Sets the out-of-memory score; what went otherwise as a warning.
pub(crate) fn oom_score(score: Option<i32>) -> Step<Vec<String>> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let Some(score) = score else {
        return Ok(Vec::new());
    };
    match fs::write(FILE, score.to_string()) {
        Ok(()) => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let now = fs::read_to_string(FILE).during(Stage::Process, || format!("read {FILE}"))?;
            Ok(vec![format!(
                "oomScoreAdj: {score} needs CAP_SYS_RESOURCE, {} is kept",
                now.trim()
            )])
        }
        Err(error) => Err(error).during(Stage::Process, || format!("write {score} to {FILE}")),
    }
}

/// Sets the execution domain. Without one it stays as it is, but for one flag: a launcher whose own
/// programs are not to be randomized (the agent of machines) says nothing of the containers'.
pub(crate) fn personality(wanted: Option<&LinuxPersonality>) -> Step<()> {
    const PER_LINUX: u32 = 0;
    const PER_LINUX32: u32 = 8;
    let Some(wanted) = wanted else {
        return sys::randomize_addresses()
            .during(Stage::Process, || "have its addresses randomized");
    };
    let domain = match wanted.domain() {
        LinuxPersonalityDomain::PerLinux => PER_LINUX,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    };
    sys::personality(domain.into()).during(Stage::Process, || "set linux.personality")
}

/// Sets the priority of input and output.
pub(crate) fn io_priority(wanted: Option<&LinuxIOPriority>) -> Step<()> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let class = match wanted.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u32::try_from(wanted.priority())
        .ok()
        .filter(|level| *level < 8)
        .ok_or_else(|| {
            Failure::new(Stage::Process, "process.ioPriority.priority must be 0 to 7")
        })?;
    sys::io_priority(class, level).during(Stage::Process, || "set process.ioPriority")
}

/// Sets the scheduling policy.
pub(crate) fn scheduler(wanted: Option<&Scheduler>) -> Step<()> {
    let Some(wanted) = wanted else {
        return Ok(());
    };
    let policy = match wanted.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flag = |flag: &LinuxSchedulerFlag| match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let flags = wanted
        .flags()
        .iter()
        .flatten()
        .map(flag)
        .fold(0, |all, one| all | one);
    let priority = u32::try_from(wanted.priority().unwrap_or_default()).map_err(|_| {
        Failure::new(
            Stage::Process,
            "process.scheduler.priority must not be negative",
        )
    })?;
    sys::set_scheduling(&Scheduling {
        policy,
        flags,
        nice: wanted.nice().unwrap_or_default(),
        priority,
        runtime: wanted.runtime().unwrap_or_default(),
        deadline: wanted.deadline().unwrap_or_default(),
        period: wanted.period().unwrap_or_default(),
    })
    .during(Stage::Process, || "set process.scheduler")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_the_highest() {
        assert_eq!(lower(None, Some(3)), Some(3));
        assert_eq!(lower(Some(5), Some(3)), Some(3));
        assert_eq!(lower(None, None), None);
        assert_eq!(limit(u64::MAX), None);
    }
}
