//! How a plan's cache lies in device memory: what `kernels/layout.cuh` says, in Rust.

use crate::cache::CacheShape;
use crate::cache::layer::{Side, key_channels, retention, value_bits};
use crate::cache::retention::Retention;
use crate::policy::{LayerFormat, Plan, SideFormat};
use crate::quant::levels::Levels;
use cudarc::driver::DeviceRepr;

/// Tokens of a block.
pub(super) const BLOCK: usize = 64;
/// What asynchronous copies need.
const ALIGNMENT: usize = 16;

/// How the parameters of packed tokens are stored; `PARAMS_…` in the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Params {
    /// Nothing is packed.
    None = 0,
    Bytes = 1,
    /// Scale and zero.
    Halves = 2,
    /// Scale and centre.
    CentredHalves = 3,
}

/// `Head` of the kernels.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Head {
    pub(super) offset: u64,
    pub(super) record_bytes: u32,
    pub(super) block_bytes: u32,
    pub(super) param_bytes: u32,
    pub(super) pairs: u32,
    pub(super) singles: u32,
    pub(super) reserved: u32,
}

/// `Channel` of the kernels.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Channel {
    pub(super) range: f32,
    pub(super) first_pair: u16,
    pub(super) single: u16,
    pub(super) bits: u16,
    pub(super) scale_index: u16,
}

/// `Side` of the kernels; addresses are in device memory.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct SideArgs {
    pub(super) packed: u64,
    pub(super) sinks: u64,
    pub(super) ring: u64,
    pub(super) chunk: u64,
    pub(super) heads: u64,
    pub(super) channels: u64,
    pub(super) sequence_bytes: u64,
    pub(super) sink_rows: u32,
    pub(super) ring_rows: u32,
    pub(super) chunk_rows: u32,
    pub(super) retention: u32,
    pub(super) window: u32,
    pub(super) group: u32,
    pub(super) is_rotated: u32,
    pub(super) reserved: u32,
}

// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Head {}
// SAFETY: plain numbers, laid out as in C.
unsafe impl DeviceRepr for Channel {}

/// One side of a layer.
#[derive(Debug, Clone)]
pub(super) struct SideLayout {
    pub(super) params: Params,
    /// Tokens of a group of keys, channels of a group of values.
    pub(super) group: usize,
    pub(super) heads: Vec<Head>,
    /// Keys only: `[KV heads][channels]`.
    pub(super) channels: Vec<Channel>,
    pub(super) retention: Retention,
    pub(super) ring_rows: usize,
    pub(super) sink_rows: usize,
    /// Of one sequence.
    pub(super) packed_bytes: usize,
}

/// One layer.
#[derive(Debug, Clone)]
pub(super) struct LayerLayout {
    pub(super) keys: SideLayout,
    pub(super) values: SideLayout,
}

impl LayerLayout {
    /// The layout of a layer for sequences of at most `capacity` tokens.
    ///
    /// # Errors
    /// What the kernels have no form for, and what they have.
    pub(super) fn new(
        shape: CacheShape,
        format: &LayerFormat,
        plan: &Plan,
        capacity: usize,
    ) -> Result<LayerLayout, String> {
        if ![64, 128].contains(&shape.head_dim) {
            return Err(format!("heads have {} channels; GPUs take 64 and 128", shape.head_dim));
        }
        if plan.pre_rope || plan.jensen {
            return Err("GPUs have no keys before rotary embedding and no corrected logits".into());
        }
        Ok(LayerLayout {
            keys: SideLayout::keys(shape, &format.keys, plan, capacity)?,
            values: SideLayout::values(shape, &format.values, plan, capacity)?,
        })
    }
}

impl SideLayout {
    fn keys(
        shape: CacheShape,
        format: &SideFormat,
        plan: &Plan,
        capacity: usize,
    ) -> Result<SideLayout, String> {
        let params = match format {
            SideFormat::F16 => Params::None,
            SideFormat::Rtn(_) => Params::Halves,
            SideFormat::Int(_) => Params::CentredHalves,
            SideFormat::IntChannels(heads) => {
                let ranged = heads.iter().filter(|head| head.range(0).is_some()).count();
                match ranged {
                    0 => Params::CentredHalves,
                    n if n == heads.len() => Params::Bytes,
                    _ => return Err("either all heads of keys have ranges or none".into()),
                }
            }
            other => return Err(format!("{other} keys have no kernel on GPUs")),
        };
        let usual = match format {
            SideFormat::Rtn(_) => Levels::MinMax,
            _ => Levels::LeastSquares,
        };
        check_levels("keys", format, plan.levels.keys, usual)?;
        let packs = params != Params::None;
        let group = if packs { plan.group } else { BLOCK };
        if !group.is_multiple_of(BLOCK) && ![16, 32].contains(&group) {
            return Err(format!(
                "keys in groups of {group} tokens have no kernel on GPUs: take 16, 32 or a multiple \
                 of {BLOCK}"
            ));
        }
        let retention = retention(Side::Keys, format, plan);
        let mut layout = SideLayout::exact(params, group, retention, plan, capacity);
        if !packs {
            return Ok(layout);
        }
        let n_units = capacity.div_ceil(layout.unit());
        let (n_groups, n_blocks) = (layout.sets(), layout.unit() / BLOCK);
        for head_idx in 0..shape.n_kv_heads {
            let channels = match format {
                SideFormat::Rtn(width) => crate::policy::KeyChannels::uniform(width.bits() as u8),
                _ => key_channels(format, head_idx).expect("integer keys"),
            };
            let (mut pairs, mut singles, mut scales) = (0, 0, 0);
            for channel in 0..shape.head_dim {
                let bits = channels.bits(channel);
                layout.channels.push(Channel {
                    range: channels.range(channel).unwrap_or(0.0),
                    first_pair: pairs as u16,
                    single: singles as u16,
                    bits: bits as u16,
                    scale_index: scales as u16,
                });
                pairs += bits as usize / 2;
                singles += bits as usize % 2;
                scales += usize::from(bits > 0);
            }
            let number = if params == Params::Bytes { 1 } else { 2 };
            // Columns of digits are stored by fours.
            let block_bytes = pairs.div_ceil(4) * 64 + singles.div_ceil(4) * 32;
            let param_bytes = ((shape.head_dim + scales) * number).next_multiple_of(ALIGNMENT);
            layout.push_head(
                Head {
                    record_bytes: (n_groups * param_bytes + n_blocks * block_bytes) as u32,
                    block_bytes: block_bytes as u32,
                    param_bytes: param_bytes as u32,
                    pairs: pairs as u32,
                    singles: singles as u32,
                    ..Head::default()
                },
                n_units,
            );
        }
        Ok(layout)
    }

