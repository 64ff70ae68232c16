//! `--device-read-bps` and its like.

use coracle_runtime::spec::{ThrottleDevice, WeightDevice};

use super::units;
use crate::error::{Error, Result};

fn split<'a>(option: &str, text: &'a str) -> Result<(&'a str, &'a str)> {
    match text.split_once(':') {
        Some((path, value)) if path.starts_with("/dev/") && !value.is_empty() => Ok((path, value)),
        Some((path, _)) if !path.starts_with("/dev/") => Err(Error::option(
            option,
            text,
            "the path must begin with /dev/",
        )),
        _ => Err(Error::option(option, text, "want PATH:NUMBER")),
    }
}

/// `PATH:SIZE`.
pub(super) fn bytes(option: &str, texts: &[String]) -> Result<Vec<ThrottleDevice>> {
    texts
        .iter()
        .map(|text| {
            let (path, rate) = split(option, text)?;
            let rate = units::bytes(rate).map_err(|why| Error::option(option, text, why))?;
            Ok(ThrottleDevice {
                path: path.to_owned(),
                rate: rate.unsigned_abs(),
            })
        })
        .collect()
}

/// `PATH:NUMBER`.
pub(super) fn operations(option: &str, texts: &[String]) -> Result<Vec<ThrottleDevice>> {
    texts
        .iter()
        .map(|text| {
            let (path, rate) = split(option, text)?;
            let why = "the number must be a whole one, from 0 on";
            let rate = rate.parse().map_err(|_| Error::option(option, text, why))?;
            Ok(ThrottleDevice {
                path: path.to_owned(),
                rate,
            })
        })
        .collect()
}

/// `PATH:WEIGHT`.
pub(super) fn weights(option: &str, texts: &[String]) -> Result<Vec<WeightDevice>> {
    texts
        .iter()
        .map(|text| {
            let (path, weight) = split(option, text)?;
            let weight = weight
                .parse()
                .ok()
                .filter(|weight| *weight == 0 || (10..=1000).contains(weight))
                .ok_or_else(|| Error::option(option, text, "the weight must be 0 or 10 to 1000"))?;
            Ok(WeightDevice {
                path: path.to_owned(),
                weight,
            })
        })
        .collect()
}
