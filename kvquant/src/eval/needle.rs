//! Needle in a haystack: a sentence hidden at some depth of a long text, and a question for it.
//!
//! "The special magic number for Lisbon is 4815." stands somewhere between sentences of essays; after the text
//! the model has to go on with the number. Perplexity says little of that: one token among thousands.

use super::reader::Reader;
use crate::model::Llama;
use crate::model::tokenizer::Tokenizer;
use crate::policy::Plan;
use crate::{Error, Result};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CITIES: [&str; 16] = [
    "Lisbon", "Oslo", "Cairo", "Lima", "Kyoto", "Dublin", "Nairobi", "Quito", "Hanoi", "Prague",
    "Havana", "Sydney", "Boston", "Athens", "Delhi", "Warsaw",
];

/// What is hidden and asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    city: &'static str,
    number: u32,
}

impl Needle {
    /// One of many, by its seed.
    pub fn from_seed(seed: u64) -> Needle {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let city = CITIES.choose(&mut rng).copied().unwrap_or(CITIES[0]);
        Needle { city, number: rng.random_range(1000..10_000) }
    }

    fn sentence(&self) -> String {
        format!(" The special magic number for {} is {}.", self.city, self.number)
    }

    fn question(&self) -> String {
        let Needle { city, .. } = self;
        format!(
            "\n\nQuestion: What is the special magic number for {city}?\nAnswer: The special magic number for \
             {city} is"
        )
    }
}

/// A text of a given length that is read once, up to where a needle is hidden.
#[derive(Debug)]
pub struct Haystack<'a> {
    tokenizer: &'a Tokenizer,
    /// As many as fit beside the needle and the question.
    tokens: &'a [u32],
    reader: Reader<'a>,
}

impl<'a> Haystack<'a> {
    /// Tokens that are left for the needle, the question and the answer.
    const ROOM: usize = 96;

    /// The first of `text`'s tokens, so that a whole prompt has `length` tokens.
    ///
    /// # Errors
    /// If the text is too short, `length` is too small, or the plan does not fit the model.
    pub fn new(
        model: &'a Llama,
        tokenizer: &'a Tokenizer,
        text: &'a [u32],
        length: usize,
        plan: &Plan,
    ) -> Result<Haystack<'a>> {
        let short = || Error::TextTooShort { n_tokens: text.len(), context: length };
        let n_tokens = length.checked_sub(Haystack::ROOM).filter(|&n| n > 0).ok_or_else(short)?;
        let tokens = text.get(..n_tokens).ok_or_else(short)?;
        Ok(Haystack { tokenizer, tokens, reader: Reader::new(model, plan)? })
    }

    /// Hides a needle at this part of the text and asks for it: whether the answer has the number. Depths
    /// have to rise from call to call: what was read is not read again.
    ///
    /// # Errors
    /// If the model fails.
    pub fn finds(&mut self, needle: &Needle, depth: f64) -> Result<bool> {
        let hidden_at = self.end_of_sentence(depth)?;
        let read = self.reader.n_tokens();
        if read < hidden_at {
            self.reader.read(&self.tokens[read..hidden_at])?;
        }
        let mut reader = self.reader.clone();
        let mut rest = self.tokenizer.encode(&needle.sentence(), false)?;
        rest.extend(&self.tokens[reader.n_tokens()..]);
        rest.extend(self.tokenizer.encode(&needle.question(), false)?);
        reader.read(&rest)?;
        // The number has at most as many tokens as digits, and a space before them.
        let answer = reader.go_on(self.tokenizer, 6, |_| false)?;
        Ok(answer.trim_start().starts_with(&needle.number.to_string()))
    }

    /// Where the sentence ends that has the token at this part of the text.
    fn end_of_sentence(&self, depth: f64) -> Result<usize> {
        let from = (depth.clamp(0.0, 1.0) * self.tokens.len() as f64) as usize;
        if from == 0 {
            return Ok(0);
        }
        for end in from..self.tokens.len() {
            if self.tokenizer.decode(&self.tokens[end - 1..end])?.trim_end().ends_with('.') {
                return Ok(end);
            }
        }
        Ok(self.tokens.len())
    }
}
