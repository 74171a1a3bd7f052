//! One table, three renderings: the terminal, Markdown and (in `html`) a page.

use std::fmt::Write as _;

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Align {
    /// For text.
    #[default]
    Left,
    /// For numbers.
    Right,
}

/// A table with one header row. Every row has as many cells as there are columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    headers: Vec<String>,
    aligns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    #[must_use]
    pub fn new(columns: &[(&str, Align)]) -> Self {
        Self {
            headers: columns.iter().map(|(header, _)| (*header).to_owned()).collect(),
            aligns: columns.iter().map(|&(_, align)| align).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If the row hasn't one cell a column: a table with a shifted row would be read wrongly.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.headers.len(), "a row has one cell a column");
        self.rows.push(cells);
        self
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    /// The columns' alignments.
    #[must_use]
    pub fn aligns(&self) -> &[Align] {
        &self.aligns
    }

    /// The rows.
    #[must_use]
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// The table for a terminal: columns two spaces apart, a rule below the headers.
    #[must_use]
    pub fn to_text(&self) -> String {
        let cell = |text: &str| one_line(text);
        let widths = self.widths(cell);
        let mut out = String::new();
        let line = |out: &mut String, cells: &[String]| {
            let padded: Vec<String> = self.padded(cells, &widths, cell).collect();
            out.push_str(padded.join("  ").trim_end());
            out.push('\n');
        };
        line(&mut out, &self.headers);
        let rules: Vec<String> = widths.iter().map(|&width| "─".repeat(width)).collect();
        line(&mut out, &rules);
        for row in &self.rows {
            line(&mut out, row);
        }
        out
    }

    /// The table in Markdown, its source aligned for reading; pipes in cells are escaped.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let cell = |text: &str| one_line(text).replace('|', "\\|");
        let widths = self.widths(cell);
        let mut out = String::new();
        let line = |out: &mut String, cells: &[String]| {
            for text in self.padded(cells, &widths, cell) {
                let _ = write!(out, "| {text} ");
            }
            out.push_str("|\n");
        };
        line(&mut out, &self.headers);
        for (&align, &width) in self.aligns.iter().zip(&widths) {
            let rule = "-".repeat(width.max(3) - 1);
            let _ = match align {
                Align::Left => write!(out, "| {rule}- "),
                Align::Right => write!(out, "| {rule}: "),
            };
        }
        out.push_str("|\n");
        for row in &self.rows {
            line(&mut out, row);
        }
        out
    }

    /// Width of every column in characters; at least 3, the shortest rule that Markdown knows.
    fn widths(&self, cell: impl Fn(&str) -> String) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]).chain([&self.headers[column]]);
            cells.map(|text| cell(text).chars().count()).max().unwrap_or(0).max(3)
        };
        (0..self.headers.len()).map(width).collect()
    }

    fn padded<'a>(
        &'a self,
        cells: &'a [String],
        widths: &'a [usize],
        cell: impl Fn(&str) -> String + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        cells.iter().zip(widths).zip(&self.aligns).map(move |((text, &width), align)| {
            let text = cell(text);
            match align {
                Align::Left => format!("{text:<width$}"),
                Align::Right => format!("{text:>width$}"),
            }
        })
    }
}

/// A cell is one line in text and Markdown alike; a break in it would end the row.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Table {
        let mut table = Table::new(&[("plan", Align::Left), ("bits", Align::Right)]);
        table.row(["1|2", "1.5"]).row(["float", "16"]);
        table
    }

    #[test]
    fn text_is_aligned() {
        assert_eq!(
            example().to_text(),
            "plan   bits\n\
             ─────  ────\n\
             1|2     1.5\n\
             float    16\n"
        );
    }

    #[test]
    fn markdown_is_aligned_and_escapes_pipes() {
        assert_eq!(
            example().to_markdown(),
            "| plan  | bits |\n\
             | ----- | ---: |\n\
             | 1\\|2  |  1.5 |\n\
             | float |   16 |\n"
        );
    }

    #[test]
    #[should_panic(expected = "one cell a column")]
    fn a_row_of_another_length_is_refused() {
        example().row(["only one"]);
    }

    proptest! {
        #[test]
        fn every_markdown_line_has_the_same_cells(
            cells in prop::collection::vec(prop::collection::vec(".{0,12}", 3), 0..6),
        ) {
            let mut table =
                Table::new(&[("a", Align::Left), ("b", Align::Right), ("c", Align::Left)]);
            for row in cells {
                table.row(row);
            }
            let markdown = table.to_markdown();
            prop_assert_eq!(markdown.lines().count(), table.rows().len() + 2);
            for line in markdown.split_terminator('\n') {
                let separators = line.replace("\\|", "").matches('|').count();
                prop_assert_eq!(separators, 4, "{}", line);
            }
        }
    }
}
