//! `-p` and `--expose`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use coracle_runtime::spec::{Empty, PortBinding};

use super::pairs;
use crate::error::{Error, Result};

const PUBLISH: &str = "-p, --publish";

/// Exposed ports, and the host ends of the published.
pub(super) type Exposed = BTreeMap<String, Empty>;
pub(super) type Bindings = BTreeMap<String, Option<Vec<PortBinding>>>;

/// First and last.
type Range = (u16, u16);

/// Reads `[[IP:]HOST:]PORT[/PROTOCOL]`, with ranges, or `target=80,published=8080,protocol=tcp`.
pub(super) fn publish(specs: &[String]) -> Result<(Exposed, Bindings)> {
    let mut exposed = Exposed::new();
    let mut bindings = Bindings::new();
    for spec in specs {
        let short = if spec.contains('=') {
            from_long(spec)?
        } else {
            spec.clone()
        };
        for (port, binding) in one(&short).map_err(|why| Error::option(PUBLISH, spec, why))? {
            exposed.insert(port.clone(), Empty {});
            let ends = bindings.entry(port).or_default();
            ends.get_or_insert_default().push(binding);
        }
    }
    Ok((exposed, bindings))
}

/// Reads `PORT[-PORT][/PROTOCOL]`.
pub(super) fn expose(specs: &[String], exposed: &mut Exposed) -> Result<()> {
    for spec in specs {
        let refuse = |why: &str| Error::option("--expose", spec, why);
        if spec.contains(':') {
            return Err(refuse("want PORT[-PORT][/PROTOCOL]"));
        }
        let (port, protocol) = split_protocol(spec).map_err(|why| refuse(&why))?;
        let (first, last) = range(port).ok_or_else(|| refuse("the port is no number or range"))?;
        for port in first..=last {
            exposed.insert(format!("{port}/{protocol}"), Empty {});
        }
    }
    Ok(())
}

fn one(spec: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let parts: Vec<&str> = spec.rsplitn(3, ':').collect();
    let (container, host, ip) = match *parts.as_slice() {
        [container] => (container, "", ""),
        [container, host] => (container, host, ""),
        [container, host, ip] => (container, host, ip),
        _ => return Err("want [[IP:]HOST:]PORT[/PROTOCOL]".into()),
    };
    let ip = match ip.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .ok_or_else(|| format!("invalid IP address: {ip}"))?,
        None => ip,
    };
    if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {ip}"));
    }
    let (container, protocol) = split_protocol(container)?;
    if container.is_empty() {
        return Err("no port specified".into());
    }
    let (first, last) = range(container).ok_or(format!("invalid containerPort: {container}"))?;
    let host = match host {
        "" => None,
        text => Some(range(text).ok_or(format!("invalid hostPort: {text}"))?),
    };
    let dynamic = first == last;
    if let Some((host_first, host_last)) = host
        && host_last - host_first != last - first
        && !dynamic
    {
        return Err(format!(
            "invalid ranges specified for container and host Ports: {container} and \
             {host_first}-{host_last}"
        ));
    }
    let end = |port: u16| match host {
        None => String::new(),
        // One port inside, any one of a range outside.
        Some((from, to)) if dynamic && from != to => format!("{from}-{to}"),
        Some((from, _)) => (from + (port - first)).to_string(),
    };
    Ok((first..=last)
        .map(|port| {
            let binding = PortBinding {
                host_ip: ip.to_owned(),
                host_port: end(port),
            };
            (format!("{port}/{protocol}"), binding)
        })
        .collect())
}

fn split_protocol(text: &str) -> Result<(&str, String), String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    match protocol.as_str() {
        "" => Ok((port, "tcp".to_owned())),
        "tcp" | "udp" | "sctp" => Ok((port, protocol)),
        _ => Err(format!("invalid proto: {protocol}")),
    }
}

fn range(text: &str) -> Option<Range> {
    let number = |text: &str| text.parse::<u16>().ok();
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    (first <= last).then_some((first, last))
}

/// The long form, as the short one.
fn from_long(spec: &str) -> Result<String> {
    let refuse = |why: String| Error::option(PUBLISH, spec, why);
    let (mut target, mut published, mut protocol) = (String::new(), String::new(), "tcp".into());
    for field in pairs::fields(PUBLISH, spec)? {
        let (key, value) = pairs::split(&field);
        match key.to_ascii_lowercase().as_str() {
            "target" => value.clone_into(&mut target),
            "published" => value.clone_into(&mut published),
            "protocol" => protocol = value.to_owned(),
            "mode" if matches!(value, "ingress" | "host") => {}
            "mode" => return Err(refuse(format!("invalid publish mode value ({value})"))),
            _ => return Err(refuse(format!("invalid field key: {key}"))),
        }
    }
    if target.is_empty() {
        return Err(refuse("missing mandatory field \"target\"".into()));
    }
    Ok(if published.is_empty() {
        format!("{target}/{protocol}")
    } else {
        format!("{published}:{target}/{protocol}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every port with its host ends, as text.
    fn ends(spec: &str) -> String {
        let (_, bindings) = publish(&[spec.to_owned()]).unwrap();
        let shown: Vec<String> = bindings
            .iter()
            .map(|(port, ends)| {
                let ends = ends.as_deref().unwrap_or_default();
                let ends: Vec<String> = ends
                    .iter()
                    .map(|end| format!("{}:{}", end.host_ip, end.host_port))
                    .collect();
                format!("{port}={}", ends.join("+"))
            })
            .collect();
        shown.join(" ")
    }

    #[test]
    fn published_ports_are_read() {
        for (spec, expected) in [
            ("80", "80/tcp=:"),
            ("8080:80", "80/tcp=:8080"),
            ("8080:80/UDP", "80/udp=:8080"),
            ("127.0.0.1:8080:80", "80/tcp=127.0.0.1:8080"),
            ("127.0.0.1::80", "80/tcp=127.0.0.1:"),
            ("[::1]:8080:80", "80/tcp=::1:8080"),
            ("::1:8080:80", "80/tcp=::1:8080"),
            ("8000-8001:80-81", "80/tcp=:8000 81/tcp=:8001"),
            ("8000-8010:80", "80/tcp=:8000-8010"),
            ("80-81", "80/tcp=: 81/tcp=:"),
            ("target=80,published=8080,protocol=udp", "80/udp=:8080"),
            ("target=80", "80/tcp=:"),
        ] {
            assert_eq!(ends(spec), expected, "{spec}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for spec in [
            "",
            "x",
            "80:",
            "70000",
            "80/icmp",
            "81-80",
            "8000-8001:80-82",
            "1.2.3:80:80",
            "[::1:80:80",
            "published=80",
            "target=80,mode=x",
            "target=80,x=y",
        ] {
            let error = publish(&[spec.to_owned()]).unwrap_err().to_string();
            assert!(error.contains("--publish"), "{spec}: {error}");
        }
        for spec in ["", "x", "80:80", "81-80", "80/x"] {
            let refused = expose(&[spec.to_owned()], &mut Exposed::new());
            assert!(refused.is_err(), "{spec}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-z:./=,\\[\\]-]{0,20}") {
            let _ = publish(std::slice::from_ref(&text));
            let _ = expose(&[text], &mut Exposed::new());
        }
    }
}
