//! What all three systems need of numbers, and no more: aligned memory, half precision that
//! saturates, and the measures that say how far an approximation is from its reference.

mod aligned;
mod float16;
mod measures;

pub use aligned::AlignedBuf;
pub use float16::{f16_saturating, to_f16, to_f32};
pub use measures::{cosine, max_abs_error, mse, nmse};
