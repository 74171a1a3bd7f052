//! Failures over time, recorded or made up.
