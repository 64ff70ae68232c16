//! Progress of long image operations: Docker's `JSONMessage`, one a line.

use serde::{Deserialize, Serialize};

use crate::human;
use crate::wire::is_default;

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressMessage {
    /// A line for the user, with its line end.
    #[serde(skip_serializing_if = "is_default")]
    pub stream: String,
    /// What happens.
    #[serde(skip_serializing_if = "is_default")]
    pub status: String,
    /// Numbers, where there are any; `{}` marks a line that is updated in place.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// The same as text.
    #[serde(skip_serializing_if = "is_default")]
    pub progress: String,
    /// What it is about.
    #[serde(skip_serializing_if = "is_default")]
    pub id: String,
    /// The error that ended it.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// The same as text.
    #[serde(skip_serializing_if = "is_default")]
    pub error: String,
    /// A machine-readable result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

/// Numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// Bytes done.
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    /// Bytes to do; 0 where not known.
    #[serde(skip_serializing_if = "is_default")]
    pub total: u64,
}

/// An error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    /// HTTP's status, where it has one.
    #[serde(skip_serializing_if = "is_default")]
    pub code: u16,
    /// Text.
    pub message: String,
}

impl ProgressMessage {
    /// The line that ends a failed operation.
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error: message.clone(),
            error_detail: Some(ErrorDetail { code: 0, message }),
            ..Self::default()
        }
    }
}

impl ProgressDetail {
    /// The bar and numbers, as drawn for a wide terminal.
    pub fn text(self) -> String {
        if self.current == 0 && self.total == 0 {
            return String::new();
        }
        if self.total == 0 {
            return format!("{:>8}", human::size(self.current));
        }
        let half = u128::from(self.current) * 50 / u128::from(self.total);
        let half = usize::try_from(half.min(50)).unwrap_or(50);
        let current = human::size(self.current);
        let numbers = if self.current > self.total {
            format!("{current:>8}")
        } else {
            format!("{current:>8}/{}", human::size(self.total))
        };
        format!("[{}>{}] {numbers}", "=".repeat(half), " ".repeat(50 - half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_dockers() {
        let detail = |current, total| ProgressDetail { current, total }.text();
        assert_eq!(detail(0, 0), "");
        assert_eq!(detail(1000, 0), "     1kB");
        assert_eq!(
            detail(500, 1000),
            "[=========================>                         ]     500B/1kB"
        );
        assert_eq!(
            detail(1000, 1000),
            "[==================================================>]      1kB/1kB"
        );
        assert!(detail(2000, 1000).ends_with("]      2kB"));
    }

    #[test]
    fn a_line_has_only_what_it_says() {
        let line = ProgressMessage {
            status: "Pulling fs layer".into(),
            progress_detail: Some(ProgressDetail::default()),
            id: "abc".into(),
            ..ProgressMessage::default()
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}"#
        );
        assert_eq!(
            serde_json::to_string(&ProgressMessage::failure("no")).unwrap(),
            r#"{"errorDetail":{"message":"no"},"error":"no"}"#
        );
    }
}
