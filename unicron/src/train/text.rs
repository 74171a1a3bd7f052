//! The text that is learned, and which samples of it an iteration takes.
//!
//! Samples depend on the seed, the iteration and the micro-batch alone: whoever computes a micro-batch,
//! and however often, computes the same.

use super::settings::Shape;
use crate::{Error, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Bits of a random stream's number that are the micro-batch.
const MICRO_BATCH_BITS: u32 = 20;

/// Our own text, for where there is no other.
pub const OWN: &str = include_str!("../../../docs/unicron/rivals.md");

/// A text.
#[derive(Debug, Clone)]
pub struct Text(Arc<[u8]>);

/// A micro-batch: tokens, and the token that follows each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// `sequences · context` bytes.
    pub tokens: Vec<u32>,
    /// As many.
    pub targets: Vec<u32>,
}

impl Text {
    /// A text for sequences of this shape.
    ///
    /// # Errors
    /// [`Error::Setting`] for one that is shorter than a sequence.
    pub fn new(text: impl Into<Vec<u8>>, shape: &Shape) -> Result<Self> {
        let text: Vec<u8> = text.into();
        if text.len() < shape.context + 2 {
            let problem = format!(
                "{} bytes are less than a sequence and its end, {}",
                text.len(),
                shape.context + 2
            );
            return Err(Error::Setting { setting: "text".to_owned(), problem });
        }
        Ok(Self(text.into()))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The samples of a micro-batch.
    #[must_use]
    pub fn samples(&self, shape: &Shape, seed: u64, iteration: u64, micro_batch: u32) -> Samples {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream((iteration << MICRO_BATCH_BITS) + u64::from(micro_batch));
        let mut samples = Samples { tokens: Vec::new(), targets: Vec::new() };
        let widen = |bytes: &[u8]| bytes.iter().map(|&byte| u32::from(byte)).collect::<Vec<_>>();
        for _ in 0..shape.sequences {
            let start = random.random_range(0..self.0.len() - shape.context);
            let sequence = &self.0[start..=start + shape.context];
            samples.tokens.extend(widen(&sequence[..shape.context]));
            samples.targets.extend(widen(&sequence[1..]));
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_fixed_by_iteration_and_micro_batch() {
        let shape = Shape::NANO;
        let text = Text::new(OWN, &shape).unwrap();
        let samples = text.samples(&shape, 1, 5, 3);
        assert_eq!(samples, text.samples(&shape, 1, 5, 3));
        assert_ne!(samples, text.samples(&shape, 1, 5, 4));
        assert_ne!(samples, text.samples(&shape, 1, 6, 3));
        assert_ne!(samples, text.samples(&shape, 2, 5, 3));
        assert_eq!(samples.tokens.len(), 32);
        assert_eq!(samples.tokens[1..16], samples.targets[..15]);
    }

    #[test]
    fn a_text_is_as_long_as_a_sequence() {
        assert!(Text::new("0123456789abcdef", &Shape::NANO).is_err());
        let text = Text::new("0123456789abcdefgh", &Shape::NANO).unwrap();
        assert_eq!(text.samples(&Shape::NANO, 1, 1, 0).targets.len(), 32);
    }
}
