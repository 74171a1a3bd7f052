//! A transformer block, from operations that candle can differentiate. Its fused ones can't be.

use crate::train::settings::Shape;
use candle_core::{D, Result, Tensor, Var};

/// Keeps a norm from dividing by zero.
const NORM_EPSILON: f64 = 1e-5;
/// What keeps a token from looking ahead: no attention score gets so low by itself.
const MASKED: f32 = -1e9;

/// `x` with mean 0 and variance 1 in its last dimension, scaled and shifted.
pub(super) fn norm(x: &Tensor, scale: &Var, shift: &Var) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + NORM_EPSILON)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(scale)?.broadcast_add(shift)
}

/// `x · weight + bias`.
fn linear(x: &Tensor, weight: &Var, bias: &Var) -> Result<Tensor> {
    x.matmul(weight)?.broadcast_add(bias)
}

/// The largest of each row, taken for a constant: it changes neither a softmax nor its gradient.
pub(super) fn row_maximum(x: &Tensor) -> Result<Tensor> {
    Ok(x.max_keepdim(D::Minus1)?.detach())
}

fn softmax(x: &Tensor) -> Result<Tensor> {
    let exponentials = x.broadcast_sub(&row_maximum(x)?)?.exp()?;
    exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
}

/// Zero where a token may look, [`MASKED`] ahead of it: context × context.
pub(super) fn mask(shape: &Shape, device: &candle_core::Device) -> Result<Tensor> {
    let n = shape.context;
    let values = (0..n * n).map(|i| if i % n > i / n { MASKED } else { 0.0 });
    Tensor::from_vec(values.collect::<Vec<f32>>(), (n, n), device)
}

/// The block over rows of all sequences: (sequences · context) × hidden, in and out.
pub(super) fn forward(shape: &Shape, weights: &[Var], mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    let [
        attention_scale,
        attention_shift,
        qkv_weight,
        qkv_bias,
        output_weight,
        output_bias,
        mlp_scale,
        mlp_shift,
        up_weight,
        up_bias,
        down_weight,
        down_bias,
    ] = weights
    else {
        candle_core::bail!("a block has {} tensors, not 12", weights.len());
    };
    let normed = norm(x, attention_scale, attention_shift)?;
    let qkv = linear(&normed, qkv_weight, qkv_bias)?;
    let attended = attention(shape, &qkv, mask)?;
    let x = (x + linear(&attended, output_weight, output_bias)?)?;
    let normed = norm(&x, mlp_scale, mlp_shift)?;
    let up = linear(&normed, up_weight, up_bias)?.gelu()?;
    x + linear(&up, down_weight, down_bias)?
}

fn attention(shape: &Shape, qkv: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (h, width) = (shape.hidden, shape.hidden / shape.heads);
    let by_head = |part: usize| {
        qkv.narrow(1, part * h, h)?
            .reshape((shape.sequences, shape.context, shape.heads, width))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (queries, keys, values) = (by_head(0)?, by_head(1)?, by_head(2)?);
    let scores = (queries.matmul(&keys.t()?.contiguous()?)? / (width as f64).sqrt())?;
    let weights = softmax(&scores.broadcast_add(mask)?)?;
    let attended = weights.matmul(&values)?.transpose(1, 2)?;
    attended.contiguous()?.reshape((shape.sequences * shape.context, h))
}
