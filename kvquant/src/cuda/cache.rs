//! The quantized caches of a batch of sequences in device memory.

use super::gpu::{Gpu, Kernels, Source, launch_config};
use super::layout::{BLOCK, Channel, Head, LayerLayout, Params, SideArgs, SideLayout};
use crate::attention::Heads;
use crate::cache::{CacheShape, check_plan};
use crate::policy::Plan;
use crate::{Error, Result};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DeviceRepr, PushKernelArg};
use std::sync::Arc;

/// Columns of queries that a block of the kernel takes; `COLUMNS` there.
const COLUMNS: usize = 8;
const WARPS: usize = 4;
/// Where nothing is packed: bytes of the rows that a warp has on their way; `SLOTS` tiles in the kernel.
const STREAM_BYTES: usize = 16384;
/// Blocks of threads on a multiprocessor at once, at most.
const MOST_RESIDENT: usize = 8;

/// The caches of a batch of sequences, in the formats of a plan.
///
/// All memory is taken when it is made: what `capacity` tokens of each sequence need.
#[derive(Debug)]
pub struct GpuCache {
    gpu: Arc<Gpu>,
    shape: CacheShape,
    heads: Heads,
    n_sinks: usize,
    n_sequences: usize,
    capacity: usize,
    most_new: usize,
    layers: Vec<Layer>,
    /// Rows of the tokens that are being appended, of whatever layer.
    chunk: Option<[CudaSlice<u16>; 2]>,
    lengths: Vec<usize>,
    device_lengths: CudaSlice<u32>,
    partial: CudaSlice<f32>,
    partial_sums: CudaSlice<f32>,
}

/// What a cache is made for.
#[derive(Debug, Clone, Copy)]
pub struct CacheSize {
    /// Sequences of the batch.
    pub n_sequences: usize,
    /// Tokens of each sequence at most.
    pub capacity: usize,
    /// Tokens of an append at most; more than one at a time is for a batch of one sequence.
    pub most_new: usize,
}

/// What the tokens of an append bring, `[sequences][new tokens][heads][head_dim]`.
#[derive(Debug)]
pub(super) struct NewTokens<'a> {
    pub(super) n_new: usize,
    pub(super) queries: &'a CudaSlice<f32>,
    pub(super) keys: &'a CudaSlice<f32>,
    pub(super) values: &'a CudaSlice<f32>,
}

/// Where attention's output goes.
#[derive(Debug)]
pub(super) enum Output<'a> {
    Single(&'a mut CudaSlice<f32>),
    Half(&'a mut CudaSlice<u16>),
}

#[derive(Debug)]
struct Layer {
    layout: LayerLayout,
    keys: SideMemory,
    values: SideMemory,
    rotate: [bool; 2],
}

#[derive(Debug)]
struct SideMemory {
    codes: CudaSlice<u8>,
    params: CudaSlice<u8>,
    exact: CudaSlice<u16>,
    heads: CudaSlice<Head>,
    channels: CudaSlice<Channel>,
    /// Where the ring starts in `exact`, behind the sinks.
    ring_start: usize,
}

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

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct AttendArgs {
    keys: SideArgs,
    values: SideArgs,
    queries: u64,
    partial: u64,
    partial_sums: u64,
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
    stage_key_params: u32,
    stage_value_params: u32,
    logit_scale: f32,
}

#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct CombineArgs {
    partial: u64,
    partial_sums: u64,
    output: u64,
    half_output: u64,
    n_heads: u32,
    n_kv_heads: u32,
    n_new: u32,
    n_splits: u32,
    is_rotated: u32,
}

// SAFETY: plain numbers, laid out as the kernels' structures of the same names.
unsafe impl DeviceRepr for AppendArgs {}
// SAFETY: as above.
unsafe impl DeviceRepr for AttendArgs {}
// SAFETY: as above.
unsafe impl DeviceRepr for CombineArgs {}

