//! Graphs with features and labels, and the normalised adjacency that filters are polynomials of.

mod adjacency;

pub use adjacency::Adjacency;
