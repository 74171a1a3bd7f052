//! A trace as a picture: failures by day and severity, and the nodes that are away.

use super::{Day, Description};
use common::report::{Axis, Plot, Series};

/// Beyond so many days markers would cover the lines.
const MOST_MARKERS: usize = 31;

impl Description {
    /// The plot of the trace, day by day. A severity that doesn't occur has no line.
    #[must_use]
    pub fn plot(&self) -> Plot {
        let title = format!("Failures of {}", self.name);
        let plot =
            Plot::new(title, Axis::linear("day"), Axis::linear("failures a day, nodes away"));
        let count = |count: fn(&Day) -> usize| move |day: &Day| count(day) as f64;
        let plot = self.with_line(plot, "SEV1", count(|day| day.sev1));
        let plot = self.with_line(plot, "SEV2", count(|day| day.sev2));
        let plot = self.with_line(plot, "SEV3", count(|day| day.sev3));
        let plot = self.with_line(plot, "nodes away", |day| day.nodes_away);
        // A trace without failures is a line, too.
        match self.failures {
            0 => plot.series(Series::new("no failures", self.points(|_| 0.0)).without_markers()),
            _ => plot,
        }
    }

    fn with_line(&self, plot: Plot, label: &str, value: impl Fn(&Day) -> f64) -> Plot {
        let points = self.points(value);
        if points.iter().all(|(_, value)| *value == 0.0) {
            return plot;
        }
        let is_long = points.len() > MOST_MARKERS;
        let series = Series::new(label, points);
        plot.series(if is_long { series.without_markers() } else { series })
    }

    /// Days are counted from 1.
    fn points(&self, value: impl Fn(&Day) -> f64) -> Vec<(f64, f64)> {
        self.days.iter().enumerate().map(|(index, day)| ((index + 1) as f64, value(day))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::tests::small;
    use crate::trace::{Preset, PresetKind};

    #[test]
    fn every_trace_has_a_picture() {
        let trace = Preset { kind: PresetKind::B, seed: 0 }.generate().unwrap();
        let svg = Description::of(&trace).plot().to_svg().unwrap();
        for label in ["SEV1", "SEV2", "SEV3", "nodes away"] {
            assert!(svg.as_str().contains(label), "{label}");
        }
        let svg = Description::of(&small(&[(1.0, 0, None)])).plot().to_svg().unwrap();
        assert!(svg.as_str().contains("SEV1") && !svg.as_str().contains("SEV2"));
        assert!(Description::of(&small(&[])).plot().to_svg().is_ok());
    }
}
