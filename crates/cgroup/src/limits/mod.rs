//! `linux.resources` of the OCI runtime specification, as control files.
//!
//! A limit that isn't set is not written, and 0 counts as not set where Docker and runc say so.

mod cpu;
mod devices;
mod io;
mod memory;
mod other;
mod program;

use oci_spec::runtime::LinuxResources;

use crate::Cgroup;
use crate::Error;

/// Whether the cgroup was just made, so that every limit is still at its default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fresh {
    Yes,
    No,
}

/// Sets every limit that is in `resources`.
pub(crate) fn apply(
    cgroup: &Cgroup,
    resources: &LinuxResources,
    fresh: Fresh,
) -> Result<(), Error> {
    if let Some(memory) = resources.memory() {
        memory::apply(cgroup, memory, fresh)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu::apply(cgroup, cpu)?;
    }
    if let Some(pids) = resources.pids() {
        other::pids(cgroup, pids.limit())?;
    }
    if let Some(block_io) = resources.block_io() {
        io::apply(cgroup, block_io)?;
    }
    for hugepages in resources.hugepage_limits().iter().flatten() {
        other::hugepages(cgroup, hugepages.page_size(), hugepages.limit())?;
    }
    if let Some(network) = resources.network() {
        other::network(cgroup, network)?;
    }
    for (device, rdma) in resources.rdma().iter().flatten() {
        other::rdma(cgroup, device, rdma)?;
    }
    if let Some(unified) = resources.unified() {
        other::unified(cgroup, unified)?;
    }
    if let Some(devices) = resources.devices()
        && !devices.is_empty()
    {
        devices::apply(cgroup, devices, fresh)?;
    }
    Ok(())
}

/// The v2 controllers that `resources` need.
pub(crate) fn wanted(resources: &LinuxResources) -> Vec<&'static str> {
    let cpu = resources.cpu().as_ref();
    let cpuset = cpu.is_some_and(|cpu| cpu.cpus().is_some() || cpu.mems().is_some());
    let needs = [
        ("memory", resources.memory().is_some()),
        ("cpu", cpu.is_some()),
        ("cpuset", cpuset),
        ("pids", resources.pids().is_some()),
        ("io", resources.block_io().is_some()),
        ("hugetlb", resources.hugepage_limits().is_some()),
        ("rdma", resources.rdma().is_some()),
    ];
    needs
        .into_iter()
        .filter_map(|(name, needed)| needed.then_some(name))
        .collect()
}
