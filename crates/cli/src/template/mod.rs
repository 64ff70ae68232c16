//! Go's templates, as far as they are used in `--format`, over JSON values.
//!
//! Fields, variables, pipelines, `if`, `range`, `with`, and the functions of [`functions`]; anything
//! else is an error that names it.

mod eval;
mod functions;
mod lexer;
mod parser;
mod show;
mod syntax;

use serde_json::Value;

pub(crate) use show::show;

/// Why a template can't be read or filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: {0}")]
pub(crate) struct TemplateError(pub(crate) String);

impl From<TemplateError> for crate::error::Error {
    fn from(error: TemplateError) -> Self {
        Self::advice(
            error.to_string(),
            "fields are named as in `--format json`, for example --format '{{.ID}}'",
        )
    }
}

pub(crate) type Result<T> = std::result::Result<T, TemplateError>;

pub(crate) fn fail<T>(why: impl Into<String>) -> Result<T> {
    Err(TemplateError(why.into()))
}

/// A template that was read.
#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<syntax::Node>);

impl Template {
    /// Reads one. `\t` and `\n` outside of actions stand for what they stand for, as with Docker.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        parser::parse(lexer::lex(&text)?).map(Self)
    }

    /// Fills it in.
    pub(crate) fn render(&self, value: &Value) -> Result<String> {
        eval::render(&self.0, value)
    }
}

#[cfg(test)]
mod tests;