impl GpuCache {
    /// Empty caches.
    ///
    /// # Errors
    /// If the plan does not fit the shape, has a part that there is no kernel for, or the GPU has too little
    /// memory.
    pub fn new(
        gpu: &Arc<Gpu>,
        n_layers: usize,
        heads: Heads,
        plan: &Plan,
        size: CacheSize,
    ) -> Result<GpuCache> {
        let CacheSize { n_sequences, capacity, most_new } = size;
        let Heads { n_kv_heads, head_dim, .. } = heads;
        let shape = CacheShape { n_layers, n_kv_heads, head_dim };
        let refuse = |problem| Error::PlanDoesNotFit { plan: plan.to_string(), problem };
        let formats = check_plan(shape, plan)?;
        if most_new > 1 && n_sequences != 1 {
            return Err(refuse("chunks are appended to one sequence at a time".to_owned()));
        }
        let layouts = formats
            .iter()
            .map(|format| LayerLayout::new(shape, format, plan, capacity).map_err(refuse))
            .collect::<Result<Vec<LayerLayout>>>()?;
        let stream = gpu.stream();
        let rotate = [plan.rotate.keys, plan.rotate.values];
        let layers = layouts
            .into_iter()
            .map(|layout| Layer::new(stream, shape, layout, n_sequences, rotate))
            .collect::<Result<Vec<Layer>>>()?;
        let chunk_rows = (BLOCK + most_new).next_multiple_of(BLOCK);
        let chunk = (most_new > 1 && layers.iter().any(Layer::packs)).then(|| {
            let len = shape.n_kv_heads * chunk_rows * shape.head_dim;
            Ok::<_, Error>([stream.alloc_zeros(len)?, stream.alloc_zeros(len)?])
        });
        // Splits are chosen so that this suffices.
        let parts = (MOST_RESIDENT * gpu.multiprocessors()).max(blocks_of_queries(heads, n_sequences, most_new).iter().product());
        Ok(GpuCache {
            gpu: Arc::clone(gpu),
            shape,
            heads,
            n_sinks: plan.sinks,
            n_sequences,
            capacity,
            most_new,
            layers,
            chunk: chunk.transpose()?,
            lengths: vec![0; n_sequences],
            device_lengths: stream.alloc_zeros(n_sequences)?,
            partial: stream.alloc_zeros(parts * COLUMNS * shape.head_dim)?,
            partial_sums: stream.alloc_zeros(parts * COLUMNS * 2)?,
        })
    }

    /// The shape that it was made for.
    pub fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Sequences.
    pub fn n_sequences(&self) -> usize {
        self.n_sequences
    }

    /// Tokens of each sequence at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens of an append at most.
    pub fn most_new(&self) -> usize {
        self.most_new
    }

