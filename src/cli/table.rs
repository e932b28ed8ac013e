//! Tables as docker prints them: columns aligned by spaces, no lines.

use std::{borrow::Cow, iter};

use unicode_width::UnicodeWidthStr;

pub(super) use coracle_platform::size::{binary as binary_size, decimal as size};
use coracle_terminal::output::{self, Stream};

/// Spaces between two columns.
const GAP: usize = 2;

/// Rows of cells.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

/// A table with these headings, or none.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::default();
    if !headings.is_empty() {
        table.add_row(headings.iter().copied());
    }
    table
}

impl Table {
    /// Adds a row. A cell is one line, whatever is in it.
    pub(super) fn add_row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter().map(|cell| {
            let cell: String = cell.into();
            // Before it is measured.
            match output::clean_line(&cell) {
                Cow::Borrowed(_) => cell,
                Cow::Owned(safe) => safe,
            }
        });
        self.rows.push(cells.collect());
    }

    fn text(&self) -> String {
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = self::width(cell).max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            for (width, cell) in widths.iter().zip(row) {
                text.push_str(cell);
                text.extend(iter::repeat_n(' ', width - self::width(cell) + GAP));
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }
}

/// Places of a terminal that a cell takes.
fn width(cell: &str) -> usize {
    if cell.is_ascii() {
        cell.len()
    } else {
        cell.width()
    }
}

/// Prints a table, without spaces at line ends.
pub(super) fn print(table: &Table) {
    output::write(Stream::Output, &table.text());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = table(&["NAME", "LAST"]);
        table.add_row(["日本", "x"]);
        table.add_row(["a\nb\x1b[0m", ""]);
        assert_eq!(
            table.text(),
            "NAME        LAST\n日本        x\na b\\x1b[0m\n"
        );
    }

    #[test]
    fn table_of_nothing_prints_nothing() {
        assert_eq!(table(&[]).text(), "");
    }
}
