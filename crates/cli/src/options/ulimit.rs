//! `--ulimit`.

use coracle_runtime::spec::Ulimit;

use crate::error::{Error, Result};

/// setrlimit(2), in lower case.
const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `NAME=SOFT[:HARD]`.
pub(super) fn parse(text: &str) -> Result<Ulimit> {
    let refuse = |why: &str| Error::option("--ulimit", text, why);
    let (name, limits) = text
        .split_once('=')
        .ok_or_else(|| refuse("want NAME=SOFT[:HARD]"))?;
    if !NAMES.contains(&name) {
        return Err(refuse(&format!("invalid ulimit type: {name}")));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| {
        text.parse::<i64>()
            .ok()
            .filter(|number| *number >= -1)
            .ok_or_else(|| refuse("a limit is a number, or -1 for none"))
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(refuse(
            "the soft limit must be less than or equal to the hard limit",
        ));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let limit = parse("nofile=1024:2048").unwrap();
        assert_eq!((limit.soft, limit.hard), (1024, 2048));
        assert_eq!(parse("core=-1").unwrap().hard, -1);
        for bad in [
            "nofile",
            "nofile=",
            "x=1",
            "nofile=2:1",
            "nofile=-1:1",
            "nofile=1:2:3",
            "nofile=-2",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
