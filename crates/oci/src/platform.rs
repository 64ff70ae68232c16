//! What an image runs on (image-spec, image-index.md), and choosing among several.
//!
//! Names, aliases and the order of preference are containerd's (`platforms` package), which is
//! what Docker's `--platform` follows.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::Serialize;

use crate::lenient;

/// An operating system and a processor, in Go's names (`linux`, `amd64`), normalised.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture, such as `amd64`.
    #[serde(default, deserialize_with = "lenient::null")]
    pub architecture: String,
    /// The operating system, such as `linux`.
    #[serde(default, deserialize_with = "lenient::null")]
    pub os: String,
    /// The version of the operating system; only Windows uses it.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// What the operating system must offer; only Windows uses it.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the processor, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// A part that is empty or has characters other than letters, digits, `_`, `.` and `-`.
    #[error("{text:?} is an invalid component of {platform:?}: must match [A-Za-z0-9_.-]+")]
    Component {
        /// The part.
        text: String,
        /// The whole text.
        platform: String,
    },
    /// One part alone that names neither an operating system nor a processor.
    #[error("{0:?}: unknown operating system or architecture, give it as os/architecture")]
    Unknown(String),
    /// More than three parts, or far too long a text.
    #[error("{0:?}: cannot parse platform specifier, give it as os[/architecture[/variant]]")]
    Format(String),
}

const KNOWN_OS: [&str; 16] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
];

const KNOWN_ARCHITECTURES: [&str; 24] = [
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// A platform of these two, normalised.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            ..Self::default()
        }
        .normalized()
    }

    /// The platform that this program runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new(std::env::consts::OS, architecture)
    }

    /// Parses `os`, `architecture`, `os/architecture` or `os/architecture/variant`; what is not
    /// said is the host's.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        if text.len() > 128 {
            return Err(PlatformError::Format(text.chars().take(128).collect()));
        }
        let parts: Vec<&str> = text.split('/').collect();
        for part in &parts {
            let valid = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
            if part.is_empty() || !part.bytes().all(valid) {
                return Err(PlatformError::Component {
                    text: (*part).into(),
                    platform: text.into(),
                });
            }
        }
        match parts.as_slice() {
            [one] => Self::parse_one(one),
            [os, architecture] => Ok(Self::new(os, architecture)),
            [os, architecture, variant] => Ok(Self {
                os: (*os).into(),
                architecture: (*architecture).into(),
                variant: Some((*variant).into()),
                ..Self::default()
            }
            .normalized()),
            _ => Err(PlatformError::Format(text.into())),
        }
    }

    fn parse_one(text: &str) -> Result<Self, PlatformError> {
        let host = Self::host();
        let os = normal_os(text);
        if KNOWN_OS.contains(&os.as_str()) {
            return Ok(Self { os, ..host });
        }
        let this = Self::new(&host.os, text);
        if KNOWN_ARCHITECTURES.contains(&this.architecture.as_str()) {
            return Ok(this);
        }
        Err(PlatformError::Unknown(text.into()))
    }

    /// With aliases replaced (`x86_64`, `aarch64`, `armhf`, `macos`) and default variants left out.
    pub fn normalized(&self) -> Self {
        let lower = |text: &Option<String>| {
            text.as_deref()
                .map(str::to_ascii_lowercase)
                .filter(|text| !text.is_empty())
        };
        let variant = lower(&self.variant);
        let architecture = self.architecture.to_ascii_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("i386" | "x86", _) => ("386", None),
            ("x86_64" | "x86-64" | "amd64", None | Some("v1" | "1")) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", Some(v)) => ("amd64", Some(v)),
            ("aarch64" | "arm64", None | Some("v8" | "8" | "v8.0")) => ("arm64", None),
            ("aarch64" | "arm64", Some(v)) => ("arm64", Some(v)),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (other, v) => (other, v),
        };
        Self {
            os: normal_os(&self.os),
            architecture: architecture.into(),
            variant: variant.map(str::to_owned),
            os_version: self.os_version.clone().filter(|v| !v.is_empty()),
            os_features: self.os_features.clone(),
        }
    }

    /// How well `candidate` serves who asked for `self`: 0 is exact, more is worse, `None` is not
    /// at all. Lower processor variants run on higher ones (`arm/v6` on `arm/v7`), 32-bit x86 and
    /// ARM programs on their 64-bit successors.
    pub fn rank(&self, candidate: &Self) -> Option<usize> {
        let want = self.normalized();
        let have = candidate.normalized();
        let version_fits = match (&want.os_version, &have.os_version) {
            (Some(want), Some(have)) => want == have,
            _ => true,
        };
        if want.os != have.os || !version_fits {
            return None;
        }
        want.fallbacks().iter().position(|(architecture, variant)| {
            *architecture == have.architecture && *variant == have.variant
        })
    }

    /// Whether `candidate` can serve who asked for `self`.
    pub fn matches(&self, candidate: &Self) -> bool {
        self.rank(candidate).is_some()
    }

    /// The index of the candidate that serves best, the first among equals. Candidates that don't
    /// say what they run on (`None`) are never chosen.
    pub fn choose<'a>(
        &self,
        candidates: impl IntoIterator<Item = Option<&'a Self>>,
    ) -> Option<usize> {
        candidates
            .into_iter()
            .enumerate()
            .filter_map(|(at, candidate)| Some((self.rank(candidate?)?, at)))
            .min()
            .map(|(_, at)| at)
    }

    /// What runs on a normalised platform, the best first.
    fn fallbacks(&self) -> Vec<(String, Option<String>)> {
        let of = |architecture: &str, variant: Option<String>| (architecture.to_owned(), variant);
        let mut list = vec![of(&self.architecture, self.variant.clone())];
        let level = self
            .variant
            .as_deref()
            .and_then(|v| v.strip_prefix('v'))
            .and_then(|v| v.parse::<u8>().ok());
        let arm_below = |top: u8| {
            (5..=top.min(8))
                .rev()
                .map(|n| of("arm", Some(format!("v{n}"))))
        };
        match self.architecture.as_str() {
            "amd64" => {
                let top = level.unwrap_or(1).min(8);
                list.extend((2..top).rev().map(|n| of("amd64", Some(format!("v{n}")))));
                if top > 1 {
                    list.push(of("amd64", None));
                }
                list.push(of("386", None));
            }
            "arm" => list.extend(
                level
                    .into_iter()
                    .flat_map(|n| arm_below(n.saturating_sub(1))),
            ),
            "arm64" => {
                if self.variant.is_some() {
                    list.push(of("arm64", None));
                }
                list.extend(arm_below(8));
            }
            _ => {}
        }
        list
    }
}

