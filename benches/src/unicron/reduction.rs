//! What the fixed tree of the reference trainer costs beside a plain ring: the price of the same bits whoever
//! computed what.

use crate::experiment::{Experiment, Size};
use anyhow::Context;
use common::progress::{Progress, Unit};
use common::report::Claim;
use common::statistics::median;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unicron::train::cost::{Case, Costs, measure};
use unicron::train::model::Layout;
use unicron::train::{Settings, Shape};

const REPLICAS: [usize; 4] = [2, 3, 4, 8];
const REPETITIONS: usize = 15;
const QUICK_REPETITIONS: usize = 1;

/// Tree against ring.
pub struct Reduction;

#[derive(Debug, Serialize, Deserialize)]
pub struct ReductionMetrics {
    /// Of the vector that is reduced.
    pub vector_bytes: u64,
    pub micro_batches: u32,
    pub rows: Vec<ReductionRow>,
}

/// A number of replicas, over TCP on this machine. Bytes are those of the replica that has the most.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReductionRow {
    pub replicas: usize,
    pub tree: Cost,
    pub ring: Cost,
    /// Whether the sum has the bits that one replica alone gets.
    pub tree_equals_one: bool,
    pub ring_equals_one: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Cost {
    pub sent_bytes: u64,
    pub held_bytes: u64,
    /// Median.
    pub ms: f64,
}

impl Experiment for Reduction {
    type Metrics = ReductionMetrics;

    fn name(&self) -> String {
        "unicron-reduction".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(ReductionMetrics, Value)> {
        let repetitions = match size {
            Size::Quick => QUICK_REPETITIONS,
            Size::Full => REPETITIONS,
        };
        let settings = Settings::of(Shape::SMALL);
        let numbers = Layout::new(&settings, 0).gradient_len();
        let bar = progress.bar("reduction", Some(REPLICAS.len() as u64), Unit::Items("sizes"));
        let mut rows = Vec::new();
        for members in REPLICAS {
            let (micro_batches, segments) = (settings.micro_batches, settings.segments);
            let case = Case { members, micro_batches, segments, numbers };
            let all = (0..repetitions).map(|_| measure(&case));
            rows.push(row(members, &all.collect::<Result<Vec<_>, _>>()?)?);
            bar.advance(1);
        }
        bar.finish();
        let configuration = json!({
            "preset": "small",
            "segments": settings.segments,
            "repetitions": repetitions,
        });
        let (vector_bytes, micro_batches) = (4 * numbers as u64, settings.micro_batches);
        Ok((ReductionMetrics { vector_bytes, micro_batches, rows }, configuration))
    }

    /// The paper sums in the order of its library.
    fn claims(&self) -> Vec<Claim> {
        Vec::new()
    }

    fn judged(&self, _: &ReductionMetrics) -> Vec<Claim> {
        Vec::new()
    }
}

fn row(replicas: usize, all: &[Costs]) -> anyhow::Result<ReductionRow> {
    let first = all.first().context("it is measured once at least")?;
    let cost = |of: fn(&Costs) -> &unicron::train::cost::Cost| {
        let times: Vec<f64> = all.iter().map(|costs| of(costs).milliseconds).collect();
        let ms = median(&times).unwrap_or(f64::NAN);
        Cost { sent_bytes: of(first).sent_bytes, held_bytes: of(first).held_bytes, ms }
    };
    Ok(ReductionRow {
        replicas,
        tree: cost(|costs| &costs.tree),
        ring: cost(|costs| &costs.ring),
        tree_equals_one: all.iter().all(|costs| costs.tree_equals_one),
        ring_equals_one: all.iter().all(|costs| costs.ring_equals_one),
    })
}
