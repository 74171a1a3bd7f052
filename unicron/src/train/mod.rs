//! The reference trainer: a small GPT on real text, over processes that may die.
//!
//! It exists to prove the transition bit for bit. Gradients are added up over a fixed binary tree of
//! micro-batch numbers, never over ranks, and samples depend on the iteration and the micro-batch alone:
//! so any number of replicas and any redistribution give the same weights as one process.
//!
//! | what | file |
//! |---|---|
//! | what a run is | [`settings`] |
//! | the text, and the samples of an iteration | [`text`] |
//! | the model, by pipeline stages | [`model`] |
//! | sums over the tree of micro-batches | [`sums`] |
//! | a worker, from one group to the next | [`member`] |
//! | moments at which it may be made to fail | [`moment`] |
//! | checkpoints on disk | [`checkpoint`] |
//! | one worker's part of an iteration, pure | [`round`] |
//! | connections of a group, messages | [`mesh`] |
//! | a stage's state, the optimiser | [`adam`] |
//! | the tree beside a ring: bytes, memory, time | [`cost`] |
//! | one process alone, the oracle | [`alone`] |
//! | a name for a worker's arithmetic | [`fingerprint`](mod@fingerprint) |
//! | the file of weights | [`weights`] |

pub mod adam;
pub mod alone;
pub mod checkpoint;
pub mod cost;
pub mod fingerprint;
pub mod member;
pub mod mesh;
pub mod model;
pub mod moment;
pub mod round;
pub mod settings;
pub mod sums;
pub mod text;
pub mod weights;

pub use settings::{Settings, Shape};

/// Bytes as hexadecimal digits.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
