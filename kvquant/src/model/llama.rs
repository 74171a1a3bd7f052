//! The forward pass of a Llama-family decoder over a quantized cache.

use super::config::Config;
use super::gguf::Gguf;
use super::language_model::LanguageModel;
use super::ops::{add, gated, rms_norm, split_columns};
use super::product::Panels;
use super::rope::{Rope, Turns};
use super::weights::{Linear, WeightFormat, checked, vector};
use crate::attention::{Heads, attend};
use crate::cache::{Appended, KvCache, LayerCache, PreRope};
use crate::policy::Plan;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

const EMBEDDING: &str = "token_embd.weight";
const OUTPUT: &str = "output";
/// Tokens after whose embedding the table's memory is given back.
const MANY_ROWS: usize = 64;

/// A loaded model.
#[derive(Debug)]
pub struct Llama {
    config: Config,
    /// Kept open for the embedding table, whose rows are looked up in the file.
    gguf: Gguf,
    vocab_size: usize,
    rope: Arc<Rope>,
    /// What is taken off each layer's keys where a plan asks for it.
    pre_rope: Vec<Arc<PreRope>>,
    layers: Vec<Layer>,
    output_norm: Vec<f32>,
    output: Linear,
}

#[derive(Debug)]
struct Layer {
    attention_norm: Vec<f32>,
    /// Queries, keys and values, which have the same input.
    attention_input: Linear,
    attention_output: Linear,
    ffn_norm: Vec<f32>,
    /// Gate and up projection, likewise.
    ffn_input: Linear,
    ffn_output: Linear,
}

/// The next tokens of one sequence.
#[derive(Debug)]
pub struct Chunk<'a> {
    /// The sequence's cache; the tokens follow those that it holds.
    pub cache: &'a mut KvCache,
    /// The tokens, at least one.
    pub tokens: &'a [u32],
    /// The tokens, by their index in `tokens`, after which logits are wanted. Logits cost a product
    /// with the whole vocabulary, so only what is read should be asked for.
    pub logits: Range<usize>,
}

/// What enters the attention of a layer, after rotary embedding.
#[derive(Debug, Default)]
pub struct AttentionInputs {
    /// `[tokens][heads][head_dim]`
    pub queries: Vec<f32>,
    /// `[tokens][KV heads][head_dim]`
    pub keys: Vec<f32>,
    /// `[tokens][KV heads][head_dim]`
    pub values: Vec<f32>,
}

/// What a layer is computed in, kept for the next one: an allocator that takes and frees such rows for each layer and
/// thread comes to hold several times as much.
#[derive(Debug, Default)]
struct Buffers {
    /// What enters a product.
    rows: Vec<f32>,
    /// What leaves it.
    product: Vec<f32>,
    attention: AttentionInputs,
}

impl Llama {
    /// Loads the model of an open file.
    ///
    /// # Errors
    /// If the model is not supported, or a tensor is missing or has the wrong shape.
    pub fn load(gguf: Gguf, format: WeightFormat) -> Result<Llama> {
        let config = Config::from_gguf(&gguf)?;
        let vocab_size = gguf.tensor(EMBEDDING)?.rows();
        checked(&gguf, EMBEDDING, &[vocab_size, config.hidden_len])?;
        let mut layers = (0..config.n_layers)
            .map(|layer| Layer::load(&gguf, layer, &config, format))
            .collect::<Result<Vec<Layer>>>()?;
        let output_norm = vector(&gguf, "output_norm.weight", config.hidden_len)?;
        // Models without an output matrix reuse the embedding.
        let output_name = match gguf.has_tensor(&format!("{OUTPUT}.weight")) {
            true => OUTPUT,
            false => EMBEDDING.trim_end_matches(".weight"),
        };
        let outputs = [(output_name.to_owned(), vocab_size)];
        let mut output = Linear::load(&gguf, &outputs, config.hidden_len, format)?;
        // In the order in which a token reads them.
        let products = layers.iter_mut().flat_map(Layer::products_mut).chain([&mut output]);
        Panels::gather(products.flat_map(Linear::panels_mut));
        let rope = Arc::new(Rope::new(&gguf, &config)?);
        gguf.release();
        let heads = config.heads;
        let keys = heads.row_len()..heads.row_len() + heads.n_kv_heads * heads.head_dim;
        let taken_off = |layer: &Layer| {
            let bias = layer.attention_input.bias().map_or(&[][..], |bias| &bias[keys.clone()]);
            Arc::new(PreRope::new(Arc::clone(&rope), bias.to_vec()))
        };
        let pre_rope = layers.iter().map(taken_off).collect();
        Ok(Llama { config, gguf, vocab_size, rope, pre_rope, layers, output_norm, output })
    }

