//! Processes, huge pages, network classes, RDMA, and v2 files by name.

use std::collections::HashMap;

use oci_spec::runtime::LinuxNetwork;
use oci_spec::runtime::LinuxRdma;

use crate::Cgroup;
use crate::Error;
use crate::cgroup::Place;
use crate::files;

/// 0 is "not set", anything negative "unlimited".
pub(super) fn pids(cgroup: &Cgroup, limit: i64) -> Result<(), Error> {
    if limit == 0 {
        return Ok(());
    }
    let (name, controller) = ("pids.limit", "pids");
    let (Place::V1(dir) | Place::V2(dir)) = cgroup.need(controller, name)?;
    let value = match limit {
        ..0 => "max".to_owned(),
        limit => limit.to_string(),
    };
    files::set(dir, "pids.max", value, name, controller)
}

/// `page_size` is as in the names of the files: `2MB`, `1GB`, `64KB`.
pub(super) fn hugepages(cgroup: &Cgroup, page_size: &str, limit: i64) -> Result<(), Error> {
    let controller = "hugetlb";
    let name = "hugepageLimits";
    let digits = page_size.trim_end_matches(|c: char| c.is_ascii_uppercase());
    let fine = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(page_size.strip_prefix(digits), Some("KB" | "MB" | "GB"));
    if !fine {
        return Err(Error::invalid(
            name,
            page_size,
            "it is not a page size such as 2MB",
        ));
    }
    let place = cgroup.need(controller, name)?;
    let (dir, suffix, value) = match (place, limit) {
        (Place::V1(dir), limit) => (dir, "limit_in_bytes", limit.max(-1).to_string()),
        (Place::V2(dir), ..0) => (dir, "max", "max".to_owned()),
        (Place::V2(dir), limit) => (dir, "max", limit.to_string()),
    };
    // The limit on reservations came with Linux 5.7.
    let reserved = format!("hugetlb.{page_size}.rsvd.{suffix}");
    match files::set(dir, &reserved, &value, name, controller) {
        Ok(()) | Err(Error::Unavailable { .. }) => {}
        Err(error) => return Err(error),
    }
    let file = format!("hugetlb.{page_size}.{suffix}");
    files::set(dir, &file, &value, name, controller).map_err(|error| match error {
        Error::Unavailable { .. } => {
            Error::invalid(name, page_size, "the kernel has no pages of that size")
        }
        error => error,
    })
}

pub(super) fn network(cgroup: &Cgroup, network: &LinuxNetwork) -> Result<(), Error> {
    if let Some(class) = network.class_id().filter(|&class| class != 0) {
        let (name, controller) = ("network.classID", "net_cls");
        let (Place::V1(dir) | Place::V2(dir)) = cgroup.need(controller, name)?;
        files::set(dir, "net_cls.classid", class, name, controller)?;
    }
    for priority in network.priorities().iter().flatten() {
        let (name, controller) = ("network.priorities", "net_prio");
        let interface = priority.name();
        if interface.is_empty() || interface.contains(char::is_whitespace) {
            let reason = "it is not the name of a network interface";
            return Err(Error::invalid(name, interface, reason));
        }
        let (Place::V1(dir) | Place::V2(dir)) = cgroup.need(controller, name)?;
        let line = format!("{interface} {}", priority.priority());
        files::set(dir, "net_prio.ifpriomap", line, name, controller)?;
    }
    Ok(())
}

pub(super) fn rdma(cgroup: &Cgroup, device: &str, limits: &LinuxRdma) -> Result<(), Error> {
    let (name, controller) = ("rdma", "rdma");
    if device.is_empty() || device.contains(char::is_whitespace) {
        return Err(Error::invalid(
            name,
            device,
            "it is not the name of a device",
        ));
    }
    let mut line = device.to_owned();
    let value = |limit: Option<u32>| limit.map_or("max".to_owned(), |limit| limit.to_string());
    let (handles, objects) = (limits.hca_handles(), limits.hca_objects());
    line.push_str(&format!(
        " hca_handle={} hca_object={}",
        value(handles),
        value(objects)
    ));
    let (Place::V1(dir) | Place::V2(dir)) = cgroup.need(controller, name)?;
    files::set(dir, "rdma.max", line, name, controller)
}

/// Files of the v2 tree by their names.
pub(super) fn unified(cgroup: &Cgroup, map: &HashMap<String, String>) -> Result<(), Error> {
    let mut names: Vec<_> = map.iter().collect();
    names.sort();
    for (file, value) in names {
        let name = format!("unified.{file}");
        let dir = match &cgroup.v2 {
            Some(dir) if cgroup.v1.is_empty() => dir,
            _ => {
                let reason = "only a host with nothing but cgroup v2 has it";
                return Err(Error::unsupported(&name, reason));
            }
        };
        let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        match file.split_once('.') {
            Some((prefix, _)) if file.chars().all(fine) && prefix != "cgroup" => {
                let controller = controller(prefix);
                files::set(dir, file, value, &name, controller)?;
            }
            _ => {
                let reason = "it must be a file of a controller, such as memory.high";
                return Err(Error::invalid(&name, value, reason));
            }
        }
    }
    Ok(())
}

/// The name as errors have it.
fn controller(prefix: &str) -> &'static str {
    match prefix {
        "cpu" => "cpu",
        "cpuset" => "cpuset",
        "io" => "io",
        "memory" => "memory",
        "pids" => "pids",
        "hugetlb" => "hugetlb",
        "rdma" => "rdma",
        "misc" => "misc",
        _ => "requested",
    }
}
