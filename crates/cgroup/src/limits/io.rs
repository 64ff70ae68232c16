//! Block devices: weights and throttles.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use oci_spec::runtime::LinuxBlockIo;
use oci_spec::runtime::LinuxThrottleDevice;

use crate::Cgroup;
use crate::Error;
use crate::cgroup::Place;
use crate::files;

const CONTROLLER: &str = "blkio";

type Throttles<'a> = (
    &'static str,
    &'static str,
    &'static str,
    &'a [LinuxThrottleDevice],
);

pub(super) fn apply(cgroup: &Cgroup, io: &LinuxBlockIo) -> Result<(), Error> {
    let devices = io.weight_device().as_deref().unwrap_or_default();
    let leaf = io.leaf_weight().filter(|&weight| weight != 0);
    if leaf.is_some() || devices.iter().any(|device| device.leaf_weight().is_some()) {
        let reason = "it was part of the CFQ scheduler, which the kernel has no more";
        return Err(Error::unsupported("blockIO.leafWeight", reason));
    }
    let weight = io.weight().filter(|&weight| weight != 0);
    let throttles = throttles(io);
    let first = match (
        weight,
        devices,
        throttles.iter().find(|list| !list.3.is_empty()),
    ) {
        (Some(_), _, _) => "blockIO.weight",
        (_, [_, ..], _) => "blockIO.weightDevice",
        (_, _, Some((name, ..))) => name,
        _ => return Ok(()),
    };
    let place = cgroup.need(CONTROLLER, first)?;
    if let Some(weight) = weight {
        set_weight(place, "blockIO.weight", "", weight)?;
    }
    for device in devices {
        let key = device_key("blockIO.weightDevice", device.major(), device.minor())?;
        if let Some(weight) = device.weight() {
            set_weight(place, "blockIO.weightDevice", &key, weight)?;
        }
    }
    match place {
        Place::V1(dir) => throttle_v1(dir, &throttles),
        Place::V2(dir) => throttle_v2(dir, &throttles),
    }
}

/// Of each list: its name, v1's file and v2's key.
fn throttles(io: &LinuxBlockIo) -> [Throttles<'_>; 4] {
    fn slice(devices: &Option<Vec<LinuxThrottleDevice>>) -> &[LinuxThrottleDevice] {
        devices.as_deref().unwrap_or_default()
    }
    [
        (
            "blockIO.throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
            "rbps",
            slice(io.throttle_read_bps_device()),
        ),
        (
            "blockIO.throttleWriteBpsDevice",
            "blkio.throttle.write_bps_device",
            "wbps",
            slice(io.throttle_write_bps_device()),
        ),
        (
            "blockIO.throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
            "riops",
            slice(io.throttle_read_iops_device()),
        ),
        (
            "blockIO.throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            "wiops",
            slice(io.throttle_write_iops_device()),
        ),
    ]
}

fn device_key(name: &str, major: i64, minor: i64) -> Result<String, Error> {
    let device = format!("{major}:{minor}");
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(_), Ok(_)) => Ok(device),
        _ => Err(Error::invalid(name, device, "it is not a device number")),
    }
}

/// Sets the weight of one device, or of all with an empty key, with whichever scheduler has one.
fn set_weight(place: Place<'_>, name: &str, key: &str, weight: u16) -> Result<(), Error> {
    if !(10..=1000).contains(&weight) {
        return Err(Error::invalid(name, weight, "it must be from 10 to 1000"));
    }
    let line = |weight: u64| match key {
        "" => weight.to_string(),
        key => format!("{key} {weight}"),
    };
    // v2's io.weight goes from 1 to 10000.
    let wide = 1 + (u64::from(weight) - 10) * 9999 / 990;
    let narrow = u64::from(weight);
    let suffix = if key.is_empty() { "" } else { "_device" };
    let (dir, candidates) = match place {
        Place::V1(dir) => (
            dir,
            [
                (format!("blkio.weight{suffix}"), narrow),
                (format!("blkio.bfq.weight{suffix}"), narrow),
            ],
        ),
        Place::V2(dir) => (
            dir,
            [
                ("io.bfq.weight".to_owned(), narrow),
                ("io.weight".to_owned(), wide),
            ],
        ),
    };
    let mut result = Err(Error::unavailable(name, CONTROLLER));
    for (file, weight) in candidates {
        result = files::set(dir, &file, line(weight), name, CONTROLLER);
        match result {
            Err(Error::Unavailable { .. }) => {}
            _ => break,
        }
    }
    result
}

fn throttle_v1(dir: &Path, throttles: &[Throttles<'_>]) -> Result<(), Error> {
    for (name, file, _, devices) in throttles {
        let mut lines = Vec::new();
        for device in *devices {
            let key = device_key(name, device.major(), device.minor())?;
            lines.push(format!("{key} {}", device.rate()));
        }
        write_lines(dir, file, name, &lines)?;
    }
    Ok(())
}

fn throttle_v2(dir: &Path, throttles: &[Throttles<'_>]) -> Result<(), Error> {
    let mut by_device: BTreeMap<String, String> = BTreeMap::new();
    let mut first = None;
    for (name, _, key, devices) in throttles {
        for device in *devices {
            first.get_or_insert(*name);
            let line = by_device
                .entry(device_key(name, device.major(), device.minor())?)
                .or_default();
            let rate = match device.rate() {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            line.push_str(&format!(" {key}={rate}"));
        }
    }
    let lines = by_device
        .iter()
        .map(|(device, rates)| format!("{device}{rates}"));
    write_lines(
        dir,
        "io.max",
        first.unwrap_or_default(),
        &lines.collect::<Vec<_>>(),
    )
}

/// One write for each line, as the kernel takes one device at a time.
fn write_lines(dir: &Path, file: &str, name: &str, lines: &[String]) -> Result<(), Error> {
    if lines.is_empty() {
        return Ok(());
    }
    let refused = |line: &str, error| files::refused(dir, file, line, name, CONTROLLER, error);
    let mut open = files::open(dir, file).map_err(|error| refused("", error))?;
    for line in lines {
        open.write_all(format!("{line}\n").as_bytes())
            .map_err(|error| refused(line, error))?;
    }
    Ok(())
}
