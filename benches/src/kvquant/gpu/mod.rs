//! What needs a GPU: attention alone, and whole models.

mod attention;
mod model;

pub use attention::{GpuAttention, GpuAttentionMetrics};
pub use model::{DecodeRow, GpuModel, GpuModelMetrics};

use common::command::store;
use kvquant::cuda::Gpu;
use std::sync::Arc;

/// The first GPU; kernels that are compiled for it are kept.
fn open_gpu() -> anyhow::Result<Arc<Gpu>> {
    Ok(Gpu::open(0, Some(store(None).search_path().cache.join("kernels")))?)
}
