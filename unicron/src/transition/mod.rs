//! From one plan to the next: what is kept of an iteration, where lost state is nearest, how long it
//! takes (section 6 of the paper).
//!
//! | what | file |
//! |---|---|
//! | the micro-batches that are left, and who computes them | [`micro_batches`] |
//! | where lost state is nearest, and the bytes that move | [`state`] |
//! | how long a task stands still, estimated for the planner | [`duration`] |

pub mod duration;
pub mod micro_batches;
pub mod state;
