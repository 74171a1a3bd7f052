//! Criterion benches of unicron: `cargo bench -p benches --bench unicron`.
//!
//! | what | beside | file |
//! |---|---|---|
//! | a plan, and one event through the core | the paper's table, the greedy plan; solving | `plan` |
//! | what a coordinator does for its agents | what all of them ask of it in a second | `coordinator` |
//! | a day of the simulator | rivals in the same simulator | `simulate` |
//! | sums of gradients, by memory and by TCP | memory, a bare connection, a ring | `gradient` |
//! | a step, a line, a report through the detector | the paper's rule, a search for a word | `detect` |
//! | messages | other encodings of the same | `message` |
//!
//! Compare within one run only.

// A benchmark's driver, not a library; criterion's macros leave their functions undocumented.
#![allow(missing_docs, clippy::unwrap_used)]

mod cluster;
mod coordinator;
mod detect;
mod gradient;
mod message;
mod plan;
mod simulate;

use common::command::text_variable;
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

/// Set, it asks for the largest clusters, longest traces and all rivals: a quarter of an hour.
const WHOLE_MATRIX: &str = "UNICRON_BENCH_ALL";

fn is_whole() -> bool {
    text_variable(WHOLE_MATRIX).is_some()
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    targets = plan::solvers, plan::events, plan::tables, coordinator::brain, coordinator::metrics,
        simulate::days, gradient::sums, gradient::reductions, detect::steps, detect::lines,
        detect::stragglers, message::of_workers, message::of_agents, message::of_members
}
criterion_main!(benches);
