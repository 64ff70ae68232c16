//! Tables in Docker's layout: columns padded with spaces, three at least between two.

/// Least width of a column, padding included (what Docker's tab writer is set to).
const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Rows of cells.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    min_width: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            min_width: MIN_WIDTH,
        }
    }
}

impl Table {
    /// A table with a head.
    pub(crate) fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self::default();
        table.push(head);
        table
    }

    /// With columns at least this wide.
    pub(crate) fn with_min_width(self, min_width: usize) -> Self {
        Self { min_width, ..self }
    }

    /// Adds a row.
    pub(crate) fn push<S: Into<String>>(&mut self, row: impl IntoIterator<Item = S>) {
        // A cell with a line end would tear the table, one with an escape do anything to a terminal.
        let cell = |text: S| text.into().replace(char::is_control, " ");
        self.rows.push(row.into_iter().map(cell).collect());
    }

    /// The table as text.
    pub(crate) fn render(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            // The last cell of a row is not padded, so it does not count.
            for (at, cell) in row.iter().take(row.len().saturating_sub(1)).enumerate() {
                let width = (cell.chars().count() + PADDING).max(self.min_width);
                match widths.get_mut(at) {
                    Some(widest) => *widest = width.max(*widest),
                    None => widths.push(width),
                }
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            for (at, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if at < last {
                    let width = widths.get(at).copied().unwrap_or_default();
                    let gap = width.saturating_sub(cell.chars().count());
                    text.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_dockers() {
        let mut table = Table::new(["ID", "IMAGE", "NAMES"]);
        table.push(["0123456789ab", "a", "x\ny"]);
        assert_eq!(
            table.render(),
            "ID             IMAGE     NAMES\n0123456789ab   a         x y\n"
        );
    }
}
