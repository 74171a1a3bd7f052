//! The plot in a terminal: curves in Braille dots, the density as bars below.
//!
//! A Braille letter is a raster of two by four dots, so a curve has eight times as many points as the
//! terminal has letters.

use super::FilterPlot;
use crate::Result;
use crate::filter::frequencies;

/// The letters of the labels on the left, a space included.
const MARGIN: usize = 9;
/// Dots of a letter, by row and column; U+2800 is the empty one.
const DOTS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// ANSI's blue, red, green, magenta, cyan and yellow: nearest to the colours of the SVG.
const COLOURS: [u8; 6] = [34, 31, 32, 35, 36, 33];

/// How a terminal shows a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalStyle {
    /// Its width in letters; 24 to 400 are used.
    pub width: usize,
    /// Rows of the curves; 5 to 101 are used, and one more where there would be no middle.
    pub height: usize,
    /// Whether filters are told apart by ANSI colours.
    pub colour: bool,
}

/// 80 letters wide, without colours.
impl Default for TerminalStyle {
    fn default() -> Self {
        Self { width: 80, height: 15, colour: false }
    }
}

impl FilterPlot {
    /// The plot as lines of text, none wider than the terminal.
    ///
    /// # Errors
    /// As [`FilterPlot::check`].
    pub fn to_terminal(&self, style: TerminalStyle) -> Result<String> {
        self.check()?;
        let width = style.width.clamp(24, 400);
        let mut canvas = Canvas::new(width - MARGIN, style.height.clamp(5, 101) | 1);
        let (low, high) = self.draw_curves(&mut canvas);
        let mut lines = vec![clipped(&self.title, width)];
        for row in 0..canvas.height {
            // Three labels: at the top, in the middle and at the bottom.
            let label = [
                (0, high),
                (canvas.height / 2, f64::midpoint(low, high)),
                (canvas.height - 1, low),
            ];
            let label = label.iter().find(|(at, _)| *at == row);
            let label = label.map_or(String::new(), |&(_, value)| number(value));
            lines.push(format!("{label:>7} ┤{}", canvas.row(row, style.colour)));
        }
        if self.density_peak() > 0.0 {
            lines.push(format!("{:>7} │{}", "ρ(λ)", self.density_bars(canvas.width)));
        }
        lines.extend(frequency_axis(canvas.width));
        for (index, channel) in self.channels.iter().enumerate() {
            let sample = if style.colour { coloured("━━", index, true) } else { "-".into() };
            lines.push(format!("  {sample} {}", clipped(&channel.label, width - 5)));
        }
        let lines = lines.iter().map(|line| line.trim_end());
        Ok(lines.collect::<Vec<_>>().join("\n") + "\n")
    }

    /// Draws all filters to one scale and returns its ends; zero is always on it.
    fn draw_curves(&self, canvas: &mut Canvas) -> (f64, f64) {
        let n_columns = 2 * canvas.width;
        let values = self.values(&frequencies(n_columns));
        let (low, high) = values
            .iter()
            .flatten()
            .fold((0.0_f64, 0.0_f64), |(low, high), &value| (low.min(value), high.max(value)));
        let high = if low == high { 1.0 } else { high };
        let last_row = (4 * canvas.height - 1) as f64;
        for (channel, values) in values.iter().enumerate() {
            let mut before = None;
            for (column, value) in values.iter().enumerate() {
                // Halves first: the difference of the ends may not be finite.
                let part = (high / 2.0 - value / 2.0) / (high / 2.0 - low / 2.0);
                let row = (part * last_row).round() as usize;
                // A steep curve is joined by dots above one another.
                let from = before.unwrap_or(row);
                for row in from.min(row)..=from.max(row) {
                    canvas.set(column, row, channel);
                }
                before = Some(row);
            }
        }
        (low, high)
    }

    /// One bar for each column, as high as the density's largest value there.
    fn density_bars(&self, width: usize) -> String {
        let mut bars = vec![0.0_f64; width];
        for &(frequency, density) in &self.density {
            let column = (frequency / 2.0 * width as f64) as usize;
            let bar = &mut bars[column.min(width - 1)];
            *bar = bar.max(density);
        }
        let peak = self.density_peak();
        let level = |bar: &f64| BARS[(bar / peak * 8.0).ceil() as usize];
        bars.iter().map(level).collect()
    }
}

