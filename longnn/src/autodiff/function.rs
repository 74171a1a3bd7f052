//! A function of matrices with its own gradient, as one node of burn's autodiff graph.
//!
//! burn has no sparse tensors, and what it composes from small steps walks over an `N x C` matrix
//! once a step. Each sparse or fused operation of ours is therefore one [`Function`]: plain Rust on
//! slices, forward and backward, tested by itself; this file alone knows how burn calls it.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A row-major matrix that somebody else owns.
#[derive(Debug, Clone, Copy)]
pub struct MatrixRef<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The values, row after row.
    pub values: &'a [f32],
}

/// A row-major matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// The values, row after row.
    pub values: Vec<f32>,
}

impl Matrix {
    /// A matrix of zeros.
    #[must_use]
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// The matrix as somebody else's.
    #[must_use]
    pub fn view(&self) -> MatrixRef<'_> {
        MatrixRef { rows: self.rows, columns: self.columns, values: &self.values }
    }
}

/// A differentiable function of `N` matrices.
///
/// One value serves one call: what `backward` needs of the forward pass it keeps itself.
pub trait Function<const N: usize>: Debug + Send + Sync {
    /// The result; `training` says whether `backward` may follow.
    fn forward(&self, inputs: [MatrixRef<'_>; N], training: bool) -> Matrix;

    /// The gradients with respect to the inputs, given that with respect to the result.
    fn backward(&self, gradient: MatrixRef<'_>) -> [Matrix; N];
}

/// What a function's backward pass needs of its forward pass.
#[derive(Debug)]
pub struct Tape<T>(Mutex<Option<T>>);

impl<T> Tape<T> {
    /// Keeps it, in the forward pass.
    pub fn keep(&self, value: T) {
        *self.lock() = Some(value);
    }

    /// Takes it, in the backward pass.
    ///
    /// # Panics
    /// If no forward pass went before, or this was called since.
    #[must_use]
    pub fn take(&self) -> T {
        self.lock().take().expect("the forward pass went before")
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Tape<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

/// Calls a function of one matrix.
pub fn call1(function: impl Function<1> + 'static, input: Tensor<2>) -> Tensor<2> {
    let function: Unary = Arc::new(function);
    let output = <Dispatch as FunctionBackend>::unary(function, false, input.into_dispatch());
    Tensor::from_dispatch(output)
}

/// Calls a function of two matrices.
pub fn call2(
    function: impl Function<2> + 'static,
    first: Tensor<2>,
    second: Tensor<2>,
) -> Tensor<2> {
    let function: Binary = Arc::new(function);
    let (first, second) = (first.into_dispatch(), second.into_dispatch());
    let output = <Dispatch as FunctionBackend>::binary(function, false, first, second);
    Tensor::from_dispatch(output)
}

type Unary = Arc<dyn Function<1>>;
type Binary = Arc<dyn Function<2>>;

/// What a backend must do for functions; burn's macro routes to it.
#[backend_extension(Flex, Autodiff)]
pub trait FunctionBackend: Backend {
    /// `f(x)`.
    fn unary(f: Unary, training: bool, x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// `f(x, y)`.
    fn binary(
        f: Binary,
        training: bool,
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    /// The gradient of `f(x)`.
    fn unary_gradient(f: Unary, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradients of `f(x, y)`.
    fn binary_gradient(
        f: Binary,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl FunctionBackend for Flex {
    fn unary(f: Unary, training: bool, x: FlexTensor) -> FlexTensor {
        let x = x.to_contiguous();
        from_matrix(f.forward([as_matrix(&x)], training))
    }

    fn binary(f: Binary, training: bool, x: FlexTensor, y: FlexTensor) -> FlexTensor {
        let (x, y) = (x.to_contiguous(), y.to_contiguous());
        from_matrix(f.forward([as_matrix(&x), as_matrix(&y)], training))
    }

    fn unary_gradient(f: Unary, gradient: FlexTensor) -> FlexTensor {
        let [x] = f.backward(as_matrix(&gradient.to_contiguous()));
        from_matrix(x)
    }

    fn binary_gradient(f: Binary, gradient: FlexTensor) -> (FlexTensor, FlexTensor) {
        let [x, y] = f.backward(as_matrix(&gradient.to_contiguous()));
        (from_matrix(x), from_matrix(y))
    }
}

fn as_matrix(tensor: &FlexTensor) -> MatrixRef<'_> {
    let shape = tensor.layout().shape();
    let values =
        tensor.as_slice::<f32>().expect("the tensor is contiguous and of single precision");
    MatrixRef { rows: shape[0], columns: shape[1], values }
}

fn from_matrix(matrix: Matrix) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(matrix.values, [matrix.rows, matrix.columns]))
}

impl<B: FunctionBackend, C: CheckpointStrategy> FunctionBackend for Autodiff<B, C> {
    fn unary(f: Unary, _: bool, x: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match UnaryBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(node) => {
                let output = B::unary(f.clone(), true, x);
                node.finish(f, output)
            }
            OpsKind::UnTracked(node) => node.finish(B::unary(f, false, x)),
        }
    }

    fn binary(f: Binary, _: bool, x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((x, x_node), (y, y_node)) = (x.into_parts(), y.into_parts());
        match BinaryBackward.prepare::<C>([x_node, y_node]).compute_bound().stateful() {
            OpsKind::Tracked(node) => {
                let output = B::binary(f.clone(), true, x, y);
                node.finish(f, output)
            }
            OpsKind::UnTracked(node) => node.finish(B::binary(f, false, x, y)),
        }
    }

    fn unary_gradient(f: Unary, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::unary_gradient(f, Self::inner(gradient)))
    }

    fn binary_gradient(
        f: Binary,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, y) = B::binary_gradient(f, Self::inner(gradient));
        (Self::from_inner(x), Self::from_inner(y))
    }
}

#[derive(Debug)]
struct UnaryBackward;

impl<B: FunctionBackend> Backward<B, 1> for UnaryBackward {
    type State = Unary;

    fn backward(self, ops: Ops<Unary, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        if let [Some(x)] = ops.parents {
            grads.register::<B>(x.id, B::unary_gradient(ops.state, gradient));
        }
    }
}

#[derive(Debug)]
struct BinaryBackward;

impl<B: FunctionBackend> Backward<B, 2> for BinaryBackward {
    type State = Binary;

    fn backward(self, ops: Ops<Binary, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (x_gradient, y_gradient) = B::binary_gradient(ops.state, gradient);
        let [x, y] = ops.parents;
        if let Some(x) = x {
            grads.register::<B>(x.id, x_gradient);
        }
        if let Some(y) = y {
            grads.register::<B>(y.id, y_gradient);
        }
    }
}

/// Holds a function's gradients to central differences, at a few entries of every input.
#[cfg(test)]
pub fn assert_gradients<const N: usize, F: Function<N>>(make: impl Fn() -> F, inputs: [Matrix; N]) {
    let function = make();
    let output = function.forward(inputs.each_ref().map(Matrix::view), true);
    let weights = test_matrix(output.rows, output.columns, 99);
    let gradients = function.backward(weights.view());
    let value = |inputs: &[Matrix; N]| -> f64 {
        let output = make().forward(inputs.each_ref().map(Matrix::view), true);
        output.values.iter().zip(&weights.values).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum()
    };
    for (which, gradient) in gradients.iter().enumerate() {
        assert_eq!((gradient.rows, gradient.columns), (inputs[which].rows, inputs[which].columns));
        let scale = gradient.values.iter().fold(1e-3_f32, |greatest, g| greatest.max(g.abs()));
        let n = gradient.values.len();
        for entry in (0..n).step_by(n.div_ceil(23)) {
            const STEP: f32 = 1e-2;
            let at = |step: f32| {
                let mut moved = inputs.clone();
                moved[which].values[entry] += step;
                value(&moved)
            };
            let expected = (at(STEP) - at(-STEP)) / f64::from(2.0 * STEP);
            let error = (expected - f64::from(gradient.values[entry])).abs();
            assert!(
                error < 5e-3 * f64::from(scale),
                "input {which}, entry {entry}: {} instead of {expected}",
                gradient.values[entry]
            );
        }
    }
}

/// Numbers in [-1, 1) that look random and are always the same.
#[cfg(test)]
#[must_use]
pub fn test_matrix(rows: usize, columns: usize, seed: u64) -> Matrix {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let values = (0..rows * columns).map(|_| random.random_range(-1.0..1.0)).collect();
    Matrix { rows, columns, values }
}