    /// Sizes and constants.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file, for its metadata.
    pub fn gguf(&self) -> &Gguf {
        &self.gguf
    }

    /// Number of tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Bytes of the weights that a token is multiplied with.
    pub fn weights_bytes(&self) -> usize {
        let products = |layer: &Layer| {
            let Layer { attention_input, attention_output, ffn_input, ffn_output, .. } = layer;
            let products = [attention_input, attention_output, ffn_input, ffn_output];
            products.map(Linear::bytes).iter().sum::<usize>()
        };
        self.layers.iter().map(products).sum::<usize>() + self.output.bytes()
    }

    /// An empty cache for a sequence of this model.
    ///
    /// # Errors
    /// If the plan does not fit the model.
    pub fn new_cache(&self, plan: &Plan) -> Result<KvCache> {
        KvCache::with_pre_rope(self.config.cache_shape(), plan, &self.pre_rope)
    }

    /// Runs chunks of several sequences, of any lengths, through the model at once: their tokens
    /// share the weights' products, and each attends over its own sequence's cache.
    ///
    /// Gives, for each chunk, logits `[logits.len()][vocab_size]`.
    ///
    /// # Errors
    /// If a chunk is empty, a token is not in the vocabulary or a range reaches beyond its tokens:
    /// nothing is changed then. If the computation fails, the caches are cut back to their length
    /// before the call.
    pub fn forward(&self, chunks: &mut [Chunk<'_>]) -> Result<Vec<Vec<f32>>> {
        self.check(chunks)?;
        let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.cache.n_tokens()).collect();
        // On one of the pool's own threads: from any other, each product would wait to be taken up.
        let result = rayon::scope(|_| self.forward_checked(chunks));
        if result.is_err() {
            for (chunk, n_tokens) in chunks.iter_mut().zip(lengths) {
                chunk.cache.truncate(n_tokens);
            }
        }
        result
    }

