//! One plan over all tasks of a cluster by weighted achieved FLOP/s (section 5 of the paper).
//!
//! | what | file |
//! |---|---|
//! | what is known of a task | [`task`] |
//! | the paper's rule and ours | [`rule`] |
//! | how likely nodes are to fail | [`hazard`] |
//! | what each size of a task is worth, reward and penalty | [`value`] |
//! | the exact solver | [`knapsack`] |
//! | and one by marginal gain, to be compared with | [`greedy`] |
//! | the plan, and floors that can't be kept | [`solve`] |
//! | which workers of which nodes | [`placement`], [`placed`] |
//! | plans for what may happen next | [`table`] |
//! | why a task gets what it gets | [`explain`] |
//! | who waits, and who would give workers up | [`queue`] |
//! | a cluster file made ready to be planned for | [`fleet`] |

pub mod explain;
pub mod fleet;
pub mod greedy;
pub mod hazard;
pub mod knapsack;
pub mod placed;
pub mod placement;
pub mod queue;
pub mod rule;
pub mod solve;
pub mod table;
pub mod task;
#[cfg(test)]
mod testing;
pub mod value;

pub use fleet::Fleet;
pub use rule::Rule;
pub use solve::{Assignment, Plan, Situation};
pub use task::{Present, Task, Unit};
