//! The launch of attention: shared memory, and into how many parts a history is split.

use super::cache::{GpuCache, Output, address};
use super::gpu::{Gpu, launch_config};
use super::layout::{LayerLayout, Params, SideArgs};
use crate::attention::Heads;
use crate::{Error, Result};
use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{CudaFunction, CudaSlice, DeviceRepr, PushKernelArg};

/// Columns of queries that a block of the kernel takes; `COLUMNS` there.
pub(super) const COLUMNS: usize = 8;
const WARPS: usize = 4;
const THREADS: usize = 32 * WARPS;
/// Blocks of threads on a multiprocessor at once, at most.
pub(super) const MOST_RESIDENT: usize = 8;
/// Where nothing is packed: bytes of the rows that a warp has on their way; `SLOTS` tiles in the kernel.
const STREAM_BYTES: usize = 16384;

/// `Attend` of the kernel.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct AttendArgs {
    keys: SideArgs,
    values: SideArgs,
    queries: u64,
    output: u64,
    half_output: u64,
    partial: u64,
    partial_sums: u64,
    done: u64,
    lengths: u64,
    n_heads: u32,
    n_kv_heads: u32,
    n_new: u32,
    n_sinks: u32,
    n_splits: u32,
    in_chunk: u32,
    query_bytes: u32,
    scale_bytes: u32,
    stage_bytes: u32,
    stage_values: u32,
    logit_scale: f32,
}

// SAFETY: plain numbers, laid out as the kernel's structure.
unsafe impl DeviceRepr for AttendArgs {}

impl GpuCache {
    /// Attends over a layer to which the new tokens have been appended.
    pub(super) fn attend_only(
        &mut self,
        layer_idx: usize,
        n_new: usize,
        queries: &CudaSlice<f32>,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let (stream, heads) = (self.gpu.stream(), self.heads);
        let layer = &self.layers[layer_idx];
        let layout = &layer.layout;
        let (keys, values) = self.side_args(layer);
        let [y, z] = blocks_of_queries(heads, self.n_sequences, n_new);
        let Shared { stage, query_bytes, scale_bytes, bytes } = layer.kernels.shared;
        // As many parts as run at once: one more, and the GPU would wait for it with all else idle.
        let resident = layer.kernels.resident * self.gpu.multiprocessors();
        let longest = self.capacity.div_ceil(layout.keys.unit() * WARPS);
        let n_splits = (resident / (y * z)).clamp(1, longest.max(1));
        let (output, half_output) = match output {
            Output::Single(output) => (address(stream, output), 0),
            Output::Half(output) => (0, address(stream, output)),
        };
        let args = AttendArgs {
            keys,
            values,
            queries: address(stream, queries),
            output,
            half_output,
            partial: address(stream, &self.partial),
            partial_sums: address(stream, &self.partial_sums),
            done: address(stream, &self.done),
            lengths: address(stream, &self.device_lengths),
            n_heads: heads.n_heads as u32,
            n_kv_heads: heads.n_kv_heads as u32,
            n_new: n_new as u32,
            n_sinks: self.n_sinks as u32,
            n_splits: n_splits as u32,
            in_chunk: u32::from(self.in_chunk(layer, n_new)),
            query_bytes: query_bytes as u32,
            scale_bytes: scale_bytes as u32,
            stage_bytes: stage.bytes as u32,
            stage_values: stage.values as u32,
            // Softmax is in powers of two.
            logit_scale: std::f32::consts::LOG2_E / (heads.head_dim as f32).sqrt(),
        };
        let mut launch = stream.launch_builder(&layer.kernels.attend);
        launch.arg(&args);
        // SAFETY: the arguments describe the memory of this cache and buffers that were sized for every grid
        // that is launched; the output has the shape of the queries.
        unsafe { launch.launch(launch_config([n_splits, y, z], THREADS, bytes)) }?;
        Ok(())
    }
}

/// Blocks of threads that share the queries of `n_new` tokens: over the heads, and over sequences and tokens.
pub(super) fn blocks_of_queries(heads: Heads, n_sequences: usize, n_new: usize) -> [usize; 2] {
    let part = heads.group_size().min(COLUMNS);
    let y = heads.n_kv_heads * heads.group_size().div_ceil(COLUMNS);
    [y, n_sequences * n_new.div_ceil(COLUMNS / part)]
}

/// Dynamic shared memory of a block of threads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    stage: Stage,
    query_bytes: usize,
    scale_bytes: usize,
    bytes: usize,
}

/// Where the parts of a block of the cache lie in it.
#[derive(Debug, Clone, Copy)]
struct Stage {
    values: usize,
    bytes: usize,
}

impl Shared {
    pub(super) fn new(layout: &LayerLayout, head_dim: usize) -> Shared {
        let stage = Stage::new(layout);
        let digits = layout
            .keys
            .most(|head| head.pairs.next_multiple_of(16) + head.singles.next_multiple_of(16));
        let scale_bytes = layout.keys.sets() * digits * size_of::<u16>();
        let query_bytes = digits * COLUMNS * size_of::<u16>();
        let merged = WARPS * COLUMNS * head_dim * size_of::<f32>();
        let bytes = (query_bytes + WARPS * (scale_bytes + 2 * stage.bytes)).max(merged);
        Shared { stage, query_bytes, scale_bytes, bytes }
    }

    /// How many blocks of a kernel run on a multiprocessor at once with that much.
    ///
    /// # Errors
    /// If a block needs more than there is.
    pub(super) fn resident(&self, gpu: &Gpu, function: &CudaFunction) -> Result<usize> {
        // Layers share their kernels, and each may need another size: all that there is is allowed.
        let most = gpu.shared_bytes() - function.shared_size_bytes()?;
        function.set_attribute(
            CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            most,
        )?;
        if self.bytes > most as usize {
            return Err(Error::Gpu(format!(
                "attention over this plan needs {} bytes of shared memory, but a block of threads has {most}: \
                 take fewer bits or a head of fewer channels",
                self.bytes
            )));
        }
        let resident = function.occupancy_max_active_blocks_per_multiprocessor(
            THREADS as u32,
            self.bytes,
            None,
        )?;
        Ok((resident as usize).clamp(1, MOST_RESIDENT))
    }
}

impl Stage {
    fn new(layout: &LayerLayout) -> Stage {
        let LayerLayout { keys, values } = layout;
        if keys.params == Params::None && values.params == Params::None {
            return Stage { values: 0, bytes: STREAM_BYTES / 2 };
        }
        let sets = keys.sets() as u32;
        // The last tile of keys is read as a whole.
        let overread = 256;
        let keys = keys.most(|head| sets * head.param_bytes + head.block_bytes) + overread;
        let bytes = keys + values.most(|head| head.record_bytes);
        Stage { values: keys, bytes: bytes.next_multiple_of(16) }
    }
}
