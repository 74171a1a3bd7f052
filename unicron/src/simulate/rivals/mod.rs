//! The rivals, each by its own published cost model.
