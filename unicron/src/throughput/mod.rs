//! How many FLOP/s a task achieves on so many workers: `T(t, x)` of the paper (section 5).
