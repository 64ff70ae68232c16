//! Images' configurations: as a container's, from a container's, and with Dockerfile instructions applied
//! (`commit --change`, `import --change`).

use std::collections::BTreeMap;

use coracle_oci::{ContainerConfig as ImageContainerConfig, Empty, ImageConfig};
use coracle_runtime::spec::{self, ContainerConfig};
use coracle_runtime::{Result, RuntimeError};
use serde::Deserialize;

/// A container's configuration as an image's.
pub fn image_config(config: &ContainerConfig) -> ImageContainerConfig {
    let set = |keys: Vec<&String>| -> BTreeMap<String, Empty> {
        keys.into_iter()
            .map(|key| (key.clone(), Empty {}))
            .collect()
    };
    ImageContainerConfig {
        user: config.user.clone(),
        exposed_ports: set(config.exposed_ports.keys().collect()),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone().map(|list| list.0),
        cmd: config.cmd.clone().map(|list| list.0),
        volumes: set(config.volumes.keys().collect()),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout,
        healthcheck: config
            .healthcheck
            .as_ref()
            .map(|check| coracle_oci::Healthcheck {
                test: check.test.clone(),
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: check.retries,
            }),
        on_build: config.on_build.clone(),
        shell: config.shell.clone(),
        ..Default::default()
    }
}

/// The container that an image was made of, by its id and as it was created. Others may have written anything.
pub fn made_of(image: &ImageConfig) -> (String, Option<Box<ContainerConfig>>) {
    let id = image.container.as_ref().and_then(|id| id.as_str());
    let created = image.container_config.as_ref();
    let created = created.and_then(|created| ContainerConfig::deserialize(created).ok());
    (id.unwrap_or_default().to_owned(), created.map(Box::new))
}

/// An image's defaults as a container's configuration.
pub fn container_config(image: &ImageConfig) -> ContainerConfig {
    let config = &image.config;
    let set = |keys: Vec<&String>| -> BTreeMap<String, spec::Empty> {
        keys.into_iter()
            .map(|key| (key.clone(), spec::Empty {}))
            .collect()
    };
    ContainerConfig {
        user: config.user.clone(),
        exposed_ports: set(config.exposed_ports.keys().collect()),
        env: config.env.clone(),
        cmd: config.cmd.clone().map(spec::StringOrList),
        healthcheck: config.healthcheck.as_ref().map(|check| spec::HealthConfig {
            test: check.test.clone(),
            interval: check.interval,
            timeout: check.timeout,
            retries: check.retries,
            start_period: check.start_period,
            start_interval: check.start_interval,
        }),
        volumes: set(config.volumes.keys().collect()),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone().map(spec::StringOrList),
        on_build: config.on_build.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        shell: config.shell.clone(),
        ..Default::default()
    }
}

/// Applies instructions, each a line.
pub fn apply(config: &mut ImageContainerConfig, lines: &[String]) -> Result<()> {
    for line in lines.iter().flat_map(|text| text.lines()).map(str::trim) {
        if !line.is_empty() {
            apply_one(config, line)?;
        }
    }
    Ok(())
}

fn apply_one(config: &mut ImageContainerConfig, line: &str) -> Result<()> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(invalid(line, "it has no argument"));
    }
    match name.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => {
            config.entrypoint = Some(command(rest));
            // A command that was there belonged to the old entry point.
            config.cmd = None;
        }
        "ENV" => {
            for (key, value) in pairs(line, rest)? {
                config
                    .env
                    .retain(|entry| entry.split('=').next() != Some(key.as_str()));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(line, rest)?),
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let (first, last, proto) = crate::check::exposed_port(port)
                    .map_err(|error| invalid(line, &error.to_string()))?;
                for number in first..=last {
                    config
                        .exposed_ports
                        .insert(format!("{number}/{proto}"), Empty {});
                }
            }
        }
        "ONBUILD" => config.on_build.push(rest.to_owned()),
        "STOPSIGNAL" => {
            coracle_runtime::signal::parse(rest)?;
            config.stop_signal = Some(rest.to_owned());
        }
        "USER" => rest.clone_into(&mut config.user),
        "VOLUME" => {
            let paths = match json_list(rest) {
                Some(list) => list,
                None => words(line, rest)?,
            };
            config
                .volumes
                .extend(paths.into_iter().map(|path| (path, Empty {})));
        }
        "WORKDIR" => {
            let path = std::path::Path::new("/")
                .join(&config.working_dir)
                .join(rest);
            config.working_dir = path.to_string_lossy().into_owned();
        }
        _ => {
            return Err(invalid(
                line,
                "only CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and \
                 WORKDIR can be changed",
            ));
        }
    }
    Ok(())
}

/// The exec form where it is one, else the shell form.
fn command(rest: &str) -> Vec<String> {
    json_list(rest).unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), rest.to_owned()])
}

fn json_list(rest: &str) -> Option<Vec<String>> {
    rest.starts_with('[')
        .then(|| serde_json::from_str(rest).ok())
        .flatten()
}

/// `key=value key="two words"`, or the old form `key value`.
fn pairs(line: &str, rest: &str) -> Result<Vec<(String, String)>> {
    let words = words(line, rest)?;
    let Some(first) = words.first() else {
        return Err(invalid(line, "it has no argument"));
    };
    if !first.contains('=') {
        let (key, value) = rest
            .split_once(char::is_whitespace)
            .ok_or_else(|| invalid(line, "it needs a key and a value"))?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(invalid(line, "it needs key=value")),
        })
        .collect()
}

/// Splits at spaces outside of quotes; a backslash keeps the next character.
fn words(line: &str, rest: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut begun = false;
    let mut quote = None;
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(chars.next().unwrap_or('\\'));
                begun = true;
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                begun = true;
            }
            (c, None) if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                    begun = false;
                }
            }
            (c, _) => {
                word.push(c);
                begun = true;
            }
        }
    }
    if quote.is_some() {
        return Err(invalid(line, "a quote is not closed"));
    }
    if begun {
        words.push(word);
    }
    Ok(words)
}

fn invalid(line: &str, why: &str) -> RuntimeError {
    RuntimeError::InvalidArgument(format!("invalid change {line:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(lines: &[&str]) -> Result<ImageContainerConfig> {
        let mut config = ImageContainerConfig {
            env: vec!["A=0".into()],
            ..Default::default()
        };
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        apply(&mut config, &lines)?;
        Ok(config)
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = applied(&[
            "CMD [\"a\", \"b\"]",
            "env A=1 B=\"two words\"",
            "LABEL x y z",
            "EXPOSE 80 90-91/udp",
            "WORKDIR /srv",
            "WORKDIR app",
            "VOLUME /data",
            "USER me",
        ])
        .unwrap();
        assert_eq!(config.cmd.unwrap(), ["a", "b"]);
        assert_eq!(config.env, ["A=1", "B=two words"]);
        assert_eq!(config.labels["x"], "y z");
        assert_eq!(config.exposed_ports.len(), 3);
        assert_eq!(config.working_dir, "/srv/app");
        assert!(config.volumes.contains_key("/data"));
        assert_eq!(config.user, "me");
    }

    #[test]
    fn shell_form_and_refusals() {
        assert_eq!(
            applied(&["CMD echo hi"]).unwrap().cmd.unwrap(),
            ["/bin/sh", "-c", "echo hi"]
        );
        for bad in [
            "RUN x",
            "CMD",
            "ENV =1",
            "LABEL \"a",
            "EXPOSE x",
            "STOPSIGNAL NOPE",
        ] {
            assert!(applied(&[bad]).is_err(), "{bad}");
        }
    }
}