    /// Tokens held of each sequence.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Bytes of device memory that hold tokens: codes, parameters and half-precision rows.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(Layer::bytes).sum()
    }

    /// The same by arithmetic, before anything is allocated.
    ///
    /// # Errors
    /// As [`GpuCache::new`], but for memory.
    pub fn planned_bytes(shape: CacheShape, plan: &Plan, size: CacheSize) -> Result<usize> {
        let refuse = |problem| Error::PlanDoesNotFit { plan: plan.to_string(), problem };
        let formats = check_plan(shape, plan)?;
        formats
            .iter()
            .map(|format| {
                let layout = LayerLayout::new(shape, format, plan, size.capacity);
                let layout = layout.map_err(refuse)?;
                let bytes = [&layout.keys, &layout.values].map(|side| {
                    let rows = side.exact_rows() * shape.n_kv_heads;
                    side.code_bytes + side.param_bytes + rows * shape.head_dim * size_of::<u16>()
                });
                Ok(size.n_sequences * bytes.iter().sum::<usize>())
            })
            .sum()
    }

    /// Forgets every token.
    ///
    /// # Errors
    /// Of the driver.
    pub fn clear(&mut self) -> Result<()> {
        self.set_lengths(vec![0; self.n_sequences])
    }

    /// Says how many tokens each sequence holds, where a step that was launched apart added some.
    pub(super) fn set_lengths(&mut self, lengths: Vec<usize>) -> Result<()> {
        let numbers: Vec<u32> = lengths.iter().map(|&length| length as u32).collect();
        self.gpu.stream().memcpy_htod(&numbers, &mut self.device_lengths)?;
        self.lengths = lengths;
        Ok(())
    }

    /// Notes that every sequence has `n_new` tokens more, after all layers have appended them.
    pub(super) fn advance(&mut self, n_new: usize) -> Result<()> {
        self.launch_advance(n_new)?;
        self.note_advance(n_new);
        Ok(())
    }

    /// The device's part of [`GpuCache::advance`].
    pub(super) fn launch_advance(&mut self, n_new: usize) -> Result<()> {
        let kernels = self.layers[0].kernels(Source::Append, self.shape.head_dim);
        let function = self.gpu.function(&kernels, "advance")?;
        let n_new = n_new as u32;
        let mut launch = self.gpu.stream().launch_builder(&function);
        launch.arg(&mut self.device_lengths).arg(&n_new);
        // SAFETY: one thread for each of the lengths.
        unsafe { launch.launch(launch_config([1, 1, 1], self.n_sequences, 0)) }?;
        Ok(())
    }

    /// The host's part of [`GpuCache::advance`].
    pub(super) fn note_advance(&mut self, n_new: usize) {
        self.lengths.iter_mut().for_each(|length| *length += n_new);
    }

    /// Where the lengths of the sequences are.
    pub(super) fn device_lengths(&self) -> &CudaSlice<u32> {
        &self.device_lengths
    }

    /// Checks that so many new tokens have room.
    ///
    /// # Errors
    /// If they have not.
    pub(super) fn check_room(&self, n_new: usize) -> Result<()> {
        let longest = self.lengths.iter().max().copied().unwrap_or(0);
        if n_new == 0 || n_new > self.most_new || longest + n_new > self.capacity {
            return Err(Error::Shape {
                operation: "append to a cache on the GPU",
                what: "the chunk of tokens",
                got: n_new,
                expected: format!(
                    "1 to {} tokens, and {longest} are held of at most {}",
                    self.most_new, self.capacity
                ),
            });
        }
        Ok(())
    }

    /// Makes one sequence of one layer what the only sequence of a layer of another cache is, which was made for
    /// the same plan and capacity. Lengths stay.
    pub(super) fn copy_layer(
        &mut self,
        layer_idx: usize,
        sequence: usize,
        from: &GpuCache,
        from_layer: usize,
    ) -> Result<()> {
        debug_assert_eq!((self.capacity, from.n_sequences), (from.capacity, 1));
        let (stream, shape) = (Arc::clone(self.gpu.stream()), self.shape);
        let from = &from.layers[from_layer];
        let layer = &mut self.layers[layer_idx];
        for (to, from, layout) in [
            (&mut layer.keys, &from.keys, &layer.layout.keys),
            (&mut layer.values, &from.values, &layer.layout.values),
        ] {
            let mut packed = [
                (&mut to.codes, &from.codes, layout.code_bytes),
                (&mut to.params, &from.params, layout.param_bytes),
            ];
            for (to, from, len) in packed.iter_mut().filter(|(.., len)| *len > 0) {
                let to = &mut to.slice_mut(sequence * *len..(sequence + 1) * *len);
                stream.memcpy_dtod(&from.slice(..*len), to)?;
            }
            let row = shape.n_kv_heads * shape.head_dim;
            for (start, from_start, len) in [
                (0, 0, layout.sink_rows * row),
                (to.ring_start, from.ring_start, layout.ring_rows * row),
            ] {
                if len > 0 {
                    let at = start + sequence * len;
                    let to = &mut to.exact.slice_mut(at..at + len);
                    stream.memcpy_dtod(&from.exact.slice(from_start..from_start + len), to)?;
                }
            }
        }
        Ok(())
    }

    /// Appends keys and values to a layer and attends over it: `output` has the shape of the queries.
    ///
    /// [`GpuCache::check_room`] has been asked, and the lengths change with [`GpuCache::advance`] only.
    pub(super) fn attend(
        &mut self,
        layer_idx: usize,
        new: &NewTokens<'_>,
        output: &mut Output<'_>,
    ) -> Result<()> {
        self.append(layer_idx, new)?;
        self.attend_only(layer_idx, new.n_new, new.queries, output)?;
        self.settle(layer_idx, new)
    }

    /// Writes rows and packs what leaves the window.
    pub(super) fn append(&mut self, layer_idx: usize, new: &NewTokens<'_>) -> Result<()> {
        let args = self.append_args(layer_idx, new);
        let layer = &self.layers[layer_idx];
        let (heads, sequences, n_new) = (self.shape.n_kv_heads, self.n_sequences, new.n_new);
        let head_dim = self.shape.head_dim;
        let launch = |name: &str, grid: [usize; 3], threads: usize, shared: usize| {
            let kernels = layer.kernels(Source::Append, head_dim);
            let function = self.gpu.function(&kernels, name)?;
            let mut launch = self.gpu.stream().launch_builder(&function);
            launch.arg(&args);
            // SAFETY: the arguments describe the memory of this cache; each kernel checks its indices against them.
            unsafe { launch.launch(launch_config(grid, threads, shared)) }?;
            Ok::<(), Error>(())
        };
        if args.in_chunk == 1 {
            self.carry(layer_idx, &args, BLOCK - 1, 0)?;
        }
        launch("append", [n_new, heads, 2 * sequences], 32, 0)?;
        let keys = &layer.layout.keys;
        if keys.params != Params::None {
            let unit = keys.group.max(BLOCK);
            let gathered = match keys.retention {
                crate::cache::retention::Retention::Gather { block } => block,
                _ => keys.group,
            };
            let units = (n_new + gathered) / unit + 1;
            let shared = keys.group * head_dim * size_of::<u16>();
            launch("pack_keys", [units, heads, sequences], head_dim, shared)?;
        }
        if layer.layout.values.params != Params::None {
            launch("pack_values", [n_new, heads, sequences], 32, 0)?;
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
        let kernels = self.layers[layer_idx].kernels(Source::Append, self.shape.head_dim);
        let function = self.gpu.function(&kernels, "carry")?;
        let mut launch = self.gpu.stream().launch_builder(&function);
        launch.arg(args).arg(&after);
        let grid = [rows, self.shape.n_kv_heads, 2];
        // SAFETY: the arguments describe the memory of this cache; the kernel checks its rows against them.
        unsafe { launch.launch(launch_config(grid, self.shape.head_dim, 0)) }?;
        Ok(())
    }

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
        let stage = Stage::new(layout);
        let sets = BLOCK.div_ceil(layout.keys.group);
        let digits = layout.keys.most(|head| {
            head.pairs.next_multiple_of(16) + head.singles.next_multiple_of(16)
        });
        let scale_bytes = sets * digits * size_of::<u16>();
        let query_bytes = digits * COLUMNS * size_of::<u16>();
        let merged = WARPS * COLUMNS * heads.head_dim * size_of::<f32>();
        let shared = (query_bytes + WARPS * (scale_bytes + 2 * stage.bytes)).max(merged);
        let kernels = layer.kernels(Source::Attend, heads.head_dim);
        let function = self.gpu.function(&kernels, "attend")?;
        function.set_attribute(
            cudarc::driver::sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            shared as i32,
        )?;
        // As many parts as run at once: one more, and the GPU would wait for it with all else idle.
        let resident = function.occupancy_max_active_blocks_per_multiprocessor(
            (WARPS * 32) as u32,
            shared,
            None,
        )?;
        let resident = (resident as usize).min(MOST_RESIDENT) * self.gpu.multiprocessors();
        let longest = self.capacity.div_ceil(layout.unit() * WARPS);
        let n_splits = (resident / (y * z)).clamp(1, longest.max(1));
        let args = AttendArgs {
            keys,
            values,
            queries: address(stream, queries),
            partial: address(stream, &self.partial),
            partial_sums: address(stream, &self.partial_sums),
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
            stage_key_params: stage.key_params as u32,
            stage_value_params: stage.value_params as u32,
            // Softmax is in powers of two.
            logit_scale: std::f32::consts::LOG2_E / (heads.head_dim as f32).sqrt(),
        };
        let mut launch = stream.launch_builder(&function);
        launch.arg(&args);
        // SAFETY: the arguments describe the memory of this cache and buffers that were sized for every grid
        // that is launched.
        unsafe { launch.launch(launch_config([n_splits, y, z], WARPS * 32, shared)) }?;

        let (output, half_output) = match output {
            Output::Single(output) => (address(stream, output), 0),
            Output::Half(output) => (0, address(stream, output)),
        };
        let args = CombineArgs {
            partial: args.partial,
            partial_sums: args.partial_sums,
            output,
            half_output,
            n_heads: args.n_heads,
            n_kv_heads: args.n_kv_heads,
            n_new: args.n_new,
            n_splits: args.n_splits,
            is_rotated: u32::from(layer.rotate[1]),
        };
        let function = self.gpu.function(&kernels, "combine")?;
        let mut launch = stream.launch_builder(&function);
        launch.arg(&args);
        let grid = [heads.n_heads, n_new, self.n_sequences];
        // SAFETY: as above; the output has the shape of the queries.
        unsafe { launch.launch(launch_config(grid, 32, 0)) }?;
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

    /// Whether the tokens of an append wait in the chunk until all of their queries have attended.
    fn in_chunk(&self, layer: &Layer, n_new: usize) -> bool {
        n_new > 1 && layer.packs()
    }

    fn side_args(&self, layer: &Layer) -> (SideArgs, SideArgs) {
        let stream = self.gpu.stream();
        let chunk_rows = (BLOCK + self.most_new).next_multiple_of(BLOCK);
        let side = |layout: &SideLayout, memory: &SideMemory, which: usize| SideArgs {
            codes: address(stream, &memory.codes),
            params: address(stream, &memory.params),
            sinks: address(stream, &memory.exact),
            ring: address(stream, &memory.exact) + (memory.ring_start * size_of::<u16>()) as u64,
            chunk: self.chunk.as_ref().map_or(0, |chunk| address(stream, &chunk[which])),
            heads: address(stream, &memory.heads),
            channels: address(stream, &memory.channels),
            ..layout.args(layer.rotate[which], chunk_rows)
        };
        (
            side(&layer.layout.keys, &layer.keys, 0),
            side(&layer.layout.values, &layer.values, 1),
        )
    }
}

