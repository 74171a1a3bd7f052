//! A table of parts as a heat map, as SVG: for pages and docs, light or dark.

use super::{Svg, escape};
use std::fmt::Write;

/// Parts of one by two quantities. Every cell is as full of colour as its part, and has it as text.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Read out by screen readers and shown on hovering.
    pub title: String,
    /// What the columns are, and each of them.
    pub columns: (String, Vec<String>),
    /// What the rows are, and each of them, from the top.
    pub rows: (String, Vec<String>),
    /// Between 0 and 1, `[rows][columns]`.
    pub parts: Vec<Vec<f64>>,
}

/// Pixels of a cell.
const CELL: (usize, usize) = (72, 36);
/// Pixels left of the cells and below.
const MARGIN: (usize, usize) = (96, 56);
/// Okabe and Ito's blue.
const COLOUR: &str = "#0072B2";

impl HeatMap {
    /// Draws it.
    #[must_use]
    pub fn to_svg(&self) -> Svg {
        let (n_columns, n_rows) = (self.columns.1.len(), self.rows.1.len());
        let (width, height) = (MARGIN.0 + n_columns * CELL.0 + 8, n_rows * CELL.1 + MARGIN.1 + 8);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" role=\"img\" width=\"{width}\" \
             height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
             font-size=\"14\" fill=\"currentColor\">\n<title>{}</title>\n<style>svg.plot {{ color: \
             #1f2328 }} @media (prefers-color-scheme: dark) {{ svg.plot {{ color: #e6e9ed }} }}\
             </style>\n",
            escape(&self.title)
        );
        let mut text = |x: usize, y: usize, anchor: &str, text: &str| {
            // Writing to a string can't fail.
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>",
                escape(text)
            );
        };
        let middle = |start: usize, size: usize| start + size / 2;
        for (at, column) in self.columns.1.iter().enumerate() {
            text(middle(MARGIN.0 + at * CELL.0, CELL.0), height - 38, "middle", column);
        }
        text(middle(MARGIN.0, n_columns * CELL.0), height - 12, "middle", &self.columns.0);
        for (at, row) in self.rows.1.iter().enumerate() {
            text(MARGIN.0 - 8, middle(8 + at * CELL.1, CELL.1) + 5, "end", row);
        }
        text(8, 18, "start", &self.rows.0);
        for (row, parts) in self.parts.iter().enumerate() {
            for (column, part) in parts.iter().enumerate() {
                let (x, y) = (MARGIN.0 + column * CELL.0, 8 + row * CELL.1);
                let (text_x, text_y) = (middle(x, CELL.0), middle(y, CELL.1) + 5);
                let opacity = 0.6 * part.clamp(0.0, 1.0);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"{COLOUR}\" \
                     fill-opacity=\"{opacity:.2}\"/>\n<text x=\"{text_x}\" y=\"{text_y}\" \
                     text-anchor=\"middle\">{part:.2}</text>",
                    CELL.0 - 2,
                    CELL.1 - 2
                );
            }
        }
        svg += "</svg>\n";
        Svg::trusted(svg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_drawn_with_its_part() {
        let map = HeatMap {
            title: "found & lost".to_owned(),
            columns: ("tokens".to_owned(), vec!["1024".to_owned(), "2048".to_owned()]),
            rows: ("depth".to_owned(), vec!["0 %".to_owned()]),
            parts: vec![vec![1.0, 0.25]],
        };
        let svg = map.to_svg().into_string();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("<title>found &amp; lost</title>"), "{svg}");
        assert_eq!(svg.matches("<rect").count(), 2);
        for shown in [">1024<", ">0 %<", ">1.00<", ">0.25<", "fill-opacity=\"0.60\""] {
            assert!(svg.contains(shown), "{shown}: {svg}");
        }
    }
}
