//! Filters fitted to images: LON-GNN's descent beside the floor that no filter of its degree can pass.

use super::SYSTEM;
use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::assets::find;
use common::command::store;
use common::progress::{Progress, Unit};
use common::report::Claim;
use longnn::data::catalogue::IMAGES_ASSET;
use longnn::data::images;
use longnn::experiment::fit_filters::{FilterFitting, FittedTarget, PUBLISHED};
use longnn::filter::fit::TargetFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Instant;

/// Images of the quick form; the full one takes all 50.
const QUICK_IMAGES: usize = 10;
/// The model whose row in the papers is the best, and the one that LON-GNN builds on.
const BEST_PUBLISHED: &str = "JacobiConv";

/// Known filters fitted to images.
pub struct Filters;

#[derive(Debug, Serialize, Deserialize)]
pub struct FilterMetrics {
    pub images: usize,
    /// For all fits, by descent and in closed form.
    pub seconds: f64,
    pub rows: Vec<FittedTarget>,
}

impl Experiment for Filters {
    type Metrics = FilterMetrics;

    fn name(&self) -> String {
        "longnn-filters".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(FilterMetrics, Value)> {
        let asset = find(IMAGES_ASSET).context("the images are registered")?;
        let images = images::read(&store(None).obtain(asset, progress)?)?;
        let n_images = images.signals.n_features().min(match size {
            Size::Quick => QUICK_IMAGES,
            Size::Full => usize::MAX,
        });
        let fitting = FilterFitting { n_images, ..FilterFitting::default() };
        let n_fits = (TargetFilter::ALL.len() * n_images) as u64;
        let bar = progress.bar("fit filters", Some(n_fits), Unit::Items("fits"));
        let clock = Instant::now();
        let rows = fitting.run(&images, || bar.advance(1))?;
        let metrics =
            FilterMetrics { images: n_images, seconds: clock.elapsed().as_secs_f64(), rows };
        bar.finish();
        let FilterFitting { degree, max_epochs, .. } = fitting;
        Ok((metrics, json!({ "images": n_images, "degree": degree, "max_epochs": max_epochs })))
    }

    fn judged(&self, metrics: &FilterMetrics) -> Vec<Claim> {
        let judged = |row: &FittedTarget| {
            let here = format!("{}, floor {}", short(row.descent), short(row.floor));
            claim(row.target).judged(here, row.ratio <= bound(row.target))
        };
        metrics.rows.iter().map(judged).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        TargetFilter::ALL.into_iter().map(claim).collect()
    }
}

/// How far above the floor a descent may end. Errors of low and high are so small that the last steps
/// of Adam show.
fn bound(target: TargetFilter) -> f64 {
    match target {
        TargetFilter::Low | TargetFilter::High => 1.3,
        TargetFilter::Band | TargetFilter::Rejection | TargetFilter::Comb => 1.01,
    }
}

fn claim(target: TargetFilter) -> Claim {
    let column = TargetFilter::ALL.iter().position(|other| *other == target);
    let row = PUBLISHED.iter().find(|row| row.model == BEST_PUBLISHED);
    let published = column.zip(row).map(|(column, row)| row.squared_errors[column]);
    Claim::of_paper(
        SYSTEM,
        format!(
            "{} filter on images: squared error within {} x the floor",
            target.name(),
            bound(target)
        ),
        published.map_or(String::new(), |error| format!("{BEST_PUBLISHED} {error}")),
    )
}

/// An error with the digits that the papers give, or three where that would be too few.
fn short(error: f64) -> String {
    if error < 0.01 { format!("{error:.2e}") } else { format!("{error:.4}") }
}
