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

/// Tokens of an answer at most: as many as a number has digits, and a space before them.
const ANSWER: usize = 6;
/// Texts of one length begin so many tokens apart.
const STRIDE: usize = 997;

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
    /// Hides needles in a part of `text`, each in the middle of an equal share of it, so that with the longest
    /// question and an answer a whole prompt has `length` tokens. Other trials take other parts, where the text has
    /// enough of them.
    ///
    /// # Errors
    /// If the text is too short, `length` is too small, or a token isn't one of the tokenizer's.
    pub fn new(
        tokenizer: &'a Tokenizer,
        text: &[u32],
        trial: usize,
        length: usize,
        needles: &'a [Needle],
    ) -> Result<Haystack<'a>> {
        let mut room = ANSWER;
        let mut sentences = Vec::with_capacity(needles.len());
        let mut longest = 0;
        for needle in needles {
            let sentence = tokenizer.encode(&needle.sentence(), false)?;
            room += sentence.len();
            longest = longest.max(tokenizer.encode(&needle.question(), false)?.len());
            sentences.push(sentence);
        }
        room += longest;
        let n_tokens = length.checked_sub(room).filter(|&n| n > 0).ok_or_else(|| {
            let n = needles.len();
            Error::DataSet(format!("{n} needles and a question take {room} tokens, not {length}"))
        })?;
        let last = text
            .len()
            .checked_sub(n_tokens)
            .ok_or(Error::TextTooShort { n_tokens: text.len(), context: n_tokens })?;
        let first = trial * STRIDE % (last + 1);
        let text = &text[first..first + n_tokens];
        let mut tokens = Vec::with_capacity(length);
        let mut taken = 0;
        for (sentence, depth) in sentences.iter().zip(Haystack::depths(needles.len())) {
            let hidden_at = end_of_sentence(tokenizer, text, depth)?.max(taken);
            tokens.extend(&text[taken..hidden_at]);
            tokens.extend(sentence);
            taken = hidden_at;
        }
        tokens.extend(&text[taken..]);
        Ok(Haystack { tokenizer, tokens, needles })
    }

    /// Where `n` needles are hidden, as parts of the text.
    pub fn depths(n: usize) -> impl Iterator<Item = f64> {
        (0..n).map(move |at| (at as f64 + 0.5) / n as f64)
    }

    /// The text with its needles.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
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
            let answer = reader.go_on(self.tokenizer, ANSWER, |_| false)?;
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
        assert_eq!(Haystack::depths(2).collect::<Vec<_>>(), [0.25, 0.75]);
    }
}
