//! The quantized caches of a batch of sequences in device memory.

use super::attend::{COLUMNS, MOST_RESIDENT, Shared, blocks_of_queries};
use super::gpu::{Gpu, Kernels, Source};
use super::layout::{BLOCK, Channel, Head, LayerLayout, Params, SideArgs, SideLayout};
use crate::attention::Heads;
use crate::cache::{CacheShape, check_plan};
use crate::policy::Plan;
use crate::{Error, Result};
use cudarc::driver::{CudaFunction, CudaSlice, CudaStream, DevicePtr};
use std::sync::Arc;

/// The caches of a batch of sequences, in the formats of a plan.
///
/// All memory is taken when it is made: what `capacity` tokens of each sequence need.
#[derive(Debug)]
pub struct GpuCache {
    pub(super) gpu: Arc<Gpu>,
    pub(super) shape: CacheShape,
    pub(super) heads: Heads,
    pub(super) n_sinks: usize,
    pub(super) n_sequences: usize,
    pub(super) capacity: usize,
    pub(super) most_new: usize,
    pub(super) layers: Vec<Layer>,
    /// Rows of the tokens that are being appended, of whatever layer.
    chunk: Option<[CudaSlice<u16>; 2]>,
    lengths: Vec<usize>,
    pub(super) device_lengths: CudaSlice<u32>,
    pub(super) partial: CudaSlice<f32>,
    pub(super) partial_sums: CudaSlice<f32>,
    /// How many parts are done, for each block of queries; zero between launches.
    pub(super) done: CudaSlice<u32>,
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
pub(super) struct Layer {
    pub(super) layout: LayerLayout,
    pub(super) kernels: LayerKernels,
    keys: SideMemory,
    values: SideMemory,
    rotate: [bool; 2],
}

/// The kernels compiled for the formats of a layer.
#[derive(Debug)]
pub(super) struct LayerKernels {
    pub(super) append: CudaFunction,
    pub(super) carry: CudaFunction,
    pub(super) pack_keys: Option<CudaFunction>,
    pub(super) pack_values: Option<CudaFunction>,
    pub(super) advance: CudaFunction,
    pub(super) attend: CudaFunction,
    /// What a block of `attend` needs, and how many run on a multiprocessor at once.
    pub(super) shared: Shared,
    pub(super) resident: usize,
}

#[derive(Debug)]
struct SideMemory {
    packed: CudaSlice<u8>,
    exact: CudaSlice<u16>,
    heads: CudaSlice<Head>,
    channels: CudaSlice<Channel>,
    /// Where the ring starts in `exact`, behind the sinks.
    ring_start: usize,
}

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
        if most_new > 1 && n_sequences != 1 {
            let problem = "chunks are appended to one sequence at a time".to_owned();
            return Err(Error::PlanDoesNotFit { plan: plan.to_string(), problem });
        }
        let layouts = layouts(shape, plan, capacity)?;
        let stream = gpu.stream();
        let rotate = [plan.rotate.keys, plan.rotate.values];
        let layers = layouts
            .into_iter()
            .map(|layout| Layer::new(gpu, shape, layout, n_sequences, rotate))
            .collect::<Result<Vec<Layer>>>()?;
        let chunk = (most_new > 1 && layers.iter().any(Layer::packs)).then(|| {
            let len = shape.n_kv_heads * chunk_rows(most_new) * shape.head_dim;
            Ok::<_, Error>([stream.alloc_zeros(len)?, stream.alloc_zeros(len)?])
        });
        // Splits are chosen so that this suffices.
        let blocks: usize = blocks_of_queries(heads, n_sequences, most_new).iter().product();
        let parts = blocks.max(MOST_RESIDENT * gpu.multiprocessors());
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
            done: stream.alloc_zeros(blocks)?,
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
        let layouts = layouts(shape, plan, size.capacity)?;
        let sides = layouts.iter().flat_map(|layout| [&layout.keys, &layout.values]);
        let bytes = sides.map(|side| {
            let rows = side.exact_rows() * shape.n_kv_heads;
            side.packed_bytes + rows * shape.head_dim * size_of::<u16>()
        });
        Ok(size.n_sequences * bytes.sum::<usize>())
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
        assert_eq!((self.capacity, from.n_sequences), (from.capacity, 1));
        let (stream, shape) = (Arc::clone(self.gpu.stream()), self.shape);
        let from = &from.layers[from_layer];
        let layer = &mut self.layers[layer_idx];
        for (to, from, layout) in [
            (&mut layer.keys, &from.keys, &layer.layout.keys),
            (&mut layer.values, &from.values, &layer.layout.values),
        ] {
            let len = layout.packed_bytes;
            if len > 0 {
                let to = &mut to.packed.slice_mut(sequence * len..(sequence + 1) * len);
                stream.memcpy_dtod(&from.packed.slice(..len), to)?;
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

    /// Whether the tokens of an append wait in the chunk until all of their queries have attended.
    pub(super) fn in_chunk(&self, layer: &Layer, n_new: usize) -> bool {
        n_new > 1 && layer.packs()
    }

    pub(super) fn side_args(&self, layer: &Layer) -> (SideArgs, SideArgs) {
        let stream = self.gpu.stream();
        let side = |layout: &SideLayout, memory: &SideMemory, which: usize| SideArgs {
            packed: address(stream, &memory.packed),
            sinks: address(stream, &memory.exact),
            ring: address(stream, &memory.exact) + (memory.ring_start * size_of::<u16>()) as u64,
            chunk: self.chunk.as_ref().map_or(0, |chunk| address(stream, &chunk[which])),
            heads: address(stream, &memory.heads),
            channels: address(stream, &memory.channels),
            ..layout.args(layer.rotate[which], chunk_rows(self.most_new))
        };
        (side(&layer.layout.keys, &layer.keys, 0), side(&layer.layout.values, &layer.values, 1))
    }
}

/// How each layer of a plan lies in memory.
fn layouts(shape: CacheShape, plan: &Plan, capacity: usize) -> Result<Vec<LayerLayout>> {
    let refuse = |problem| Error::PlanDoesNotFit { plan: plan.to_string(), problem };
    let formats = check_plan(shape, plan)?;
    let layout = |format| LayerLayout::new(shape, format, plan, capacity).map_err(refuse);
    formats.iter().map(layout).collect()
}

/// Rows of a chunk: those that are new, and those before them in their first block.
fn chunk_rows(most_new: usize) -> usize {
    (BLOCK + most_new).next_multiple_of(BLOCK)
}

impl Layer {
    fn new(
        gpu: &Gpu,
        shape: CacheShape,
        layout: LayerLayout,
        n_sequences: usize,
        rotate: [bool; 2],
    ) -> Result<Layer> {
        let stream = gpu.stream();
        Ok(Layer {
            kernels: LayerKernels::new(gpu, &layout, shape.head_dim)?,
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
}

impl LayerKernels {
    fn new(gpu: &Gpu, layout: &LayerLayout, head_dim: usize) -> Result<LayerKernels> {
        let LayerLayout { keys, values } = layout;
        let function = |source, name| {
            let defines = vec![
                format!("HEAD_DIM={head_dim}"),
                format!("KEYS={}", keys.params as u8),
                format!("VALUES={}", values.params as u8),
                format!("KEY_GROUP={}", keys.group),
                format!("VALUE_GROUP={}", values.group),
            ];
            gpu.function(&Kernels { source, defines }, name)
        };
        let packing = |side: &SideLayout, name| {
            let packs = side.params != Params::None;
            packs.then(|| function(Source::Append, name)).transpose()
        };
        let attend = function(Source::Attend, "attend")?;
        let shared = Shared::new(layout, head_dim);
        Ok(LayerKernels {
            append: function(Source::Append, "append")?,
            carry: function(Source::Append, "carry")?,
            pack_keys: packing(keys, "pack_keys")?,
            pack_values: packing(values, "pack_values")?,
            advance: function(Source::Append, "advance")?,
            resident: shared.resident(gpu, &attend)?,
            shared,
            attend,
        })
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
            packed: stream.alloc_zeros(at_least_one(n_sequences * layout.packed_bytes))?,
            exact: stream.alloc_zeros(rows(layout.exact_rows()))?,
            heads: device(&layout.heads)?,
            channels: device_channels(&layout.channels)?,
            ring_start: rows(layout.sink_rows),
        })
    }

    fn bytes(&self) -> usize {
        let packed = if self.packed.len() == 1 { 0 } else { self.packed.len() };
        packed + self.exact.num_bytes()
    }
}

/// The address of a slice. Everything runs on one stream, in order.
pub(super) fn address<T>(stream: &CudaStream, slice: &CudaSlice<T>) -> u64 {
    let (address, _in_use) = slice.device_ptr(stream);
    address
}
