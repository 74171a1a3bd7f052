//! The experiments of `kvquant`.
//!
//! | file | what |
//! |---|---|
//! | [`memory`] | bytes saved against KIVI, by arithmetic (figure 4 of the paper) |
//! | [`anchors`] | the engine against values computed by others: numpy, llama.cpp |
//! | [`asymmetry`] | high bits on keys against high bits on values (tables 1 and 2, figure 1) |
//! | [`attention`] | attention alone, on the CPU |
//! | [`decode`] | a whole model's speed and memory, beside llama.cpp |
//! | [`fused`] | the fused kernels against the plain loops, by perplexity |
//! | [`errors`] | what becomes of errors in keys and in values (figures 1 and 2, theorem 1) |
//! | [`plans`] | bits against loss: presets, rules, the paper's and llama.cpp's plans |
//! | [`ablations`] | what each part of a plan is worth |
//! | [`needles`] | retrieval from long texts |
//! | [`tasks`] | tables 1 to 6: tasks under the paper's plans and ours |
//! | [`gpu`] | attention and a whole model on a GPU |
//! | [`resident`] | memory that a process with a model holds |
//! | [`setting`] | model and text, and a plan's score on them |

mod ablations;
mod anchors;
mod asymmetry;
mod attention;
mod decode;
mod errors;
mod fused;
mod gpu;
mod memory;
mod needles;
mod plans;
mod resident;
mod setting;
mod tasks;

pub use ablations::{AblationMetrics, Ablations};
pub use anchors::{AnchorMetrics, Anchors};
pub use asymmetry::{Asymmetry, AsymmetryMetrics};
pub use attention::{Attention, AttentionMetrics};
pub use decode::{Decode, DecodeMetrics};
pub use errors::Errors;
pub use fused::{Fused, FusedMetrics};
pub use gpu::{DecodeRow, GpuAttention, GpuAttentionMetrics, GpuModel, GpuModelMetrics};
pub use memory::{Memory, MemoryMetrics};
pub use needles::{NeedleMetrics, Needles, Retrieval};
pub use plans::{Family, Plans, PlansMetrics, evidence};
pub use resident::{Resident, ResidentMetrics, ResidentProcess};
pub use setting::{PlanScore, SMOLLM2};
pub use tasks::{PAPER_LONG, PAPER_SHORT, TaskScores, Tasks};

const SYSTEM: &str = "kvquant";
