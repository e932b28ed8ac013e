//! Columns that are aligned by spaces, and text, no wider than a terminal.

/// Rows of cells.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    /// Columns on the left that say what a row is about.
    keys: usize,
}

/// Spaces between two columns.
const GAP: usize = 2;

/// Least places of a cell whose text is broken into lines.
const NARROWEST: usize = 12;

impl Table {
    /// A table with these headings, the first one of what a row is about.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(ToString::to_string).collect()],
            keys: 1,
        }
    }

    /// So many columns say what a row is about.
    pub(crate) fn with_keys(mut self, keys: usize) -> Self {
        self.keys = keys;
        self
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table, without spaces at line ends. Where it would be wider than this it is several, below each other,
    /// each of which says what its rows are about; a cell that is too wide alone has several lines.
    pub(crate) fn text(&self, width: usize) -> String {
        let widths = self.widths();
        let keys: usize = widths.iter().take(self.keys).map(|width| width + GAP).sum();
        let room = width.saturating_sub(keys).max(NARROWEST);
        let columns = || widths.iter().enumerate().skip(self.keys);
        let mut parts: Vec<Vec<usize>> = vec![Vec::new()];
        let mut used = 0;
        for (column, width) in columns() {
            let width = (*width).min(room);
            let full = used > 0 && used + GAP + width > room;
            if full {
                parts.push(Vec::new());
                used = 0;
            }
            used += width + if used > 0 { GAP } else { 0 };
            if let Some(part) = parts.last_mut() {
                part.push(column);
            }
        }
        let texts = parts.iter().map(|part| self.part(part, room));
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Places that each column takes.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        widths
    }

    /// Some columns beside the keys; rows that have nothing in them are left out.
    fn part(&self, columns: &[usize], room: usize) -> String {
        let mut rows: Vec<Vec<Vec<String>>> = Vec::new();
        for row in &self.rows {
            let keys = row.iter().take(self.keys).map(|key| vec![key.clone()]);
            let cells: Vec<Vec<String>> = columns
                .iter()
                .map(|column| {
                    row.get(*column)
                        .map_or(Vec::new(), |cell| wrapped(cell, room))
                })
                .collect();
            if cells.iter().flatten().any(|line| !line.is_empty()) || columns.is_empty() {
                rows.push(keys.chain(cells).collect());
            }
        }
        let mut widths: Vec<usize> = Vec::new();
        for row in &rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                let longest = cell.iter().map(|line| line.chars().count()).max();
                *width = longest.unwrap_or(0).max(*width);
            }
        }
        let mut text = String::new();
        for row in &rows {
            for number in 0..row.iter().map(Vec::len).max().unwrap_or(0) {
                let mut line = String::new();
                for (width, cell) in widths.iter().zip(row) {
                    let cell = cell.get(number).map_or("", String::as_str);
                    line.push_str(cell);
                    line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + GAP));
                }
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        text
    }
}

/// A text in lines of at most so many places, broken between words where there are any.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    if text.chars().count() <= width {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        for (number, piece) in pieces(word, width).into_iter().enumerate() {
            let line = lines.last().map_or(0, |line| line.chars().count());
            let gap = usize::from(line > 0);
            if number > 0 || line + gap + piece.chars().count() > width {
                lines.push(String::new());
            } else if gap > 0
                && let Some(line) = lines.last_mut()
            {
                line.push(' ');
            }
            if let Some(line) = lines.last_mut() {
                line.push_str(&piece);
            }
        }
    }
    lines
}

/// A word in pieces that fit in a line.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    if letters.is_empty() {
        return vec![String::new()];
    }
    let pieces = letters.chunks(width.max(1));
    pieces.map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG", "C"]);
        table.row(["xx", "", "é"].map(String::from));
        assert_eq!(table.text(80), "A   LONG  C\nxx        é\n");
    }

    #[test]
    fn table_that_is_too_wide_becomes_several_with_their_keys() {
        let mut table = Table::new(&["STEP", "FIRST SYSTEM", "SECOND SYSTEM", "THIRD"]);
        table.row(["start", "1.00", "2.00", "3.00"].map(String::from));
        table.row(["end", "", "2.00", ""].map(String::from));
        assert_eq!(
            table.text(33),
            "STEP   FIRST SYSTEM\nstart  1.00\n\n\
             STEP   SECOND SYSTEM  THIRD\nstart  2.00           3.00\nend    2.00\n"
        );
    }

    #[test]
    fn nothing_is_wider_than_it_may_be() {
        let mut table = Table::new(&["QUESTION", "ONE", "TWO"]).with_keys(1);
        let long = "its own, 6.12.117-coracle, and a name-that-is-a-single-word-without-any-end";
        table.row(["kernel", long, "shared with the machine"].map(String::from));
        for width in [40, 60, 80] {
            let text = table.text(width);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width, "{width}: {text}");
            assert!(text.contains("6.12.117-coracle"), "{text}");
        }
    }

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
