//! From one plan to the next: what is kept of an iteration, where lost state is nearest, how long it
//! takes (section 6 of the paper).
//!
//! | what | file |
//! |---|---|
//! | the micro-batches that are left, and who computes them | [`micro_batches`] |
//! | where lost state is nearest, and the bytes that move | [`state`] |
//! | what a new group does with what its members have, live | [`regroup`] |
//! | the tree by which gradients are added up | [`tree`] |
//! | how long a task stands still, estimated for the planner | [`duration`] |

pub mod duration;
pub mod micro_batches;
pub mod regroup;
pub mod state;
pub mod tree;
