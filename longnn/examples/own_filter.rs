//! Your own graph and a filter of your own, as a library and without any training.
//!
//! Two rings joined by one edge; a signal has a level on each, and noise. A heat kernel, eleven
//! Chebyshev coefficients of it, takes the noise away. Run it with
//!
//! ```text
//! cargo run --release -p longnn --example own_filter
//! ```

// An example prints.
#![allow(clippy::print_stdout)]

use longnn::basis::Matrix;
use longnn::filter::{ChebyshevSeries, Propagator, density_curve};
use longnn::graph::{Adjacency, SelfLoops};
use longnn::plot::{FilterPlot, TerminalStyle};
use longnn::propagate::{Chebyshev, Operator};
use std::sync::Arc;

const DEGREE: usize = 10;
const RING: u32 = 100;

fn main() -> longnn::Result<()> {
    let ring = |first: u32| (0..RING).map(move |i| (first + i, first + (i + 1) % RING));
    let edges: Vec<(u32, u32)> = ring(0).chain(ring(RING)).chain([(0, RING)]).collect();
    let adjacency = Adjacency::from_edges(2 * RING as usize, &edges)?;

    // A filter is a function of frequency: 0 is smooth over the graph, 2 changes sign at every edge.
    let heat = ChebyshevSeries::of(|frequency| (-3.0 * frequency).exp(), DEGREE + 1);
    let weights = Matrix::from_fn(DEGREE + 1, 1, |j, _| heat.coefficients()[j]);

    let level = |node: u32| if node < RING { 1.0 } else { -1.0 };
    let noise = |node: u32| ((node * 7919) % 1000) as f32 / 500.0 - 1.0;
    let noisy: Vec<f32> = (0..2 * RING).map(|node| level(node) + noise(node)).collect();
    let operator = Arc::new(Operator::new(&adjacency, SelfLoops::AsGiven)?);
    let mut smooth = vec![0.0; noisy.len()];
    Chebyshev::new(operator, DEGREE).filter(&noisy, &weights.to_f32(), &mut smooth)?;

    let error = |signal: &[f32]| {
        let squares = (0..2 * RING).zip(signal).map(|(node, value)| (value - level(node)).powi(2));
        (squares.sum::<f32>() / signal.len() as f32).sqrt()
    };
    println!("noise, root mean square: {:.3} before, {:.3} after\n", error(&noisy), error(&smooth));

    let density = density_curve(&Propagator::new(&adjacency), 121);
    let plot = FilterPlot::new("a heat kernel on two rings", &weights, &["heat".into()], density);
    println!("{}", plot.to_terminal(TerminalStyle::default())?);
    Ok(())
}
