//! Why a configuration has no specification.

/// Why a configuration has no specification. All but [`Shape`](Self::Shape) and
/// [`Device`](Self::Device) are the user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// An option that is not honoured here; with its name and why.
    #[error("{option} is not supported: {why}")]
    Unsupported {
        /// As the API calls it.
        option: &'static str,
        /// Why, or what to do instead.
        why: String,
    },
    /// A value that makes no sense; Docker's text where it has one.
    #[error("{0}")]
    Invalid(String),
    /// There is nothing to run.
    #[error("no command specified")]
    NoCommand,
    /// A device on the host could not be looked at.
    #[error("error gathering device information while adding custom device \"{path}\": {error}")]
    Device {
        /// Its path.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// `oci-spec` refused a structure that we made.
    #[error("cannot form a runtime specification: {0}")]
    Shape(#[source] serde_json::Error),
}

impl SpecError {
    pub(crate) fn unsupported(option: &'static str, why: impl Into<String>) -> Self {
        Self::Unsupported {
            option,
            why: why.into(),
        }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl From<SpecError> for coracle_runtime::RuntimeError {
    fn from(error: SpecError) -> Self {
        match error {
            SpecError::Shape(_) => Self::Internal(error.to_string()),
            _ => Self::InvalidArgument(error.to_string()),
        }
    }
}
