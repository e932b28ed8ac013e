//! Printing in a `--format`.

use anyhow::Result;
use docker_model::format::Rows;
use serde::Serialize;

pub(super) use docker_model::format::Format;

use super::table;

/// Prints the rows of a list, a line each, whatever is in a value.
///
/// # Errors
/// When a field does not exist.
pub(super) fn print(format: &Format, values: &[impl Serialize]) -> Result<()> {
    write(format, values, Rows::Lines)
}

/// Prints what is known of things that were named, whose values may have several lines.
///
/// # Errors
/// When a field does not exist.
pub(super) fn print_texts(format: &Format, values: &[impl Serialize]) -> Result<()> {
    write(format, values, Rows::Texts)
}

fn write(format: &Format, values: &[impl Serialize], rows: Rows) -> Result<()> {
    if let Some(headings) = format.headings() {
        let mut printed = table::table(&[]);
        printed.add_row(headings.split('\t'));
        for value in values {
            printed.add_row(format.text(value, Rows::Lines)?.split('\t'));
        }
        table::print(&printed);
        return Ok(());
    }
    for value in values {
        out!("{}\n", format.text(value, rows)?);
    }
    Ok(())
}
