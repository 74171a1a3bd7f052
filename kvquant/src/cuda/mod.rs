//! The same cache and the same attention on NVIDIA GPUs: the low-bit cache as the fast cache.
//!
//! No feature of the build decides: the driver is loaded where there is one, kernels are compiled for the GPU
//! that is found, by NVIDIA's run-time compiler, and kept.
//!
//! | file | what |
//! |---|---|
//! | [`gpu`] | a GPU, its stream, its compiled kernels |
//! | `nvrtc` | the run-time compiler |
//! | `layout` | how a plan's cache lies in device memory |
//! | [`cache`] | caches of a batch of sequences |
//! | `append`, `attend` | launches of the kernels over them |
//! | `kernels/numbers.cuh` | types and half precision, for all kernels |
//! | `kernels/layout.cuh` | the layout, as the kernels see it |
//! | `kernels/copies.cuh` | copies to shared memory ahead of their use |
//! | `kernels/append.cu` | rows to half precision, and into the packed format |
//! | `kernels/attend.cu` | split-KV attention on tensor cores |
//! | [`llama`] | a model's forward pass, all on the GPU |
//! | [`decoder`] | steps of decoding a batch, captured as one launch |
//! | `matrix` | weights in device memory |
//! | `linear`, `blas` | products with them, of few rows and of many |
//! | `ops` | launches of the kernels between products |
//! | `kernels/model.cu` | the kernels of all these |
//! | [`measure`], [`throughput`] | timings of attention and of whole models |

mod append;
mod attend;
mod blas;
pub mod cache;
pub mod decoder;
pub mod gpu;
mod layout;
mod linear;
pub mod llama;
mod matrix;
pub mod measure;
mod nvrtc;
mod ops;
pub mod throughput;

pub use cache::{CacheSize, GpuCache};
pub use decoder::Decoder;
pub use gpu::Gpu;
pub use llama::GpuLlama;
pub use matrix::GpuWeights;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
