//! Experiments: trainings that are kept, and comparisons made of them.
//!
//! | file | what |
//! |---|---|
//! | [`run_record`](RunRecord) | a training with its settings and learned filters, as JSON |
//! | [`summary`](Summary) | mean, spread and interval over seeds |
//! | [`ledger`](Ledger) | a folder of finished seeds, which are never trained twice |
//! | [`published`] | what others report, and what their ± means |
//! | [`verdict`] | whether a result agrees with what it is held against |
//! | [`compare`] | rows of a comparison, LON-GNN against the best baseline seed by seed |
//! | [`fit_filters`] | known filters fitted to images, by descent and in closed form |
//! | [`search`] | a random search for settings, by validation nodes alone |
//! | [`settings_table`] | what it finds, put into a settings file |

pub mod compare;
pub mod fit_filters;
mod ledger;
pub mod published;
mod run_record;
pub mod search;
pub mod settings_table;
mod summary;
pub mod verdict;

pub use ledger::{Entry, Group, Ledger};
pub use run_record::RunRecord;
pub use summary::Summary;
