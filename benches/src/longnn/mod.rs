//! The experiments of `longnn`.
//!
//! | file | what |
//! |---|---|
//! | [`accuracy`] | LON-GNN and its baselines on a real graph (a column of the paper's table 1) |
//! | [`bases`] | the engine's bases against values with twice the digits, and the sign of JacobiConv's code |
//! | [`filters`] | known filters fitted to images, beside the least-squares floor |
//! | [`speed`] | epochs, and the sparse product beside sprs' and scipy's |

mod accuracy;
mod bases;
mod filters;
mod speed;

pub use accuracy::{Accuracy, AccuracyMetrics};
pub use bases::{Bases, BasesMetrics};
pub use filters::{FilterMetrics, Filters};
pub use speed::{Speed, SpeedMetrics};

use anyhow::Context;
use common::assets::find;
use common::command::store;
use common::progress::Progress;
use longnn::data::{self, catalogue};
use longnn::model::Problem;

const SYSTEM: &str = "longnn";

/// A known graph by its name, ready to be trained on.
fn problem(name: &str, progress: &Progress) -> anyhow::Result<Problem> {
    let set = catalogue::find(name).context("a known graph")?;
    let asset = find(set.asset).context("a registered file")?;
    let graph = data::read(&store(None).obtain(asset, progress)?)?;
    Ok(Problem::new(graph)?)
}