/// Letters of Braille dots, each with the last filter that crossed it.
struct Canvas {
    width: usize,
    height: usize,
    letters: Vec<(u8, usize)>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, letters: vec![(0, 0); width * height] }
    }

    fn set(&mut self, column: usize, row: usize, channel: usize) {
        let letter = &mut self.letters[row / 4 * self.width + column / 2];
        *letter = (letter.0 | DOTS[row % 4][column % 2], channel);
    }

    fn row(&self, row: usize, colour: bool) -> String {
        let letters = &self.letters[row * self.width..(row + 1) * self.width];
        let letter = |&(dots, channel): &(u8, usize)| {
            // U+2800 to U+28FF are the 256 patterns, so the arithmetic stays inside the block.
            let letter = char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ');
            match dots {
                0 => " ".to_owned(),
                _ => coloured(&letter.to_string(), channel, colour),
            }
        };
        letters.iter().map(letter).collect()
    }
}

/// The line under the plane with its marks, and their labels.
fn frequency_axis(width: usize) -> [String; 2] {
    let mut line = vec!['─'; width];
    let mut labels = vec![' '; width + 3];
    for (position, label) in ["0", "0.5", "1", "1.5", "2"].into_iter().enumerate() {
        let column = position * (width - 1) / 4;
        line[column] = '┴';
        let start = column.saturating_sub(label.len() / 2);
        for (offset, letter) in label.chars().enumerate() {
            labels[start + offset] = letter;
        }
    }
    let text = |letters: Vec<char>| letters.into_iter().collect::<String>();
    [format!("{:>7} └{}", "", text(line)), format!("{:>7}  {}", "λ", text(labels))]
}

/// A number in at most seven letters.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        1e-2..1e4 => format!("{value:.2}"),
        _ => format!("{value:.0e}"),
    }
}

fn coloured(text: &str, index: usize, colour: bool) -> String {
    if !colour {
        return text.into();
    }
    format!("\x1b[{}m{text}\x1b[0m", COLOURS[index % COLOURS.len()])
}

/// The text's first letters, without what would move the cursor or change colours.
fn clipped(text: &str, width: usize) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::plot;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_filters_over_a_density() {
        let style = TerminalStyle { width: 60, height: 9, colour: false };
        insta::assert_snapshot!(plot().to_terminal(style).unwrap(), @"
        cora, LON-GNN
           1.00 ┤⠉⠓⠲⠤⣄⣀           ⢀⣀⡤⠴⠒⠚⠉⠉⠉⠉⠉⠙⠒⠲⠤⣄⣀
                ┤     ⠈⠙⠒⠦⢤⣀⡀  ⣠⠴⠚⠉               ⠈⠙⠲⢤⡀
                ┤           ⣩⠽⠛⠧⢤⣀⡀                   ⠉⠳⢤⡀
                ┤        ⢀⡤⠞⠁     ⠉⠙⠲⠤⣄⣀                 ⠙⠦⣄
           0.50 ┤      ⢀⡴⠋             ⠈⠉⠓⠲⠤⣄⣀             ⠈⠳⣄
                ┤     ⣰⠋                     ⠈⠉⠓⠲⢤⣀⡀         ⠈⢳⡀
                ┤   ⣠⠞⠁                            ⠉⠙⠒⠦⢤⣀⡀     ⠙⢦⡀
                ┤ ⢀⡼⠁                                    ⠉⠙⠒⠦⢤⣀  ⠹⣄
              0 ┤⣠⠏                                           ⠈⠉⠓⠲⠬⣧
           ρ(λ) │      ▁▁▁▁▁▁▂▂▂▃▄▄▅▆▆▇▇█████▇▇▆▆▅▄▄▃▂▂▂▁▁▁▁▁▁
                └┴───────────┴────────────┴───────────┴────────────┴
              λ  0          0.5           1          1.5           2
          - theory
          - channel 1
        ");
    }

    #[test]
    fn colours_are_those_of_the_legend() {
        let style = TerminalStyle { colour: true, ..TerminalStyle::default() };
        let text = plot().to_terminal(style).unwrap();
        assert!(text.contains("\x1b[34m━━\x1b[0m theory"), "{text}");
        assert!(text.contains("\x1b[31m━━\x1b[0m channel 1"), "{text}");
    }

    #[test]
    fn a_label_cannot_steer_the_terminal() {
        let mut plot = plot();
        plot.channels[0].label = "\x1b[2Jgone".into();
        let text = plot.to_terminal(TerminalStyle::default()).unwrap();
        assert!(!text.contains('\x1b') && text.contains("[2Jgone"), "{text}");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            width in 24..200_usize,
            height in 0..40_usize,
            coefficients in prop::collection::vec(-1e299..1e299_f64, 1..12),
        ) {
            let mut plot = plot();
            plot.title = "x".repeat(300);
            plot.channels[0].coefficients = coefficients;
            let style = TerminalStyle { width, height, colour: false };
            let text = plot.to_terminal(style).unwrap();
            prop_assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
    }
}
