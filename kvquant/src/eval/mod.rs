//! Measuring a model under a plan.
//!
//! | file | what |
//! |---|---|
//! | [`perplexity`] | perplexity of a text, each query seeing what decoding would have left |
//! | [`divergence`] | how far a plan moves the predictions of half precision |
//! | [`probability`] | logits as logarithms of probabilities |
//! | [`reader`] | a text that has been read, to be gone on with in several ways |
//! | [`score`] | a mean, and whether it is more than chance |
//! | [`task`] | questions that are asked one by one |
//! | [`truthfulqa`], [`gsm8k`], [`leval`] | the tasks of those names |
//! | [`needle`] | whether a sentence is found in a long text |
//! | [`paired`] | what a plan costs against another on the same windows, with its uncertainty |

pub mod divergence;
pub mod gsm8k;
pub mod leval;
pub mod needle;
pub mod paired;
pub mod perplexity;
pub mod probability;
pub mod reader;
pub mod score;
pub mod task;
pub mod truthfulqa;

pub use perplexity::{Evaluation, Protocol, ScoringRule, evaluate};

use crate::{Error, Result};
use serde::de::DeserializeOwned;

/// The records of a data set's file of JSON lines, each of which `check` finds good.
fn json_lines<T: DeserializeOwned>(
    data_set: &str,
    lines: &str,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Vec<T>> {
    let read = |line: &str| -> Result<T, String> {
        let record: T = serde_json::from_str(line).map_err(|error| error.to_string())?;
        check(&record).map(|()| record)
    };
    lines
        .lines()
        .enumerate()
        .map(|(at, line)| {
            read(line).map_err(|problem| {
                Error::DataSet(format!("{data_set}, line {}: {problem}", at + 1))
            })
        })
        .collect()
}
