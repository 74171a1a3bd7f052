//! Filters fitted to images: how near LON-GNN's descent comes to the best filter of its degree.
//!
//! The experiment of BernNet, JacobiConv and LON-GNN (section 1.9 of the notes): 50 images, five known
//! filters, and a polynomial that has to do what they do. Papers compare models by the errors that
//! their descents end at. But the error is quadratic in the polynomial, so there is a floor below
//! which no model with one filter of this degree can get, and the closed form reaches it at once;
//! what a descent leaves above it is all that a basis can win or lose here.

mod descent;
mod published;

pub use descent::{Descended, Descent, StartingPoint};
pub use published::{PUBLISHED, PublishedFit};

use crate::data::images::GridImages;
use crate::filter::fit::{FilterFit, TargetFilter, fit_problems};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How filters are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterFitting {
    /// The first so many images; all of them if there are fewer.
    pub n_images: usize,
    /// Degree `K`.
    pub degree: usize,
    /// Steps of a descent at most.
    pub max_epochs: usize,
}

/// All images, degree 10, 1000 epochs: the papers'.
impl Default for FilterFitting {
    fn default() -> Self {
        Self { n_images: usize::MAX, degree: 10, max_epochs: Descent::default().max_epochs }
    }
}

/// One target over all images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedTarget {
    /// The filter to be found.
    pub target: TargetFilter,
    /// Mean over images of the smallest sum of squared errors that the degree allows.
    pub floor: f64,
    /// Mean over images of the part of the variance that the best filter explains.
    pub floor_r_squared: f64,
    /// Mean over images of the smallest sum of squared errors of LON-GNN's descent.
    pub descent: f64,
    /// Mean over images of the part of the variance that it explains.
    pub descent_r_squared: f64,
    /// `descent / floor`.
    pub ratio: f64,
    /// The largest such ratio of a single image.
    pub largest_ratio: f64,
    /// Mean number of epochs.
    pub epochs: f64,
    /// Where the exponents `(a, b)` started.
    pub start: (f64, f64),
    /// Mean over images of where they ended.
    pub end: (f64, f64),
    /// Mean over images of the descent's Chebyshev coefficients, `K + 1`.
    pub chebyshev: Vec<f64>,
}

impl FilterFitting {
    /// Fits every target on every image, in parallel; the result doesn't depend on the number of
    /// threads. `observe` is called after each image and target.
    ///
    /// # Errors
    /// If there are no images, or the degree doesn't suit them.
    pub fn run(self, images: &GridImages, observe: impl Fn() + Sync) -> Result<Vec<FittedTarget>> {
        let n_images = self.n_images.min(images.signals.n_features());
        for (setting, value) in [("images", n_images), ("epochs", self.max_epochs)] {
            if value == 0 {
                let problem = "0 of them can't be averaged".to_owned();
                return Err(Error::Setting { setting: setting.into(), problem });
            }
        }
        let signals = first_columns(images, n_images);
        let targets = &TargetFilter::ALL;
        let (adjacency, mask) = (&images.adjacency, &images.mask);
        let problems = fit_problems(adjacency, &signals, n_images, mask, targets, self.degree)?;
        let rows = targets.iter().zip(problems).map(|(&target, problems)| {
            let start = StartingPoint::published(target);
            let descent = Descent { max_epochs: self.max_epochs, ..Descent::default() };
            let descents: Vec<Descended> = problems
                .par_iter()
                .map(|problem| {
                    let descended = descent.run(problem, start);
                    observe();
                    descended
                })
                .collect::<Result<_>>()?;
            let floors: Vec<FilterFit> =
                problems.iter().map(|problem| problem.solution()).collect();
            Ok(FittedTarget::of(target, start, &floors, &descents))
        });
        rows.collect()
    }
}

impl FittedTarget {
    fn of(
        target: TargetFilter,
        start: StartingPoint,
        floors: &[FilterFit],
        descents: &[Descended],
    ) -> Self {
        let mean = |values: &dyn Fn(usize) -> f64| -> f64 {
            (0..floors.len()).map(values).sum::<f64>() / floors.len() as f64
        };
        let floor = mean(&|image| floors[image].squared_error);
        let descent = mean(&|image| descents[image].fit.squared_error);
        let ratio = |image: usize| descents[image].fit.squared_error / floors[image].squared_error;
        let coefficient = |k: usize| mean(&|image| descents[image].fit.coefficients[k]);
        Self {
            target,
            floor,
            floor_r_squared: mean(&|image| floors[image].r_squared),
            descent,
            descent_r_squared: mean(&|image| descents[image].fit.r_squared),
            ratio: descent / floor,
            largest_ratio: (0..floors.len()).map(ratio).fold(0.0, f64::max),
            epochs: mean(&|image| descents[image].epochs as f64),
            start: (start.a, start.b),
            end: (
                mean(&|image| descents[image].exponents.0),
                mean(&|image| descents[image].exponents.1),
            ),
            chebyshev: (0..floors[0].coefficients.len()).map(coefficient).collect(),
        }
    }
}

/// The first `n` images, one pixel a row.
fn first_columns(images: &GridImages, n: usize) -> Vec<f32> {
    let n_columns = images.signals.n_features();
    images.signals.values().chunks_exact(n_columns).flat_map(|row| &row[..n]).copied().collect()
}

#[cfg(test)]
mod tests;
