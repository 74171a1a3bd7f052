//! One plan over all tasks of a cluster by weighted achieved FLOP/s (section 5 of the paper).

pub mod knapsack;
