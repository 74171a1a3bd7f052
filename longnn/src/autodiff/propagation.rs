//! `Â x` by itself, for the models that put something between two products.

use super::function::{Function, Matrix, MatrixRef};
use crate::propagate::{Operator, Pool};
use std::sync::Arc;

/// `Â x`: `N x H` gives `N x H`. Its own gradient, for `Â` is symmetric.
#[derive(Debug)]
pub struct Propagation {
    operator: Arc<Operator>,
    pool: Arc<Pool>,
}

impl Propagation {
    /// The product with an operator; buffers come from the pool.
    #[must_use]
    pub fn new(operator: Arc<Operator>, pool: Arc<Pool>) -> Self {
        Self { operator, pool }
    }

    fn apply(&self, x: MatrixRef<'_>) -> Matrix {
        let mut output = Matrix::zeros(x.rows, x.columns);
        self.operator
            .apply(x.values, &self.pool, &mut output.values)
            .expect("the network's matrices fit the graph");
        output
    }
}

impl Function<1> for Propagation {
    fn forward(&self, [x]: [MatrixRef<'_>; 1], _: bool) -> Matrix {
        self.apply(x)
    }

    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; 1] {
        [self.apply(gradient)]
    }
}
