//! The language models that tasks train: GPT-style decoders by their sizes.
//!
//! Sizes are all that the planner needs of a model: they give its parameters, which decide what
//! memory must hold, and the FLOPs of an iteration, in which the paper counts throughput. A
//! Llama-style model is described by the GPT whose layers have as many parameters (12 hidden²).

pub(crate) mod presets;

use crate::{Error, Result};

/// A decoder and the batch that it is trained with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LanguageModel {
    name: String,
    sizes: Sizes,
}

/// The sizes of a decoder, by the names that cluster files use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sizes {
    /// Transformer layers, `l`.
    pub layers: usize,
    /// Width of the residual stream, `h`.
    pub hidden: usize,
    /// Attention heads, `a`; they divide `hidden`.
    pub heads: usize,
    /// Tokens of a sequence, `s`.
    pub sequence: usize,
    /// Words of the vocabulary, padding included, `V`.
    pub vocabulary: usize,
    /// Sequences of an iteration over all replicas, `B`. Recovery never changes it.
    pub batch: usize,
}

impl Sizes {
    /// Each size with its name and the most that is accepted: far above any model, and low enough
    /// that no product of them overflows and no table of the planner grows out of hand.
    fn limits(&self) -> [(&'static str, usize, usize); 6] {
        [
            ("layers", self.layers, 10_000),
            ("hidden", self.hidden, 1_000_000),
            ("heads", self.heads, 100_000),
            ("sequence", self.sequence, 100_000_000),
            ("vocabulary", self.vocabulary, 100_000_000),
            ("batch", self.batch, 1_000_000),
        ]
    }
}

impl LanguageModel {
    /// A model of these sizes; the name is for people.
    ///
    /// # Errors
    /// Names the first size that is 0, beyond its limit, or heads that don't divide `hidden`.
    pub fn new(name: impl Into<String>, sizes: Sizes) -> Result<Self> {
        for (setting, size, limit) in sizes.limits() {
            if !(1..=limit).contains(&size) {
                let problem = format!("{size} is not 1 to {limit}");
                return Err(Error::Setting { setting: setting.into(), problem });
            }
        }
        if !sizes.hidden.is_multiple_of(sizes.heads) {
            let problem = format!("{} heads don't divide hidden = {}", sizes.heads, sizes.hidden);
            return Err(Error::Setting { setting: "heads".into(), problem });
        }
        Ok(Self { name: name.into(), sizes })
    }

    /// A model of the paper's evaluation by its name, such as `gpt3-7b`.
    ///
    /// # Errors
    /// If there is none of this name: the message lists the names.
    pub fn preset(name: &str) -> Result<Self> {
        presets::find(name)
    }

    /// The names of [`Self::preset`], smallest model first.
    pub fn preset_names() -> impl Iterator<Item = &'static str> {
        presets::names()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The sizes.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// Number of parameters: `12 l h² + 13 l h + (V + s) h`, the output layer tied to the embedding
    /// (Narayanan et al. 2021, equation 2).
    #[must_use]
    pub fn parameters(&self) -> f64 {
        let Sizes { sequence, vocabulary, .. } = self.sizes;
        self.layers() * self.layer_parameters() + (vocabulary + sequence) as f64 * self.hidden()
    }

    /// Parameters of one layer: `12 h² + 13 h`.
    #[must_use]
    pub fn layer_parameters(&self) -> f64 {
        (12.0 * self.hidden() + 13.0) * self.hidden()
    }

    /// FLOPs that an iteration needs: `72 B s l h² (1 + s / 6h + V / 12lh)`, forward and backward,
    /// nothing counted twice (Narayanan et al. 2021, section 5.1, less its recomputed forward pass).
    ///
    /// What throughput counts: recomputing activations takes time and isn't progress.
    #[must_use]
    pub fn iteration_flops(&self) -> f64 {
        let sequence = self.sizes.sequence as f64;
        let hidden = self.hidden();
        let layer = 72.0 * hidden * hidden + 12.0 * sequence * hidden;
        let output = 6.0 * hidden * self.sizes.vocabulary as f64;
        self.iteration_tokens() * (self.layers() * layer + output)
    }

    /// Tokens of an iteration, over all replicas.
    #[must_use]
    pub fn iteration_tokens(&self) -> f64 {
        self.sizes.batch as f64 * self.sizes.sequence as f64
    }

    fn layers(&self) -> f64 {
        self.sizes.layers as f64
    }

    fn hidden(&self) -> f64 {
        self.sizes.hidden as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of Megatron-LM's table of April 2021 (`throughput::calibration`).
    const GPT_145B: Sizes = Sizes {
        layers: 80,
        hidden: 12_288,
        heads: 96,
        sequence: 2048,
        vocabulary: 51_200,
        batch: 2304,
    };

    #[test]
    fn parameters_agree_with_the_published_counts() {
        let model = LanguageModel::new("145.6B", GPT_145B).unwrap();
        assert!((model.parameters() / 145.6e9 - 1.0).abs() < 1e-3, "{}", model.parameters());
        for (name, billions) in [("gpt3-1.3b", 1.3), ("gpt3-7b", 6.7), ("gpt3-175b", 174.6)] {
            let parameters = LanguageModel::preset(name).unwrap().parameters();
            assert!((parameters / 1e9 / billions - 1.0).abs() < 0.02, "{name}: {parameters}");
        }
    }

    #[test]
    fn an_iteration_takes_the_published_time_at_the_published_rate() {
        // 175B on 1,024 A100 at 138 TFLOP/s, recomputed FLOPs included: 32 s (field notes 6.1).
        let model = LanguageModel::preset("gpt3-175b").unwrap();
        let with_recomputation = model.iteration_flops() * 4.0 / 3.0;
        let seconds = with_recomputation / (1024.0 * 138e12);
        assert!((seconds - 32.0).abs() < 1.0, "{seconds}");
    }

    #[test]
    fn flops_are_about_six_a_parameter_and_token() {
        for name in LanguageModel::preset_names() {
            let model = LanguageModel::preset(name).unwrap();
            let rough = 6.0 * model.parameters() * model.iteration_tokens();
            let ratio = model.iteration_flops() / rough;
            assert!((1.0..1.2).contains(&ratio), "{name}: {ratio}");
        }
    }

    #[test]
    fn a_bad_size_is_named() {
        let error = |change: fn(&mut Sizes)| {
            let mut sizes = GPT_145B;
            change(&mut sizes);
            LanguageModel::new("m", sizes).unwrap_err().to_string()
        };
        assert_eq!(error(|sizes| sizes.layers = 0), "layers: 0 is not 1 to 10000");
        assert_eq!(error(|sizes| sizes.batch = 1_000_001), "batch: 1000001 is not 1 to 1000000");
        assert_eq!(error(|sizes| sizes.heads = 7), "heads: 7 heads don't divide hidden = 12288");
        let unknown = LanguageModel::preset("gpt4").unwrap_err().to_string();
        assert!(unknown.contains("`gpt4`") && unknown.contains("gpt3-175b"), "{unknown}");
    }
}