    fn values(
        shape: CacheShape,
        format: &SideFormat,
        plan: &Plan,
        capacity: usize,
    ) -> Result<SideLayout, String> {
        let params = match format {
            SideFormat::F16 => Params::None,
            SideFormat::Rtn(_) => Params::Halves,
            SideFormat::Int(_) | SideFormat::IntHeads(_) => Params::Bytes,
            other => return Err(format!("{other} values have no kernel on GPUs")),
        };
        let usual = match format {
            SideFormat::Rtn(_) => Levels::MinMax,
            _ => Levels::Unbiased,
        };
        check_levels("values", format, plan.levels.values, usual)?;
        let group = match params {
            Params::Halves => plan.group.min(shape.head_dim),
            _ => shape.head_dim,
        };
        if !group.is_multiple_of(32) || !shape.head_dim.is_multiple_of(group) {
            return Err(format!(
                "values in groups of {group} channels have no kernel on GPUs: take 32, 64 or 128"
            ));
        }
        let retention = retention(Side::Values, format, plan);
        let mut layout = SideLayout::exact(params, group, retention, plan, capacity);
        let n_blocks = capacity.div_ceil(BLOCK);
        for head_idx in 0..shape.n_kv_heads {
            let bits = match format {
                SideFormat::F16 => break,
                SideFormat::Rtn(width) => width.bits(),
                _ => value_bits(format, head_idx).expect("integer values"),
            };
            let number = if params == Params::Bytes { 1 } else { 4 * (shape.head_dim / group) };
            let block_bytes = bits as usize * BLOCK * shape.head_dim / 8;
            layout.push_head(
                Head {
                    record_bytes: (block_bytes + number * BLOCK) as u32,
                    block_bytes: block_bytes as u32,
                    param_bytes: (number * BLOCK) as u32,
                    pairs: bits / 2,
                    singles: bits % 2,
                    ..Head::default()
                },
                n_blocks,
            );
        }
        Ok(layout)
    }

    /// A side of which nothing is packed yet.
    fn exact(
        params: Params,
        group: usize,
        retention: Retention,
        plan: &Plan,
        capacity: usize,
    ) -> SideLayout {
        let needed = match retention {
            Retention::KeepAll | Retention::Immediate => capacity,
            Retention::Gather { block } => block,
            Retention::Lag { window, group } => window + group,
            Retention::Slide { window } => window + 1,
        };
        SideLayout {
            params,
            group,
            heads: Vec::new(),
            channels: Vec::new(),
            retention,
            ring_rows: needed.min(capacity).next_multiple_of(BLOCK),
            sink_rows: plan.sinks.min(capacity).next_multiple_of(16),
            packed_bytes: 0,
        }
    }

    fn push_head(&mut self, head: Head, n_records: usize) {
        self.heads.push(Head { offset: self.packed_bytes as u64, ..head });
        self.packed_bytes += head.record_bytes as usize * n_records;
    }

    /// Tokens of a record of keys.
    pub(super) fn unit(&self) -> usize {
        self.group.max(BLOCK)
    }

    /// Groups of a record of keys.
    pub(super) fn sets(&self) -> usize {
        BLOCK.div_ceil(self.group)
    }

    /// Half-precision rows of a KV head of a sequence.
    pub(super) fn exact_rows(&self) -> usize {
        self.ring_rows + self.sink_rows
    }

    /// The numbers of this side for the kernels; addresses are left out.
    pub(super) fn args(&self, is_rotated: bool, chunk_rows: usize) -> SideArgs {
        let (retention, window, group) = match self.retention {
            Retention::KeepAll | Retention::Immediate => (0, 0, 1),
            Retention::Gather { block } => (1, block, 1),
            Retention::Lag { window, group } => (2, window, group),
            Retention::Slide { window } => (3, window, 1),
        };
        SideArgs {
            sequence_bytes: self.packed_bytes as u64,
            sink_rows: self.sink_rows as u32,
            ring_rows: self.ring_rows as u32,
            chunk_rows: chunk_rows as u32,
            retention,
            window: window as u32,
            group: group as u32,
            is_rotated: u32::from(is_rotated),
            ..SideArgs::default()
        }
    }

    /// The largest of the heads' numbers.
    pub(super) fn most(&self, number: impl Fn(&Head) -> u32) -> usize {
        self.heads.iter().map(number).max().unwrap_or(0) as usize
    }
}

/// Levels by another rule than the format's own are for the CPU.
fn check_levels(
    side: &str,
    format: &SideFormat,
    asked: Option<Levels>,
    usual: Levels,
) -> Result<(), String> {
    match asked {
        Some(levels) if levels != usual && *format != SideFormat::F16 => {
            Err(format!("{format} {side} by {levels} levels have no kernel on GPUs; {usual} have"))
        }
        _ => Ok(()),
    }
}
