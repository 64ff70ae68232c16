//! `--format`: a table, JSON, YAML, or the user's own template; of rows that have names for cells.

use serde_json::{Map, Value};

use super::stdio::print;
use super::table::Table;
use super::yaml::yaml;
use crate::error::{Error, Result};
use crate::template::{Template, show};

/// A row's cells by name.
pub(crate) type Row = Map<String, Value>;

/// A row of these cells.
pub(crate) fn row<const N: usize>(cells: [(&str, Value); N]) -> Row {
    cells
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// A column of a table: the cell's name, and the title.
pub(crate) type Column = (&'static str, &'static str);

/// How to show rows.
pub(crate) enum Format {
    /// The default columns.
    Table,
    /// `table TEMPLATE`: columns of the user's, split at tabs.
    Columns {
        template: Template,
    },
    Json,
    Yaml,
    Template(Template),
}

impl Format {
    /// Reads the option; empty means a table.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        Ok(match text.trim() {
            "" | "table" => Self::Table,
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            text => match text.strip_prefix("table ") {
                Some(columns) => Self::Columns {
                    template: Template::parse(columns.trim())?,
                },
                None if text.contains("{{") => Self::Template(Template::parse(text)?),
                None => {
                    return Err(Error::advice(
                        format!("invalid argument {text:?} for --format"),
                        "formats are table, json, yaml, or a template such as '{{.ID}}'",
                    ));
                }
            },
        })
    }

    /// Whether it's for people.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Table | Self::Columns { .. })
    }

    /// Shows rows. `columns` are the default ones; `titles` those of further cells.
    pub(crate) fn show(&self, columns: &[Column], titles: &[Column], rows: Vec<Row>) -> Result<()> {
        print(&self.text(columns, titles, rows)?)
    }

    /// Rows as text.
    pub(crate) fn text(
        &self,
        columns: &[Column],
        titles: &[Column],
        rows: Vec<Row>,
    ) -> Result<String> {
        match self {
            Self::Table => {
                let mut table = Table::new(columns.iter().map(|(_, title)| *title));
                for row in rows {
                    table.push(columns.iter().map(|(name, _)| cell(&row, name)));
                }
                Ok(table.render())
            }
            Self::Columns { template } => {
                let head: Row = columns
                    .iter()
                    .chain(titles)
                    .map(|(name, title)| ((*name).to_owned(), Value::from(*title)))
                    .collect();
                let mut table = Table::default();
                for row in std::iter::once(head).chain(rows) {
                    let line = template.render(&Value::Object(row))?;
                    table.push(line.split('\t'));
                }
                Ok(table.render())
            }
            Self::Json => Ok(rows
                .into_iter()
                .map(|row| format!("{}\n", Value::Object(row)))
                .collect()),
            Self::Yaml => Ok(yaml(&rows.into_iter().map(Value::Object).collect())),
            Self::Template(template) => rows
                .into_iter()
                .map(|row| Ok(template.render(&Value::Object(row))? + "\n"))
                .collect(),
        }
    }

    /// Shows one value, which is shown by `table` where a table is asked for.
    pub(crate) fn show_value(&self, value: &Value, table: impl FnOnce() -> String) -> Result<()> {
        let text = match self {
            Self::Table => table(),
            Self::Json => format!("{value}\n"),
            Self::Yaml => yaml(value),
            Self::Columns { template } | Self::Template(template) => template.render(value)? + "\n",
        };
        print(&text)
    }
}

fn cell(row: &Row, name: &str) -> String {
    row.get(name).map(show).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        vec![
            row([("ID", "1".into()), ("Names", "a".into())]),
            row([("ID", "2".into()), ("Names", "b".into())]),
        ]
    }

    #[test]
    fn rows_in_every_format() {
        let columns = [("ID", "CONTAINER ID"), ("Names", "NAMES")];
        for (format, expected) in [
            (
                "",
                "CONTAINER ID   NAMES\n1              a\n2              b\n",
            ),
            (
                "table {{.Names}}\\t{{.ID}}",
                "NAMES     CONTAINER ID\na         1\nb         2\n",
            ),
            (
                "json",
                "{\"ID\":\"1\",\"Names\":\"a\"}\n{\"ID\":\"2\",\"Names\":\"b\"}\n",
            ),
            ("yaml", "- ID: \"1\"\n  Names: a\n- ID: \"2\"\n  Names: b\n"),
            ("{{.ID}}/{{.Names}}", "1/a\n2/b\n"),
        ] {
            let format = Format::parse(format).unwrap();
            assert_eq!(format.text(&columns, &[], rows()).unwrap(), expected);
        }
        assert!(Format::parse("tabel").is_err());
        assert!(Format::parse("{{.X").is_err());
    }
}
