//! `longnn fit-filters`

use super::source::asset_of;
use crate::data::catalogue::IMAGES_ASSET;
use crate::data::images;
use crate::experiment::fit_filters::{FilterFitting, FittedTarget, PUBLISHED};
use clap::Args;
use common::command::{print, print_json, store};
use common::progress::{Progress, Unit};
use common::report::{Align, Table};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Fit five known filters on images: the best of the degree in closed form, and LON-GNN's descent
#[derive(Debug, Args)]
#[command(after_help = "\
Errors are sums of squares over an image's pixels, mean over the images. No model with one filter of
the degree can get below the floor.

Examples:
  longnn fit-filters
  longnn fit-filters --images 10 --degree 5 --json")]
pub struct FitFilters {
    /// The first so many images [default: all, 50]
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Degree of the filter
    #[arg(long, value_name = "K", default_value_t = FilterFitting::default().degree)]
    degree: usize,
    /// Epochs of a descent at most; it stops earlier after 200 without a smaller error
    #[arg(long, default_value_t = FilterFitting::default().max_epochs)]
    epochs: usize,
    /// The images [default: grid2d_images, in $RESEARCH_DATA, ../shared/data or the cache folder]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl FitFilters {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let progress = Progress::stderr();
        let path = match self.file {
            Some(path) => path,
            None => store(None).obtain(asset_of(IMAGES_ASSET), &progress)?,
        };
        let images = images::read(&path)?;
        let fitting = FilterFitting {
            n_images: self.images.unwrap_or(usize::MAX).min(images.signals.n_features()),
            degree: self.degree,
            max_epochs: self.epochs,
        };
        let n_fits = 5 * fitting.n_images as u64;
        let bar = progress.bar("fit filters", Some(n_fits), Unit::Items("fits"));
        let clock = Instant::now();
        let rows = fitting.run(&images, || bar.advance(1))?;
        let seconds = clock.elapsed().as_secs_f64();
        bar.finish();
        match self.json {
            true => print_json(&json!({
                "images": fitting.n_images,
                "degree": fitting.degree,
                "seconds": seconds,
                "rows": rows,
            })),
            false => print(&text(&rows, fitting, seconds)),
        }
    }
}

fn text(rows: &[FittedTarget], fitting: FilterFitting, seconds: f64) -> String {
    let right = |name| (name, Align::Right);
    let mut table = Table::new(&[
        ("filter", Align::Left),
        right("floor"),
        right("LON-GNN"),
        right("ratio"),
        right("worst image"),
        right("R²"),
        right("epochs"),
        right("a"),
        right("b"),
    ]);
    let moved = |start: f64, end: f64| format!("{start:.2} → {end:.3}");
    for row in rows {
        table.row([
            row.target.name().to_owned(),
            format!("{:.4e}", row.floor),
            format!("{:.4e}", row.descent),
            format!("{:.4}", row.ratio),
            format!("{:.4}", row.largest_ratio),
            format!("{:.6}", row.descent_r_squared),
            format!("{:.0}", row.epochs),
            moved(row.start.0, row.end.0),
            moved(row.start.1, row.end.1),
        ]);
    }
    let FilterFitting { n_images, degree, .. } = fitting;
    let title = format!("{} fits of degree {degree} on {n_images} images", rows.len() * n_images);
    let published = match (n_images, degree) {
        (50, 10) => published_text(rows),
        _ => String::new(),
    };
    format!("{title}, {seconds:.1} s\n\n{}{published}", table.to_text())
}

/// The papers' numbers, which are those of 50 images and degree 10.
fn published_text(rows: &[FittedTarget]) -> String {
    let names = rows.iter().map(|row| (row.target.name(), Align::Right));
    let columns: Vec<_> = [("published", Align::Left)].into_iter().chain(names).collect();
    let mut table = Table::new(&columns);
    for fit in PUBLISHED {
        let name = fit.model.to_owned() + if fit.confirmed { "" } else { " (from memory)" };
        let errors = fit.squared_errors.map(|error| format!("{error:.4}"));
        table.row([name].into_iter().chain(errors));
    }
    format!("\n{}", table.to_text())
}
