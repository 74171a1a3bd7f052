//! Experiments: trainings that are kept, and comparisons made of them.
//!
//! | file | what |
//! |---|---|
//! | [`run_record`](RunRecord) | a training with its settings and learned filters, as JSON |
//! | [`summary`](Summary) | mean, spread and interval over seeds |

mod run_record;
mod summary;

pub use run_record::RunRecord;
pub use summary::Summary;
