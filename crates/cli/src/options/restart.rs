//! `--restart`.

use coracle_runtime::spec::RestartPolicy;

use crate::error::{Error, Result};

/// Reads `no`, `always`, `unless-stopped`, `on-failure[:MAX]`.
pub(crate) fn parse(text: &str) -> Result<RestartPolicy> {
    let refuse = |why: &str| Error::option("--restart", text, why);
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    if !matches!(name, "" | "no" | "always" | "unless-stopped" | "on-failure") {
        return Err(refuse(
            "want no, always, unless-stopped or on-failure[:MAX]",
        ));
    }
    let maximum_retry_count = match count {
        None => 0,
        Some(_) if name != "on-failure" => {
            return Err(refuse("a maximum goes with on-failure only"));
        }
        Some(count) => count
            .parse()
            .ok()
            .filter(|count| *count >= 0)
            .ok_or_else(|| refuse("the maximum retry count must be a number from 0 on"))?,
    };
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read() {
        let policy = parse("on-failure:3").unwrap();
        assert_eq!(
            (policy.name.as_str(), policy.maximum_retry_count),
            ("on-failure", 3)
        );
        for good in ["", "no", "always", "unless-stopped", "on-failure"] {
            assert_eq!(parse(good).unwrap().name, good);
        }
        for bad in [
            "never",
            "always:1",
            "on-failure:x",
            "on-failure:-1",
            "on-failure:",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
