//! Measuring a model under a plan.
//!
//! | file | what |
//! |---|---|
//! | [`perplexity`] | perplexity of a text, each query seeing what decoding would have left |
//! | [`paired`] | what a plan costs against another on the same windows, with its uncertainty |

pub mod paired;
pub mod perplexity;

pub use perplexity::{Evaluation, Protocol, ScoringRule, evaluate};
