//! Devices of the host.

use clap::Args;
use coracle_docker::container::CreateBody;
use coracle_runtime::spec::{DeviceMapping, DeviceRequest};

use super::pairs;
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(next_help_heading = "Devices")]
pub(super) struct DeviceOptions {
    /// Device of the host: PATH[:PATH_INSIDE][:rwm], or VENDOR/CLASS=NAME
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
    /// Rule for devices: c 1:3 rwm
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
    /// GPUs: all, a number, or driver=…,count=…,device=…,capabilities=…
    #[arg(long, value_name = "GPUS")]
    gpus: Vec<String>,
}

impl DeviceOptions {
    pub(super) fn apply(&self, body: &mut CreateBody) -> Result<()> {
        let host = &mut body.host_config;
        let mut by_name = Vec::new();
        for text in &self.device {
            if is_qualified_name(text) {
                by_name.push(text.clone());
            } else {
                host.devices.push(device(text)?);
            }
        }
        for text in &self.gpus {
            host.device_requests.push(gpus(text)?);
        }
        if !by_name.is_empty() {
            host.device_requests.push(DeviceRequest {
                driver: "cdi".to_owned(),
                device_ids: by_name,
                ..DeviceRequest::default()
            });
        }
        for rule in &self.device_cgroup_rule {
            check_rule(rule)?;
        }
        host.device_cgroup_rules
            .clone_from(&self.device_cgroup_rule);
        Ok(())
    }
}

/// `vendor/class=name`, as the Container Device Interface has it.
fn is_qualified_name(text: &str) -> bool {
    !text.starts_with('/')
        && text
            .split_once('=')
            .is_some_and(|(kind, name)| kind.contains('/') && !name.is_empty())
}

fn is_permissions(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 3
        && text.chars().all(|c| matches!(c, 'r' | 'w' | 'm'))
        && !["r", "w", "m"].iter().any(|c| text.matches(c).count() > 1)
}

fn device(text: &str) -> Result<DeviceMapping> {
    let refuse = |why: &str| Error::option("--device", text, why);
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, permissions) = match *parts.as_slice() {
        [host] => (host, host, "rwm"),
        [host, permissions] if is_permissions(permissions) => (host, host, permissions),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, permissions] if is_permissions(permissions) => (host, inside, permissions),
        [_, _, _] => return Err(refuse("bad mode specified: want any of r, w and m")),
        _ => return Err(refuse("want PATH[:PATH_INSIDE][:rwm]")),
    };
    if host.is_empty() || inside.is_empty() {
        return Err(refuse("bad format for path"));
    }
    if !inside.starts_with('/') {
        return Err(refuse(&format!("{inside} is not an absolute path")));
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: inside.to_owned(),
        cgroup_permissions: permissions.to_owned(),
    })
}

/// `TYPE MAJOR:MINOR PERMISSIONS`.
fn check_rule(text: &str) -> Result<()> {
    let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
    let parts: Vec<&str> = text.split(' ').collect();
    let good = match parts.as_slice() {
        [kind, device, permissions] => {
            matches!(*kind, "a" | "b" | "c")
                && device
                    .split_once(':')
                    .is_some_and(|(major, minor)| number(major) && number(minor))
                && is_permissions(permissions)
        }
        _ => false,
    };
    if good {
        return Ok(());
    }
    let why = "invalid device cgroup format: want TYPE MAJOR:MINOR PERMISSIONS, such as c 1:3 rwm";
    Err(Error::option("--device-cgroup-rule", text, why))
}

fn gpus(text: &str) -> Result<DeviceRequest> {
    const OPTION: &str = "--gpus";
    let refuse = |why: &str| Error::option(OPTION, text, why);
    let count = |value: &str| match value {
        "all" => Ok(-1),
        value => value.parse().map_err(|_| refuse("the count is no number")),
    };
    let list = |value: &str| value.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut request = DeviceRequest::default();
    let mut counted = false;
    let mut capabilities = Vec::new();
    for field in pairs::fields(OPTION, text)? {
        let Some((key, value)) = field.split_once('=') else {
            request.count = count(&field)?;
            counted = true;
            continue;
        };
        match key {
            "driver" => value.clone_into(&mut request.driver),
            "count" => {
                request.count = count(value)?;
                counted = true;
            }
            "device" => request.device_ids = list(value),
            "capabilities" => capabilities = list(value),
            "options" => {
                request.options = pairs::parse(OPTION, &list(value))?;
            }
            _ => return Err(refuse(&format!("unexpected key {key:?}"))),
        }
    }
    if !counted && request.device_ids.is_empty() {
        request.count = 1;
    }
    if !capabilities.iter().any(|own| own == "gpu") {
        capabilities.push("gpu".to_owned());
    }
    request.capabilities = vec![capabilities];
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        for (text, expected) in [
            ("/dev/null", "/dev/null /dev/null rwm"),
            ("/dev/null:r", "/dev/null /dev/null r"),
            ("/dev/null:/dev/x", "/dev/null /dev/x rwm"),
            ("/dev/null:/dev/x:rw", "/dev/null /dev/x rw"),
        ] {
            let found = device(text).unwrap();
            let shown = format!(
                "{} {} {}",
                found.path_on_host, found.path_in_container, found.cgroup_permissions
            );
            assert_eq!(shown, expected);
        }
        for bad in ["", ":/x", "/a:/b:x", "/a:b", "/a:/b:rw:x", "/a:/b:rr"] {
            assert!(device(bad).is_err(), "{bad}");
        }
        assert!(is_qualified_name("vendor.com/class=x"));
        assert!(!is_qualified_name("/dev/a=b"));
    }

    #[test]
    fn rules_are_checked() {
        for good in ["c 1:3 rwm", "a *:* m", "b 8:* r"] {
            assert!(check_rule(good).is_ok(), "{good}");
        }
        for bad in ["", "x 1:3 r", "c 1 r", "c 1:3", "c 1:3 x"] {
            assert!(check_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn gpus_are_read() {
        assert_eq!(gpus("all").unwrap().count, -1);
        assert_eq!(gpus("2").unwrap().count, 2);
        let request = gpus("\"device=1,2\",capabilities=utility").unwrap();
        assert_eq!(request.device_ids, ["1", "2"]);
        assert_eq!(request.capabilities, [["utility", "gpu"]]);
        assert!(gpus("x").is_err());
    }
}