/// Blocks of threads that share the queries of `n_new` tokens: over the heads, and over sequences and tokens.
fn blocks_of_queries(heads: Heads, n_sequences: usize, n_new: usize) -> [usize; 2] {
    let part = heads.group_size().min(COLUMNS);
    let y = heads.n_kv_heads * heads.group_size().div_ceil(COLUMNS);
    [y, n_sequences * n_new.div_ceil(COLUMNS / part)]
}

impl Layer {
    fn new(
        stream: &Arc<CudaStream>,
        shape: CacheShape,
        layout: LayerLayout,
        n_sequences: usize,
        rotate: [bool; 2],
    ) -> Result<Layer> {
        Ok(Layer {
            keys: SideMemory::new(stream, shape, &layout.keys, n_sequences)?,
            values: SideMemory::new(stream, shape, &layout.values, n_sequences)?,
            layout,
            rotate,
        })
    }

    fn packs(&self) -> bool {
        self.layout.keys.params != Params::None || self.layout.values.params != Params::None
    }

    fn bytes(&self) -> usize {
        self.keys.bytes() + self.values.bytes()
    }

    fn kernels(&self, source: Source, head_dim: usize) -> Kernels {
        let LayerLayout { keys, values } = &self.layout;
        let defines = vec![
            format!("HEAD_DIM={head_dim}"),
            format!("KEYS={}", keys.params as u8),
            format!("VALUES={}", values.params as u8),
            format!("KEY_GROUP={}", keys.group),
            format!("VALUE_GROUP={}", values.group),
        ];
        Kernels { source, defines }
    }
}

