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
//! | [`cache`] | caches of a batch of sequences; append, pack, attend |
//! | `kernels/layout.cuh` | the layout, as the kernels see it |
//! | `kernels/append.cu` | rows to half precision, and into the packed format |
//! | `kernels/attend.cu` | split-KV attention on tensor cores |

pub mod cache;
pub mod gpu;
mod layout;
pub mod measure;
mod nvrtc;

pub use cache::{CacheSize, GpuCache};
pub use gpu::Gpu;

#[cfg(test)]
mod tests;
