//! Needles in a haystack: sentences hidden at several depths of a long text, and a question for each.
//!
//! "The special magic number for Lisbon is 4815." stands somewhere between sentences of essays, others like it
//! for other cities elsewhere; after the text the model has to go on with the number of the one that is asked for
//! (the multi-key retrieval of RULER, Hsieh et al. 2024). Perplexity says little of that: one token among
//! thousands. The text is read once for all questions.

use super::reader::Reader;
use crate::model::Llama;
use crate::model::tokenizer::Tokenizer;
use crate::policy::Plan;
use crate::{Error, Result};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CITIES: [&str; 16] = [
    "Lisbon", "Oslo", "Cairo", "Lima", "Kyoto", "Dublin", "Nairobi", "Quito", "Hanoi", "Prague",
    "Havana", "Sydney", "Boston", "Athens", "Delhi", "Warsaw",
];

/// The folder of the registered texts that make the haystack of published tests.
pub const ESSAYS: &str = "text/needle";

/// Tokens that are left for the question and the answer.
const QUESTION_ROOM: usize = 64;
/// Tokens that are left for each needle.
const NEEDLE_ROOM: usize = 24;

/// What is hidden and asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needle {
    city: &'static str,
    number: u32,
}

impl Needle {
    /// The most needles of one text, which all are of another city.
    pub const MOST: usize = CITIES.len();

    /// As many needles as asked for, by a seed.
    ///
    /// # Panics
    /// If there are more than [`Needle::MOST`].
    pub fn from_seed(seed: u64, n: usize) -> Vec<Needle> {
        assert!(n <= Needle::MOST, "a needle for each city");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut cities = CITIES;
        cities.shuffle(&mut rng);
        let mut needle = |city| Needle { city, number: rng.random_range(1000..10_000) };
        cities.into_iter().take(n).map(&mut needle).collect()
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

/// A text in which needles are hidden.
#[derive(Debug)]
pub struct Haystack<'a> {
    tokenizer: &'a Tokenizer,
    /// Of the whole text with its needles.
    tokens: Vec<u32>,
    needles: &'a [Needle],
}

impl<'a> Haystack<'a> {
    /// Hides needles in the first of `text`'s tokens, evenly from the start to the end, so that a whole prompt has
    /// `length` tokens.
    ///
    /// # Errors
    /// If the text is too short, `length` is too small, or a token isn't one of the tokenizer's.
    pub fn new(
        tokenizer: &'a Tokenizer,
        text: &[u32],
        length: usize,
        needles: &'a [Needle],
    ) -> Result<Haystack<'a>> {
        let short = || Error::TextTooShort { n_tokens: text.len(), context: length };
        let room = QUESTION_ROOM + needles.len() * NEEDLE_ROOM;
        let n_tokens = length.checked_sub(room).filter(|&n| n > 0).ok_or_else(short)?;
        let text = text.get(..n_tokens).ok_or_else(short)?;
        let mut tokens = Vec::with_capacity(length);
        let mut taken = 0;
        for (needle, depth) in needles.iter().zip(Haystack::depths(needles.len())) {
            let hidden_at = end_of_sentence(tokenizer, text, depth)?.max(taken);
            tokens.extend(&text[taken..hidden_at]);
            tokens.extend(tokenizer.encode(&needle.sentence(), false)?);
            taken = hidden_at;
        }
        tokens.extend(&text[taken..]);
        Ok(Haystack { tokenizer, tokens, needles })
    }

    /// Where `n` needles are hidden, as parts of the text.
    pub fn depths(n: usize) -> impl Iterator<Item = f64> {
        let last = n.saturating_sub(1).max(1) as f64;
        (0..n).map(move |at| at as f64 / last)
    }

    /// Reads the text with a cache of this plan and asks for each needle: whether the answer has the number.
    ///
    /// # Errors
    /// If the plan doesn't fit the model, or the model fails.
    pub fn ask(&self, model: &Llama, plan: &Plan) -> Result<Vec<bool>> {
        let mut read = Reader::new(model, plan)?;
        read.read(&self.tokens)?;
        let ask = |needle: &Needle| {
            let mut reader = read.clone();
            reader.read(&self.tokenizer.encode(&needle.question(), false)?)?;
            // The number has at most as many tokens as digits, and a space before them.
            let answer = reader.go_on(self.tokenizer, 6, |_| false)?;
            Ok(answer.trim_start().starts_with(&needle.number.to_string()))
        };
        self.needles.iter().map(ask).collect()
    }
}

/// Where the sentence ends that has the token at this part of the text.
fn end_of_sentence(tokenizer: &Tokenizer, text: &[u32], depth: f64) -> Result<usize> {
    let from = (depth.clamp(0.0, 1.0) * text.len() as f64) as usize;
    if from == 0 {
        return Ok(0);
    }
    for end in from..text.len() {
        if tokenizer.decode(&text[end - 1..end])?.trim_end().ends_with('.') {
            return Ok(end);
        }
    }
    Ok(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needles_of_a_text_are_of_different_cities() {
        let needles = Needle::from_seed(3, Needle::MOST);
        let mut cities: Vec<&str> = needles.iter().map(|needle| needle.city).collect();
        cities.sort_unstable();
        cities.dedup();
        assert_eq!(cities.len(), Needle::MOST);
        assert_eq!(Needle::from_seed(3, 4), needles[..4]);
        assert_ne!(Needle::from_seed(4, 4), needles[..4]);
        assert_eq!(Haystack::depths(3).collect::<Vec<_>>(), [0.0, 0.5, 1.0]);
    }
}
