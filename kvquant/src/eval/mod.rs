//! Measuring a model under a plan.
//!
//! | file | what |
//! |---|---|
//! | [`perplexity`] | perplexity of a text, each query seeing what decoding would have left |
//! | [`divergence`] | how far a plan moves the predictions of half precision |
//! | [`reader`] | a text that has been read, to be gone on with in several ways |
//! | [`score`] | a mean, and whether it is more than chance |
//! | [`truthfulqa`], [`gsm8k`], [`leval`] | the tasks of those names |
//! | [`needle`] | whether a sentence is found in a long text |
//! | [`paired`] | what a plan costs against another on the same windows, with its uncertainty |

pub mod divergence;
pub mod gsm8k;
pub mod leval;
pub mod needle;
pub mod paired;
pub mod perplexity;
pub mod reader;
pub mod score;
pub mod truthfulqa;

pub use perplexity::{Evaluation, Protocol, ScoringRule, evaluate};