fn normal_os(os: &str) -> String {
    let os = os.to_ascii_lowercase();
    match os.as_str() {
        "" => Platform::host_os().into(),
        "macos" => "darwin".into(),
        _ => os,
    }
}

impl Platform {
    fn host_os() -> &'static str {
        match std::env::consts::OS {
            "macos" => "darwin",
            other => other,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::parse(text)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Platform::parse(text).unwrap().to_string()
    }

    #[test]
    fn aliases() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/s390x", "linux/s390x"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(parsed(text), normal, "{text}");
        }
    }

    #[test]
    fn one_part_takes_the_rest_from_the_host() {
        let host = Platform::host();
        assert_eq!(parsed("linux"), format!("linux/{}", &host.architecture));
        assert_eq!(parsed("arm64"), format!("{}/arm64", host.os));
        assert_eq!(parsed("armhf"), format!("{}/arm/v7", host.os));
        assert!(KNOWN_OS.contains(&host.os.as_str()));
        assert!(KNOWN_ARCHITECTURES.contains(&host.architecture.as_str()));
    }

    #[test]
    fn refusals() {
        for text in [
            "",
            "/",
            "linux/",
            "/amd64",
            "linux/amd64/v1/x",
            "foo",
            "*",
            "linux/&",
            "lin ux",
        ] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
        assert!(Platform::parse(&"a/".repeat(1000)).is_err());
    }

    #[test]
    fn preference() {
        let platforms = |list: &[&str]| -> Vec<Platform> {
            list.iter()
                .map(|text| Platform::parse(text).unwrap())
                .collect()
        };
        let choose = |want: &str, list: &[&str]| {
            let list = platforms(list);
            Platform::parse(want).unwrap().choose(list.iter().map(Some))
        };
        assert_eq!(
            choose("linux/amd64", &["linux/arm64", "linux/amd64"]),
            Some(1)
        );
        assert_eq!(choose("linux/amd64", &["linux/386"]), Some(0));
        assert_eq!(
            choose("linux/amd64", &["linux/386", "linux/amd64"]),
            Some(1)
        );
        assert_eq!(choose("linux/amd64", &["linux/amd64/v2"]), None);
        assert_eq!(
            choose("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]),
            Some(1)
        );
        assert_eq!(
            choose("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6"]),
            Some(1)
        );
        assert_eq!(
            choose("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"]),
            Some(1)
        );
        assert_eq!(
            choose("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"]),
            Some(1)
        );
        assert_eq!(choose("linux/arm64", &["linux/arm/v7"]), Some(0));
        assert_eq!(
            choose("linux/s390x", &["linux/amd64", "windows/s390x"]),
            None
        );
        assert_eq!(Platform::host().choose([None]), None);
    }

    #[test]
    fn json_names() {
        let text = r#"{"architecture":"arm","os":"linux","os.version":"1","os.features":["a"],"variant":"v7"}"#;
        let platform: Platform = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&platform).unwrap(), text);
        let bare: Platform =
            serde_json::from_str(r#"{"architecture":"amd64","os":"linux","os.features":null}"#)
                .unwrap();
        assert_eq!(bare, Platform::new("linux", "amd64"));
    }
}