impl LayerLayout {
    /// Tokens that a warp takes at a time.
    fn unit(&self) -> usize {
        self.keys.group.max(BLOCK)
    }
}

impl SideMemory {
    fn new(
        stream: &Arc<CudaStream>,
        shape: CacheShape,
        layout: &SideLayout,
        n_sequences: usize,
    ) -> Result<SideMemory> {
        let rows = |rows: usize| n_sequences * shape.n_kv_heads * rows * shape.head_dim;
        // Nothing is allocated as nothing; an empty slice has no address.
        let at_least_one = |n: usize| n.max(1);
        let device = |heads: &[Head]| match heads.is_empty() {
            true => stream.clone_htod(&[Head::default()]),
            false => stream.clone_htod(heads),
        };
        let device_channels = |channels: &[Channel]| match channels.is_empty() {
            true => stream.clone_htod(&[Channel::default()]),
            false => stream.clone_htod(channels),
        };
        Ok(SideMemory {
            codes: stream.alloc_zeros(at_least_one(n_sequences * layout.code_bytes))?,
            params: stream.alloc_zeros(at_least_one(n_sequences * layout.param_bytes))?,
            exact: stream.alloc_zeros(rows(layout.exact_rows()))?,
            heads: device(&layout.heads)?,
            channels: device_channels(&layout.channels)?,
            ring_start: rows(layout.sink_rows),
        })
    }

    fn bytes(&self) -> usize {
        let packed = |slice: &CudaSlice<u8>| if slice.len() == 1 { 0 } else { slice.len() };
        packed(&self.codes) + packed(&self.params) + self.exact.num_bytes()
    }
}

/// Where the parts of a block lie in shared memory.
struct Stage {
    values: usize,
    key_params: usize,
    value_params: usize,
    bytes: usize,
}

impl Stage {
    fn new(layout: &LayerLayout) -> Stage {
        let LayerLayout { keys, values } = layout;
        if keys.params == Params::None && values.params == Params::None {
            return Stage { values: 0, key_params: 0, value_params: 0, bytes: STREAM_BYTES / 2 };
        }
        // The last tiles are read as a whole.
        let key_bytes = keys.most(|head| head.block_bytes).next_multiple_of(32) + 256;
        let sets = BLOCK.div_ceil(keys.group);
        let values_at = key_bytes;
        let key_params = values_at + values.most(|head| head.block_bytes);
        let value_params = key_params + sets * keys.most(|head| head.param_bytes);
        let bytes = value_params + values.most(|head| head.param_bytes);
        Stage { values: values_at, key_params, value_params, bytes: bytes.next_multiple_of(16) }
    }
}

/// The address of a slice. Everything runs on one stream, in order.
pub(super) fn address<T>(stream: &CudaStream, slice: &CudaSlice<T>) -> u64 {
    let (address, _in_use) = slice.device_ptr(stream);
    address
}
