//! What is shown, and how.

mod format;
mod json;
mod numbers;
mod progress;
mod stdio;
mod style;
mod table;
mod times;
mod yaml;

pub(crate) use format::{Column, Format, Row, row};
pub(crate) use json::indent;
pub(crate) use numbers::{percent, short_id};
pub(crate) use progress::Progress;
pub(crate) use stdio::{Output, harmless, print, warn};
pub(crate) use style::Style;
pub(crate) use table::Table;
pub(crate) use times::{ago, created_at, iso, local};
pub(crate) use yaml::yaml;
