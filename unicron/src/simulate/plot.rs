//! WAF over time as a picture: momentary above, accumulated below, as the paper draws them (figures of
//! section 7.5, as remembered).

use common::report::{Axis, Plot, PlotError, Series, Svg};

/// Each point is the mean of so much of the duration: transitions of a minute show, files stay small.
const POINTS: usize = 400;
const DAY_S: f64 = 86_400.0;
const PETA: f64 = 1e15;
const ZETTA: f64 = 1e21;
const WIDTH: u32 = 960;
const HEIGHT: u32 = 400;

/// One policy's line: its label, and (seconds, WAF from then on).
pub type Line<'a> = (String, &'a [(f64, f64)]);

/// Draws both plots of one trace.
///
/// # Errors
/// If there is no line.
pub fn plot(title: &str, duration_s: f64, lines: &[Line<'_>]) -> Result<Svg, PlotError> {
    let day = || Axis::linear("day").range(0.0, duration_s / DAY_S);
    let momentary = format!("Momentary WAF on {title}");
    let accumulated = format!("Accumulated WAF on {title}");
    let mut momentary =
        Plot::new(momentary, day(), Axis::linear("WAF (PFLOP/s)")).size(WIDTH, HEIGHT);
    let mut accumulated =
        Plot::new(accumulated, day(), Axis::linear("accumulated WAF (ZFLOP)")).size(WIDTH, HEIGHT);
    for (label, series) in lines {
        let sums = integral(series, duration_s);
        let step_s = duration_s / POINTS as f64;
        let day_of = |index: usize| index as f64 * step_s / DAY_S;
        let means = sums.windows(2).enumerate();
        let means = means.map(|(at, ends)| {
            (day_of(at) + 0.5 * step_s / DAY_S, (ends[1] - ends[0]) / step_s / PETA)
        });
        let sums = sums.iter().enumerate().map(|(at, sum)| (day_of(at), sum / ZETTA));
        momentary = momentary.series(Series::new(label, means.collect()).without_markers());
        accumulated = accumulated.series(Series::new(label, sums.collect()).without_markers());
    }
    Ok(stack(&[momentary.to_svg()?, accumulated.to_svg()?]))
}

/// Pictures of the same size, one below the other.
#[must_use]
pub fn stack(pictures: &[Svg]) -> Svg {
    let mut body = String::new();
    let mut top = 0;
    for picture in pictures {
        let height = height_of(picture);
        body += &format!("<g transform=\"translate(0 {top})\">\n{}</g>\n", picture.as_str());
        top += height;
    }
    // All that is inside was made by plots, and the rest is here.
    Svg::trusted(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" \
         viewBox=\"0 0 {WIDTH} {top}\">\n{body}</svg>\n"
    ))
}

fn height_of(picture: &Svg) -> u32 {
    let after = picture.as_str().split_once("height=\"").map(|(_, after)| after);
    let digits = after.and_then(|after| after.split('"').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(HEIGHT)
}

/// The line with no more values than a plot has points: means from each point to the next. What was accumulated by
/// then is the same.
#[must_use]
pub fn thinned(series: &[(f64, f64)], duration_s: f64) -> Vec<(f64, f64)> {
    if series.len() <= POINTS {
        return series.to_vec();
    }
    let sums = integral(series, duration_s);
    let step_s = duration_s / POINTS as f64;
    let steps = sums.windows(2).enumerate();
    steps.map(|(at, ends)| (at as f64 * step_s, (ends[1] - ends[0]) / step_s)).collect()
}

/// The integral of a step function at `POINTS + 1` times from 0 to the end.
fn integral(series: &[(f64, f64)], duration_s: f64) -> Vec<f64> {
    let mut sums = Vec::with_capacity(POINTS + 1);
    let (mut sum, mut since_s, mut waf) = (0.0, 0.0, 0.0);
    let mut steps = series.iter().peekable();
    for point in 0..=POINTS {
        let now_s = duration_s * point as f64 / POINTS as f64;
        while let Some(&&(at_s, next)) = steps.peek().filter(|step| step.0 <= now_s) {
            sum += waf * (at_s - since_s);
            (since_s, waf) = (at_s, next);
            steps.next();
        }
        sum += waf * (now_s - since_s);
        since_s = now_s;
        sums.push(sum);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integral_is_that_of_the_steps() {
        let sums = integral(&[(0.0, 2.0), (100.0, 0.0), (150.0, 4.0)], 400.0);
        assert_eq!(sums.len(), POINTS + 1);
        assert_eq!((sums[0], sums[50], sums[120], sums[400]), (0.0, 100.0, 200.0, 1200.0));
    }

    #[test]
    fn a_thinned_line_accumulates_the_same() {
        let series: Vec<(f64, f64)> = (0..1000).map(|at| (0.4 * f64::from(at), 1.5)).collect();
        assert_eq!(thinned(&series[..2], 400.0), series[..2]);
        let series = [series, vec![(399.5, 0.0)]].concat();
        let thin = thinned(&series, 400.0);
        assert_eq!((thin.len(), thin[398], thin[399]), (POINTS, (398.0, 1.5), (399.0, 0.75)));
        for (before, after) in integral(&series, 400.0).iter().zip(integral(&thin, 400.0)) {
            assert!((before - after).abs() < 1e-9, "{before} {after}");
        }
    }

    #[test]
    fn both_plots_are_drawn_with_their_lines() {
        let line = [(0.0, 2e15), (DAY_S, 1e15)];
        let svg = plot("b <3>", 2.0 * DAY_S, &[("unicron".to_owned(), &line)]).unwrap();
        let text = svg.as_str();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        for part in ["Momentary", "Accumulated", "unicron", "PFLOP/s", "ZFLOP", "height=\"800\""] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("<3>"), "titles are escaped");
        assert!(plot("nothing", 1.0, &[]).is_err());
    }
}