    fn check(&self, chunks: &[Chunk<'_>]) -> Result<()> {
        let refuse = |what, got, expected| {
            Err(Error::Shape { operation: "forward pass", what, got, expected })
        };
        for chunk in chunks {
            if chunk.cache.shape() != self.config.cache_shape() {
                let expected = format!("{:?}", self.config.cache_shape());
                return refuse("a cache of another shape", chunk.cache.n_tokens(), expected);
            }
            if chunk.tokens.is_empty() {
                return refuse("a chunk of tokens", 0, "at least 1".to_owned());
            }
            if chunk.logits.start > chunk.logits.end || chunk.logits.end > chunk.tokens.len() {
                let expected = format!("at most the {} tokens of its chunk", chunk.tokens.len());
                return refuse("the range of logits", chunk.logits.end, expected);
            }
            self.check_tokens(chunk.tokens)?;
        }
        Ok(())
    }

    fn forward_checked(&self, chunks: &mut [Chunk<'_>]) -> Result<Vec<Vec<f32>>> {
        let positions = chunks.iter().flat_map(|chunk| {
            let first = chunk.cache.n_tokens();
            first..first + chunk.tokens.len()
        });
        let turns = self.rope.turns(positions);
        let mut hidden = self.embed(chunks.iter().flat_map(|chunk| chunk.tokens))?;
        let mut buffers = Buffers::default();
        for (layer_idx, layer) in self.layers.iter().enumerate() {
            self.run_layer(layer, &mut hidden, &turns, &mut buffers, |attention, output| {
                self.attend(layer_idx, attention, chunks, output)
            })?;
        }
        self.logits(&hidden, chunks)
    }

    /// The hidden states `[tokens][hidden_len]` that enter the first layer.
    ///
    /// # Errors
    /// If a token is not in the vocabulary.
    pub fn embed<'t>(&self, tokens: impl IntoIterator<Item = &'t u32>) -> Result<Vec<f32>> {
        let table = self.gguf.tensor(EMBEDDING)?;
        let mut rows = Vec::new();
        for &token in tokens {
            rows.extend(table.dequantize_row(token as usize)?);
        }
        if rows.len() > MANY_ROWS * self.config.hidden_len {
            // Looked up here and there, they have brought most of the table into memory.
            self.gguf.release();
        }
        Ok(rows)
    }

    /// Runs one layer over the hidden states `[tokens][hidden_len]` of the next tokens of one sequence, in place.
    /// What enters its attention is shown to `observe`.
    ///
    /// With [`Llama::embed`] and [`Llama::predict`] this is the forward pass in steps, of which the later
    /// ones can be run again with another cache.
    ///
    /// # Errors
    /// If the computation fails.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn step(
        &self,
        layer_idx: usize,
        hidden: &mut [f32],
        cache: &mut LayerCache,
        observe: impl FnOnce(&AttentionInputs),
    ) -> Result<()> {
        self.step_by(layer_idx, hidden, cache, observe, attend)
    }

    /// The same with another form of attention, which gets what [`attend`] gets.
    ///
    /// # Errors
    /// If the computation fails.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn step_with(
        &self,
        layer_idx: usize,
        hidden: &mut [f32],
        cache: &mut LayerCache,
        attend: impl FnOnce(&Appended<'_>, Heads, &[f32], &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        self.step_by(layer_idx, hidden, cache, |_| (), attend)
    }

