//! Error answers of registries.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

use crate::error::Error;

/// An error answer, read within bounds (distribution-spec, "Error Codes").
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Such as `MANIFEST_UNKNOWN`.
    pub(crate) code: Option<String>,
    /// Docker's form, `manifest unknown: manifest unknown`.
    pub(crate) reason: String,
    pub(crate) retry_after: Option<Duration>,
}

/// Bytes of an error answer that are read at most.
pub(crate) const REFUSAL_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Option<Vec<Entry>>,
    #[serde(default)]
    details: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<serde_json::Value>,
}

fn string(value: Option<&serde_json::Value>) -> Option<String> {
    value?.as_str().map(clean).filter(|text| !text.is_empty())
}

impl Refusal {
    pub(crate) fn parse(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Self {
        let mut code = None;
        let mut message = None;
        if let Ok(body) = serde_json::from_slice::<Body>(body) {
            if let Some(entry) = body.errors.as_ref().and_then(|all| all.first()) {
                code = string(entry.code.as_ref());
                message = string(entry.message.as_ref());
            } else {
                message = string(body.details.as_ref()).or(string(body.message.as_ref()));
            }
        }
        let reason = match (&code, message) {
            (Some(code), Some(message)) => {
                format!("{}: {message}", code.to_lowercase().replace('_', " "))
            }
            (Some(code), None) => code.to_lowercase().replace('_', " "),
            (None, Some(message)) => message,
            (None, None) => status
                .canonical_reason()
                .unwrap_or("unknown status")
                .to_lowercase(),
        };
        Self {
            status,
            code,
            reason,
            retry_after,
        }
    }

    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// The error for a refusal that has no better name.
    pub(crate) fn into_error(self, host: &str) -> Error {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Error::RateLimited {
                reason: strip(&self.reason, "toomanyrequests: "),
                retry_after: self.retry_after,
            },
            StatusCode::UNAUTHORIZED => Error::Unauthorized {
                reason: strip(&self.reason, "unauthorized: "),
            },
            status => Error::Registry {
                host: host.to_owned(),
                status,
                reason: self.reason,
                retry_after: self.retry_after,
            },
        }
    }
}

fn strip(text: &str, prefix: &str) -> String {
    text.strip_prefix(prefix).unwrap_or(text).to_owned()
}

/// Makes text from outside fit for a message: one line, no control characters, not too long.
pub(crate) fn clean(text: &str) -> String {
    const LIMIT: usize = 500;
    let mut out = String::new();
    for c in text.trim().chars() {
        if out.len() >= LIMIT {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(status: u16, body: &str) -> String {
        Refusal::parse(StatusCode::from_u16(status).unwrap(), body.as_bytes(), None).reason
    }

    #[test]
    fn bodies_become_dockers_words() {
        assert_eq!(
            reason(
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#
            ),
            "manifest unknown: manifest unknown"
        );
        assert_eq!(
            reason(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#),
            "name unknown"
        );
        assert_eq!(
            reason(401, r#"{"details":"incorrect username"}"#),
            "incorrect username"
        );
        for hostile in [
            "",
            "<html>",
            "{",
            r#"{"errors":[]}"#,
            r#"{"errors":[{"code":7}]}"#,
        ] {
            assert_eq!(reason(503, hostile), "service unavailable", "{hostile}");
        }
        let long = format!(r#"{{"message":"a\u001b[31m{}"}}"#, "x".repeat(9000));
        let text = reason(500, &long);
        assert!(text.len() < 600 && !text.contains('\u{1b}'));
    }
}
