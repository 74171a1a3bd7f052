//! Launches that append: rows to half precision, and what leaves the window into the packed format.

use super::cache::{GpuCache, NewTokens, address};
use super::gpu::launch_config;
use super::layout::{BLOCK, SideArgs};
use crate::Result;
use crate::cache::retention::Retention;
use cudarc::driver::{CudaFunction, DeviceRepr, PushKernelArg};

/// `Append` of the kernels.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct AppendArgs {
    keys: SideArgs,
    values: SideArgs,
    new_keys: u64,
    new_values: u64,
    lengths: u64,
    n_kv_heads: u32,
    n_new: u32,
    n_sinks: u32,
    in_chunk: u32,
}

// SAFETY: plain numbers, laid out as the kernels' structure.
unsafe impl DeviceRepr for AppendArgs {}

impl GpuCache {
    /// Writes rows and packs what leaves the window.
    pub(super) fn append(&mut self, layer_idx: usize, new: &NewTokens<'_>) -> Result<()> {
        let args = self.append_args(layer_idx, new);
        let layer = &self.layers[layer_idx];
        let (heads, sequences, n_new) = (self.shape.n_kv_heads, self.n_sequences, new.n_new);
        let head_dim = self.shape.head_dim;
        let launch = |function: &CudaFunction, grid: [usize; 3], threads: usize, shared: usize| {
            let mut launch = self.gpu.stream().launch_builder(function);
            launch.arg(&args);
            // SAFETY: the arguments describe the memory of this cache; each kernel checks its indices against them.
            unsafe { launch.launch(launch_config(grid, threads, shared)) }?;
            Ok::<(), crate::Error>(())
        };
        if args.in_chunk == 1 {
            self.carry(layer_idx, &args, BLOCK - 1, 0)?;
        }
        launch(&layer.kernels.append, [n_new, heads, 2 * sequences], 32, 0)?;
        if let Some(pack_keys) = &layer.kernels.pack_keys {
            let keys = &layer.layout.keys;
            // As many units as may be begun: what was gathered before leaves together with what is new.
            let gathered = match keys.retention {
                Retention::Gather { block } => block,
                _ => keys.group,
            };
            let units = (n_new + gathered) / keys.unit() + 1;
            let shared = keys.group * head_dim * size_of::<u16>();
            launch(pack_keys, [units, heads, sequences], head_dim, shared)?;
        }
        if let Some(pack_values) = &layer.kernels.pack_values {
            launch(pack_values, [n_new, heads, sequences], 32, 0)?;
        }
        Ok(())
    }

    /// Keeps the last rows of a chunk.
    pub(super) fn settle(&mut self, layer_idx: usize, new: &NewTokens<'_>) -> Result<()> {
        let args = self.append_args(layer_idx, new);
        if args.in_chunk == 0 {
            return Ok(());
        }
        let layout = &self.layers[layer_idx].layout;
        let rows = layout.keys.ring_rows.max(layout.values.ring_rows).min(new.n_new + BLOCK);
        self.carry(layer_idx, &args, rows, 1)
    }

    fn carry(&self, layer_idx: usize, args: &AppendArgs, rows: usize, after: u32) -> Result<()> {
        let mut launch = self.gpu.stream().launch_builder(&self.layers[layer_idx].kernels.carry);
        launch.arg(args).arg(&after);
        let grid = [rows, self.shape.n_kv_heads, 2];
        // SAFETY: the arguments describe the memory of this cache; the kernel checks its rows against them.
        unsafe { launch.launch(launch_config(grid, self.shape.head_dim, 0)) }?;
        Ok(())
    }

    fn append_args(&self, layer_idx: usize, new: &NewTokens<'_>) -> AppendArgs {
        let stream = self.gpu.stream();
        let layer = &self.layers[layer_idx];
        let (keys, values) = self.side_args(layer);
        AppendArgs {
            keys,
            values,
            new_keys: address(stream, new.keys),
            new_values: address(stream, new.values),
            lengths: address(stream, &self.device_lengths),
            n_kv_heads: self.shape.n_kv_heads as u32,
            n_new: new.n_new as u32,
            n_sinks: self.n_sinks as u32,
            in_chunk: u32::from(self.in_chunk(layer, new.n_new)),
        }
    }

    /// The device's part of [`GpuCache::advance`].
    pub(super) fn launch_advance(&mut self, n_new: usize) -> Result<()> {
        let function = &self.layers[0].kernels.advance;
        let n_new = n_new as u32;
        let mut launch = self.gpu.stream().launch_builder(function);
        launch.arg(&mut self.device_lengths).arg(&n_new);
        // SAFETY: one thread for each of the lengths.
        unsafe { launch.launch(launch_config([1, 1, 1], self.n_sequences, 0)) }?;
        Ok(())
    }
}