    fn step_by(
        &self,
        layer_idx: usize,
        hidden: &mut [f32],
        cache: &mut LayerCache,
        observe: impl FnOnce(&AttentionInputs),
        attend: impl FnOnce(&Appended<'_>, Heads, &[f32], &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let first = cache.n_tokens();
        let turns = self.rope.turns(first..first + hidden.len() / self.config.hidden_len);
        let (layer, mut buffers) = (&self.layers[layer_idx], Buffers::default());
        self.run_layer(layer, hidden, &turns, &mut buffers, |attention, output| {
            observe(attention);
            let appended = cache.append(&attention.keys, &attention.values)?;
            attend(&appended, self.config.heads, &attention.queries, output)
        })
    }

    /// Logits `[tokens][vocab_size]` from the hidden states that leave the last layer.
    ///
    /// # Errors
    /// If the computation fails.
    pub fn predict(&self, hidden: &[f32]) -> Result<Vec<f32>> {
        let (mut rows, mut logits) = (Vec::new(), Vec::new());
        rms_norm(hidden, &self.output_norm, self.config.rms_norm_epsilon, &mut rows);
        self.output.forward(&rows, &mut logits)?;
        Ok(logits)
    }

    fn run_layer(
        &self,
        layer: &Layer,
        hidden: &mut [f32],
        turns: &Turns,
        Buffers { rows, product, attention }: &mut Buffers,
        attend: impl FnOnce(&AttentionInputs, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let Config { rms_norm_epsilon: epsilon, heads, .. } = self.config;
        let kv_row = heads.n_kv_heads * heads.head_dim;
        rms_norm(hidden, &layer.attention_norm, epsilon, rows);
        layer.attention_input.forward(rows, product)?;
        let AttentionInputs { queries, keys, values } = attention;
        let lengths = [heads.row_len(), kv_row, kv_row];
        split_columns(product, lengths, [&mut *queries, &mut *keys, values]);
        self.rope.apply(turns, queries);
        self.rope.apply(turns, keys);
        rows.resize(queries.len(), 0.0);
        attend(attention, rows)?;
        layer.attention_output.forward(rows, product)?;
        add(hidden, product);
        rms_norm(hidden, &layer.ffn_norm, epsilon, rows);
        layer.ffn_input.forward(rows, product)?;
        gated(product, layer.ffn_output.n_inputs(), rows);
        layer.ffn_output.forward(rows, product)?;
        add(hidden, product);
        Ok(())
    }

    /// Appends keys and values to each sequence's cache and attends over it.
    fn attend(
        &self,
        layer_idx: usize,
        AttentionInputs { queries, keys, values }: &AttentionInputs,
        chunks: &mut [Chunk<'_>],
        output: &mut [f32],
    ) -> Result<()> {
        let heads = self.config.heads;
        let (q_row, kv_row) = (heads.row_len(), heads.n_kv_heads * heads.head_dim);
        let mut first = 0;
        for chunk in chunks {
            let tokens = first..first + chunk.tokens.len();
            let kv = tokens.start * kv_row..tokens.end * kv_row;
            let q = tokens.start * q_row..tokens.end * q_row;
            let layer = chunk.cache.layer_mut(layer_idx);
            let appended = layer.append(&keys[kv.clone()], &values[kv])?;
            attend(&appended, heads, &queries[q.clone()], &mut output[q])?;
            first = tokens.end;
        }
        Ok(())
    }

    fn logits(&self, hidden: &[f32], chunks: &[Chunk<'_>]) -> Result<Vec<Vec<f32>>> {
        let mut first = 0;
        let mut logits = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let wanted = first + chunk.logits.start..first + chunk.logits.end;
            let rows = wanted.start * self.config.hidden_len..wanted.end * self.config.hidden_len;
            logits.push(self.predict(&hidden[rows])?);
            first += chunk.tokens.len();
        }
        Ok(logits)
    }
}

impl Layer {
    /// In the order in which they are computed.
    fn products_mut(&mut self) -> [&mut Linear; 4] {
        [
            &mut self.attention_input,
            &mut self.attention_output,
            &mut self.ffn_input,
            &mut self.ffn_output,
        ]
    }

    fn load(gguf: &Gguf, layer_idx: usize, config: &Config, format: WeightFormat) -> Result<Layer> {
        let hidden = config.hidden_len;
        let heads = config.heads;
        let (q_row, kv_row) = (heads.row_len(), heads.n_kv_heads * heads.head_dim);
        let name = |part: &str| format!("blk.{layer_idx}.{part}");
        let ffn_len = gguf.tensor(&name("ffn_gate.weight"))?.rows();
        let linear = |parts: &[(&str, usize)], inputs| {
            let parts: Vec<(String, usize)> =
                parts.iter().map(|&(part, outputs)| (name(part), outputs)).collect();
            Linear::load(gguf, &parts, inputs, format)
        };
        Ok(Layer {
            attention_norm: vector(gguf, &name("attn_norm.weight"), hidden)?,
            attention_input: linear(
                &[("attn_q", q_row), ("attn_k", kv_row), ("attn_v", kv_row)],
                hidden,
            )?,
            attention_output: linear(&[("attn_output", hidden)], q_row)?,
            ffn_norm: vector(gguf, &name("ffn_norm.weight"), hidden)?,
            ffn_input: linear(&[("ffn_gate", ffn_len), ("ffn_up", ffn_len)], hidden)?,
            ffn_output: linear(&[("ffn_down", hidden)], ffn_len)?,
        })
    }
}
