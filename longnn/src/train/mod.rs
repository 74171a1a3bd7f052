//! Training: full batches, Adam, early stopping on validation (section 1.7 of the notes), many seeds
//! of one model side by side.
//!
//! | file | what |
//! |---|---|
//! | [`protocol`](Protocol) | when training stops, and how it is evaluated |
//! | [`run`](Job) | one seed: its network, optimiser and best epoch |
//! | [`side_by_side`](train) | the epochs of many runs as one sparse product |
//! | `joint` | the part of a step in which all runs are one |
//! | [`outcome`](Outcome) | what a run ends with |
//! | [`checkpoint`](Checkpoints) | runs that go on bit for bit after an interruption |

mod adam;
mod checkpoint;
mod joint;
mod optimizer;
mod outcome;
mod protocol;
mod run;
mod side_by_side;
#[cfg(test)]
mod tests;

pub use checkpoint::Checkpoints;
pub use outcome::{LearnedFilter, Outcome};
pub use protocol::{Evaluation, Protocol, SplitScheme};
pub use run::Job;
pub use side_by_side::{Observer, Silent, Status, train};
