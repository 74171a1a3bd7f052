//! AsymKV: a key-value cache of 1 and 2 bits, asymmetric between keys and values and between layers.
//!
//! The output of attention is far more sensitive to errors in keys than in values, so the two get
//! different bits, layer by layer (Tao, Yu, Zhou: "AsymKV: Enabling 1-Bit Quantization of KV Cache
//! with Layer-Wise Asymmetric Quantization Configurations", COLING 2025). In reading order:
//!
//! - [`quant`]: the quantizer and bit packing
//! - [`policy`]: plans, the format of each layer's keys and values
//! - [`cache`]: the quantized cache of a sequence; memory by arithmetic
//! - [`attention`]: grouped-query attention over it
//! - [`cuda`]: the same cache and attention on NVIDIA GPUs
//! - [`model`]: Llama-family models from GGUF files on top
//! - [`eval`]: perplexity, as decoding would give it; divergence, tasks, needles
//! - [`analysis`]: what becomes of errors in keys and in values (section 3)
//! - [`measure`]: timings, on CPUs
//! - [`search`]: plans under a budget of bytes, by what each part of the cache is worth
//! - [`presets`]: searched plans under names
//! - [`commands`]: what people type
//!
//! | claim of the paper | section | module | test |
//! |---|---|---|---|
//! | round-to-nearest groups, `q*s + z` (misprinted there) | 2.2, eq. 4 to 6 | [`quant::group`] | `decodes_as_kivi_does_not_as_printed` |
//! | keys by channel, values by token, group 32, window 128 | 5.1 | [`cache`] | `chunks_see_what_decoding_would_leave` |
//! | AsymKV-l_k/l_v | 4 | [`policy`] | `prefix_rule_follows_the_paper` |
//! | KIVI-2 is AsymKV-L/L | 4 | [`policy`] | `kivi_is_the_full_prefix` |
//! | memory saved against KIVI | 5.4, figure 4 | [`cache::bytes`] | `savings_of_the_paper` |
//! | theorem 1, errors of keys grow on their way | 3 | [`analysis`] | `the_theorem_holds_and_keys_matter_more` |
//! | keys matter more than values | 3, table 2 | [`eval`] | `keys_matter_more_than_values` |

pub mod analysis;
pub mod attention;
pub mod cache;
pub mod commands;
pub mod cuda;
mod error;
pub mod eval;
pub mod isa;
pub mod measure;
pub mod model;
pub mod policy;
pub mod presets;
pub mod quant;
pub mod search;

pub use error::{Error, Result};
