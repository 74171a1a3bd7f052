//! A cluster with concurrent tasks, driven by a trace of failures, under Unicron's core and under the
//! policies that it is compared with (section 7 of the paper).
//!
//! | what | file |
//! |---|---|
//! | cluster, tasks, and what happens to them | [`scenario`] |
//! | the paper's multi-task cases | [`cases`] |
//! | how workers are shared out once and for all | [`allocation`] |
//! | where GPU time goes, and WAF | [`ledger`] |
//! | what a policy makes of a scenario | [`outcome`] |
//! | how time passes | `timers` |
//! | Unicron: the core, and how long its commands take | [`managed`] |
//! | what a policy for a single job is to the simulator | [`rival`] |
//! | the mechanics that all of those share | [`standalone`] |
//! | the rivals, each by its published cost model | [`rivals`] |
//! | a bound that no policy passes | [`clairvoyant`] |
//! | all policies by name | [`policy`], [`contender`] |
//! | contenders on several seeds | [`sweep`] |
//! | WAF over time as a picture | [`plot`] |
//!
//! **Invariant:** every GPU-second is in exactly one of five bins.
//!
//! **Invariant:** what a failure draws depends on the seed and on its place in the trace alone, so that all
//! policies meet the same; one seed gives the same results to the bit.

pub mod allocation;
pub mod cases;
pub mod clairvoyant;
pub mod contender;
pub mod ledger;
pub mod managed;
pub mod outcome;
pub mod plot;
pub mod policy;
pub mod rival;
pub mod rivals;
pub mod scenario;
pub mod standalone;
pub mod sweep;
#[cfg(test)]
mod tests;
mod timers;

pub use contender::{Choices, Contender};
pub use outcome::{Outcome, TaskOutcome};
pub use policy::Policy;
pub use scenario::{Failures, Scenario, SimulatedTask};
pub use sweep::{Column, Sweep};
