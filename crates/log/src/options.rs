//! Docker's `--log-opt`s.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::Driver;
use crate::config::LogConfig;
use crate::config::OptionError;

/// `local`'s size of a file if nothing is said: 20 MiB.
const LOCAL_MAX_SIZE: u64 = 20 << 20;
/// `local`'s number of files if nothing is said.
const LOCAL_MAX_FILE: u32 = 5;

impl Driver {
    /// The driver of that name. The empty name is the default, `json-file`.
    pub fn from_name(name: &str) -> Result<Self, OptionError> {
        match name {
            "" | "json-file" => Ok(Self::JsonFile),
            "local" => Ok(Self::Local),
            "none" => Ok(Self::None),
            other => Err(OptionError::Driver(other.to_owned())),
        }
    }
}

impl LogConfig {
    /// Reads Docker's options for `driver`: `max-size`, `max-file` and `compress`, and of
    /// `json-file` also `labels`, `env` and `tag`.
    ///
    /// `labels` and `env` are the container's; the options of that name pick from them.
    /// `tag` is taken as it is: templates in it are for the caller to expand. Options that
    /// can't be honoured (`labels-regex`, `env-regex`, `mode=non-blocking`) are refused by
    /// name.
    pub fn parse<'a>(
        driver: Driver,
        path: PathBuf,
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
        labels: impl Fn(&str) -> Option<String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, OptionError> {
        let mut max_size = None;
        let mut max_file = None;
        let mut compress = None;
        let mut attrs = BTreeMap::new();
        let pick = |names: &str, from: &dyn Fn(&str) -> Option<String>| {
            let names = names
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            names
                .filter_map(|name| Some((name.to_owned(), from(name)?)))
                .collect::<Vec<_>>()
        };
        for (option, value) in options {
            match (driver, option) {
                (Driver::JsonFile | Driver::Local, "max-size") => max_size = Some(size(value)?),
                (Driver::JsonFile | Driver::Local, "max-file") => max_file = Some(count(value)?),
                (Driver::JsonFile | Driver::Local, "compress") => {
                    compress = Some(boolean(value)?);
                }
                (_, "mode") if value == "blocking" => {}
                (Driver::JsonFile, "labels") => attrs.extend(pick(value, &labels)),
                (Driver::JsonFile, "env") => attrs.extend(pick(value, &env)),
                (Driver::JsonFile, "tag") if value.is_empty() => {}
                (Driver::JsonFile, "tag") => {
                    attrs.insert("tag".to_owned(), value.to_owned());
                }
                _ => {
                    let option = option.to_owned();
                    return Err(OptionError::Unknown {
                        driver: driver.name(),
                        option,
                    });
                }
            }
        }
        let local = driver == Driver::Local;
        let max_file = max_file.unwrap_or(if local { LOCAL_MAX_FILE } else { 1 });
        let max_size = max_size.or(local.then_some(LOCAL_MAX_SIZE));
        if compress == Some(true) && (max_file < 2 || max_size.is_none()) {
            return Err(OptionError::Compress);
        }
        let compress = compress.unwrap_or(local && max_file > 1);
        Ok(Self {
            driver,
            path,
            max_size,
            max_file,
            compress,
            attrs,
        })
    }
}

/// A size in bytes, with a unit as `docker/go-units` reads it: powers of 1000.
fn size(value: &str) -> Result<u64, OptionError> {
    let bad = |reason| OptionError::Value {
        option: "max-size",
        value: value.to_owned(),
        reason,
    };
    let split = value
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let number: f64 = number.parse().map_err(|_| bad("not a size, such as 10m"))?;
    let factor = match unit.trim().to_ascii_lowercase().trim_end_matches('b') {
        "" => 1e0,
        "k" => 1e3,
        "m" => 1e6,
        "g" => 1e9,
        "t" => 1e12,
        "p" => 1e15,
        _ => return Err(bad("unknown unit, use k, m or g")),
    };
    let bytes = number * factor;
    if (1.0..1e18).contains(&bytes) {
        Ok(bytes as u64)
    } else {
        Err(bad("max-size must be a positive number"))
    }
}

fn count(value: &str) -> Result<u32, OptionError> {
    let bad = |reason| OptionError::Value {
        option: "max-file",
        value: value.to_owned(),
        reason,
    };
    match value.parse() {
        Ok(0) => Err(bad("max-file cannot be less than 1")),
        Ok(count @ 1..=1000) => Ok(count),
        Ok(_) => Err(bad("max-file cannot be more than 1000")),
        Err(_) => Err(bad("not a number")),
    }
}

/// As Go's `strconv.ParseBool`.
fn boolean(value: &str) -> Result<bool, OptionError> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(OptionError::Value {
            option: "compress",
            value: value.to_owned(),
            reason: "not true or false",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: &str, options: &[(&str, &str)]) -> Result<LogConfig, OptionError> {
        let from = |name: &str| (name != "missing").then(|| format!("<{name}>"));
        let options = options.iter().copied();
        LogConfig::parse(Driver::from_name(driver)?, "x".into(), options, from, from)
    }

    #[test]
    fn defaults_are_dockers() {
        let json = parse("", &[]).unwrap();
        assert_eq!(
            (json.driver, json.max_size, json.max_file),
            (Driver::JsonFile, None, 1)
        );
        assert!(!json.compress);
        let local = parse("local", &[]).unwrap();
        assert_eq!((local.max_size, local.max_file), (Some(20 << 20), 5));
        assert!(local.compress);
    }

    #[test]
    fn options() {
        let opts = [
            ("max-size", "1.5m"),
            ("max-file", "3"),
            ("compress", "true"),
        ];
        let config = parse("json-file", &opts).unwrap();
        assert_eq!((config.max_size, config.max_file), (Some(1_500_000), 3));
        assert!(config.compress);
        let opts = [
            ("labels", "a,missing, b"),
            ("env", "c"),
            ("tag", "t"),
            ("mode", "blocking"),
        ];
        let attrs = parse("json-file", &opts).unwrap().attrs;
        let pairs: Vec<_> = attrs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(pairs, ["a=<a>", "b=<b>", "c=<c>", "tag=t"]);
    }

    #[test]
    fn what_cant_be_honoured_is_refused() {
        for (driver, option, value) in [
            ("json-file", "max-size", "-1"),
            ("json-file", "max-size", "0"),
            ("json-file", "max-size", "1x"),
            ("json-file", "max-size", ""),
            ("json-file", "max-file", "0"),
            ("json-file", "max-file", "a"),
            ("json-file", "compress", "true"),
            ("local", "compress", "maybe"),
            ("json-file", "mode", "non-blocking"),
            ("json-file", "labels-regex", "x"),
            ("local", "labels", "x"),
            ("none", "max-size", "1"),
            ("syslog", "a", "b"),
        ] {
            let error = parse(driver, &[(option, value)]).unwrap_err();
            assert!(!error.to_string().is_empty(), "{driver} {option}={value}");
        }
    }
}
