//! A Llama-family decoder whose weights, hidden states and cache stay on a GPU.

use super::cache::{CacheSize, GpuCache, NewTokens, Output};
use super::gpu::Gpu;
use super::linear::{Linear, Products};
use super::matrix::{GpuWeights, Matrix};
use super::ops::{self, SplitHeads};
use crate::cache::CacheBytes;
use crate::cache::bytes::planned_bytes;
use crate::model::LanguageModel;
use crate::model::config::{Config, RopeLayout};
use crate::model::gguf::Gguf;
use crate::model::rope::Rope;
use crate::model::weights::{checked, vector};
use crate::policy::Plan;
use crate::{Error, Result};
use cudarc::driver::CudaSlice;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Tokens of a text that go through the model at once, at most.
pub const CHUNK: usize = 512;
/// Rows of logits that are on the GPU at once: those of a chunk would take more than all else together.
const LOGIT_ROWS: usize = 128;

const EMBEDDING: &str = "token_embd";
const OUTPUT: &str = "output";

/// A model on a GPU.
///
/// Hidden states are in single precision, what enters products in half; the sums of products are in single.
#[derive(Debug)]
pub struct GpuLlama {
    gpu: Arc<Gpu>,
    products: Products,
    config: Config,
    rope_layout: RopeLayout,
    frequencies: CudaSlice<f64>,
    embedding: Arc<Matrix>,
    layers: Vec<Layer>,
    output_norm: CudaSlice<f32>,
    output: Linear,
    /// One text at a time is read.
    reading: Mutex<Workspace>,
}

#[derive(Debug)]
struct Layer {
    attention_norm: CudaSlice<f32>,
    /// Queries, keys and values, one below the other.
    projection: Linear,
    attention_output: Linear,
    ffn_norm: CudaSlice<f32>,
    gate_and_up: Linear,
    down: Linear,
}

/// What a step computes on its way, for so many tokens at most.
#[derive(Debug)]
pub(super) struct Workspace {
    n_rows: usize,
    pub(super) tokens: CudaSlice<u32>,
    hidden: CudaSlice<f32>,
    normed: CudaSlice<u16>,
    projected: CudaSlice<f32>,
    turns: CudaSlice<f32>,
    queries: CudaSlice<f32>,
    keys: CudaSlice<f32>,
    values: CudaSlice<f32>,
    attended: CudaSlice<u16>,
    gates_and_ups: CudaSlice<f32>,
    activated: CudaSlice<u16>,
    pub(super) logits: CudaSlice<f32>,
}

impl GpuLlama {
    /// Brings the model of an open file onto a GPU.
    ///
    /// # Errors
    /// If the model is not supported, a tensor is missing or has the wrong shape, or the GPU has too little memory.
    pub fn load(gpu: &Arc<Gpu>, gguf: &Gguf, format: GpuWeights) -> Result<GpuLlama> {
        let config = Config::from_gguf(gguf)?;
        let stream = gpu.stream();
        let embedding_name = format!("{EMBEDDING}.weight");
        let vocab_size = gguf.tensor(&embedding_name)?.rows();
        let table = checked(gguf, &embedding_name, &[vocab_size, config.hidden_len])?;
        let embedding = Arc::new(Matrix::load(gpu, format, &[table], config.hidden_len)?);
        let layers = (0..config.n_layers)
            .map(|layer_idx| Layer::load(gpu, gguf, layer_idx, &config, format))
            .collect::<Result<Vec<Layer>>>()?;
        // Models without an output matrix reuse the embedding.
        let output = match gguf.has_tensor(&format!("{OUTPUT}.weight")) {
            true => {
                let parts = [(OUTPUT.to_owned(), vocab_size)];
                Linear::load(gpu, gguf, format, &parts, config.hidden_len)?
            }
            false => Linear::new(Arc::clone(&embedding), None),
        };
        let rope = Rope::new(gguf, &config)?;
        let reading = Workspace::new(gpu, &config, &layers, vocab_size, [CHUNK, LOGIT_ROWS])?;
        Ok(GpuLlama {
            gpu: Arc::clone(gpu),
            products: Products::new(gpu, format)?,
            rope_layout: rope.layout(),
            frequencies: stream.clone_htod(rope.frequencies())?,
            embedding,
            layers,
            output_norm: norm(gpu, gguf, "output_norm.weight", config.hidden_len)?,
            output,
            reading: Mutex::new(reading),
            config,
        })
    }

    /// The GPU.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Bytes of device memory that hold weights.
    pub fn weights_bytes(&self) -> usize {
        let layers = self.layers.iter().map(Layer::bytes).sum::<usize>();
        // An embedding that is the output, too, is there once.
        let embedding = match self.output.is(&self.embedding) {
            true => 0,
            false => self.embedding.bytes(),
        };
        layers + embedding + self.output_norm.num_bytes() + self.output.bytes()
    }

    /// Empty caches for sequences of this model.
    ///
    /// # Errors
    /// If the plan does not fit the model, there is no kernel for a part of it, or the GPU has too little memory.
    pub fn new_cache(&self, plan: &Plan, size: CacheSize) -> Result<GpuCache> {
        GpuCache::new(&self.gpu, self.config.n_layers, self.config.heads, plan, size)
    }

    /// Runs the next tokens of the one sequence of a cache through the model, in chunks that the cache takes. Gives
    /// logits `[logits.len()][vocab_size]`, those after the tokens of the range.
    ///
    /// # Errors
    /// If the cache is of another shape, of several sequences or too small, there is no token, one is not in the
    /// vocabulary or the range reaches beyond them: nothing is changed then. Also of the driver.
    pub fn forward(
        &self,
        cache: &mut GpuCache,
        tokens: &[u32],
        logits: Range<usize>,
    ) -> Result<Vec<f32>> {
        self.check(cache, tokens, &logits)?;
        let mut work = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = self.gpu.stream();
        let vocab_size = self.vocab_size();
        let mut all_logits = vec![0.0f32; logits.len() * vocab_size];
        let mut left = all_logits.as_mut_slice();
        let mut first = 0;
        for chunk in tokens.chunks(CHUNK.min(cache.most_new())) {
            stream.memcpy_htod(chunk, &mut work.tokens)?;
            self.launch_layers(cache, &mut work, chunk.len())?;
            cache.advance(chunk.len())?;
            let in_chunk = |at: usize| at.clamp(first, first + chunk.len()) - first;
            let wanted = in_chunk(logits.start)..in_chunk(logits.end);
            for start in wanted.clone().step_by(LOGIT_ROWS) {
                let rows = start..wanted.end.min(start + LOGIT_ROWS);
                let (now, later) = left.split_at_mut(rows.len() * vocab_size);
                self.launch_logits(&mut work, rows)?;
                stream.memcpy_dtoh(&work.logits.slice(..now.len()), now)?;
                left = later;
            }
            first += chunk.len();
        }
        Ok(all_logits)
    }

    fn check(&self, cache: &GpuCache, tokens: &[u32], logits: &Range<usize>) -> Result<()> {
        let refuse = |what, got, expected| {
            Err(Error::Shape { operation: "forward pass on a GPU", what, got, expected })
        };
        self.check_cache(cache)?;
        if cache.n_sequences() != 1 {
            return refuse("a cache", cache.n_sequences(), "1 sequence".to_owned());
        }
        let room = cache.capacity() - cache.lengths()[0];
        if tokens.is_empty() || tokens.len() > room {
            return refuse("the tokens", tokens.len(), format!("1 to {room}"));
        }
        if logits.start > logits.end || logits.end > tokens.len() {
            let expected = format!("at most the {} tokens", tokens.len());
            return refuse("the range of logits", logits.end, expected);
        }
        self.check_tokens(tokens)
    }

    pub(super) fn check_cache(&self, cache: &GpuCache) -> Result<()> {
        let expected = self.config.cache_shape();
        if cache.shape() == expected {
            return Ok(());
        }
        Err(Error::Shape {
            operation: "forward pass on a GPU",
            what: "a cache of another shape",
            got: cache.shape().n_layers,
            expected: format!("{expected:?}"),
        })
    }

    /// A workspace for steps of one token of each of so many sequences.
    pub(super) fn workspace(&self, n_sequences: usize) -> Result<Workspace> {
        let rows = [n_sequences, n_sequences];
        Workspace::new(&self.gpu, &self.config, &self.layers, self.vocab_size(), rows)
    }

    /// Puts the new tokens in the workspace, `[sequences][n_new]`, through all layers. The cache's lengths stay.
    pub(super) fn launch_layers(
        &self,
        cache: &mut GpuCache,
        work: &mut Workspace,
        n_new: usize,
    ) -> Result<()> {
        let n_rows = cache.n_sequences() * n_new;
        ops::check_len("a step on a GPU", work.n_rows, n_rows)?;
        let (gpu, products) = (&self.gpu, &self.products);
        let Config { heads, rms_norm_epsilon: epsilon, .. } = self.config;
        let n_pairs = self.frequencies.len();
        self.embedding.embed(gpu, &work.tokens, n_rows, &mut work.hidden)?;
        ops::turns(gpu, &self.frequencies, cache.device_lengths(), n_new, &mut work.turns)?;
        for (layer_idx, layer) in self.layers.iter().enumerate() {
            let hidden = work.hidden.as_view();
            ops::rms_norm(gpu, &hidden, &layer.attention_norm, epsilon, n_rows, &mut work.normed)?;
            products.linear(&layer.projection, &work.normed, n_rows, &mut work.projected, false)?;
            let mut split = SplitHeads {
                queries: &mut work.queries,
                keys: &mut work.keys,
                values: &mut work.values,
            };
            let turns = (&work.turns, n_pairs, self.rope_layout);
            ops::split_heads(gpu, heads, &work.projected, turns, n_rows, &mut split)?;
            let new =
                NewTokens { n_new, queries: &work.queries, keys: &work.keys, values: &work.values };
            cache.attend(layer_idx, &new, &mut Output::Half(&mut work.attended))?;
            let output = &layer.attention_output;
            products.linear(output, &work.attended, n_rows, &mut work.hidden, true)?;

            let hidden = work.hidden.as_view();
            ops::rms_norm(gpu, &hidden, &layer.ffn_norm, epsilon, n_rows, &mut work.normed)?;
            let gates_and_ups = &mut work.gates_and_ups;
            products.linear(&layer.gate_and_up, &work.normed, n_rows, gates_and_ups, false)?;
            let ffn_len = layer.ffn_len();
            ops::gate(gpu, gates_and_ups, ffn_len, n_rows, &mut work.activated)?;
            products.linear(&layer.down, &work.activated, n_rows, &mut work.hidden, true)?;
        }
        Ok(())
    }

    /// Logits of rows of the hidden states, to the first of the workspace's logits.
    pub(super) fn launch_logits(&self, work: &mut Workspace, rows: Range<usize>) -> Result<()> {
        let hidden_len = self.config.hidden_len;
        let hidden = work.hidden.slice(rows.start * hidden_len..rows.end * hidden_len);
        let epsilon = self.config.rms_norm_epsilon;
        let norm = &self.output_norm;
        ops::rms_norm(&self.gpu, &hidden, norm, epsilon, rows.len(), &mut work.normed)?;
        self.products.linear(&self.output, &work.normed, rows.len(), &mut work.logits, false)
    }
}

/// A cache of one sequence and the plan that it follows.
#[derive(Debug)]
pub struct GpuSequence {
    cache: GpuCache,
    plan: Plan,
}

impl LanguageModel for GpuLlama {
    type Cache = GpuSequence;

    fn config(&self) -> &Config {
        &self.config
    }

    fn vocab_size(&self) -> usize {
        self.embedding.n_outputs
    }

    fn cache_for(&self, plan: &Plan, n_tokens: usize, chunk: usize) -> Result<GpuSequence> {
        let most_new = chunk.clamp(1, CHUNK).min(n_tokens);
        let size = CacheSize { n_sequences: 1, capacity: n_tokens, most_new };
        Ok(GpuSequence { cache: self.new_cache(plan, size)?, plan: plan.clone() })
    }

    fn read(
        &self,
        sequence: &mut GpuSequence,
        tokens: &[u32],
        logits: Range<usize>,
    ) -> Result<Vec<f32>> {
        self.forward(&mut sequence.cache, tokens, logits)
    }

    /// What the formats take; the device has them in whole blocks of 64 tokens.
    fn cache_bytes(&self, sequence: &GpuSequence) -> CacheBytes {
        let GpuSequence { cache, plan } = sequence;
        // The cache was made for this plan.
        planned_bytes(cache.shape(), plan, cache.lengths()[0]).unwrap_or_default()
    }
}

impl Layer {
    fn load(
        gpu: &Gpu,
        gguf: &Gguf,
        layer_idx: usize,
        config: &Config,
        format: GpuWeights,
    ) -> Result<Layer> {
        let hidden = config.hidden_len;
        let heads = config.heads;
        let (q_row, kv_row) = (heads.row_len(), heads.n_kv_heads * heads.head_dim);
        let name = |part: &str| format!("blk.{layer_idx}.{part}");
        let ffn_len = gguf.tensor(&name("ffn_gate.weight"))?.rows();
        let linear = |parts: &[(&str, usize)], inputs: usize| {
            let parts: Vec<(String, usize)> =
                parts.iter().map(|&(part, outputs)| (name(part), outputs)).collect();
            Linear::load(gpu, gguf, format, &parts, inputs)
        };
        Ok(Layer {
            attention_norm: norm(gpu, gguf, &name("attn_norm.weight"), hidden)?,
            projection: linear(
                &[("attn_q", q_row), ("attn_k", kv_row), ("attn_v", kv_row)],
                hidden,
            )?,
            attention_output: linear(&[("attn_output", hidden)], q_row)?,
            ffn_norm: norm(gpu, gguf, &name("ffn_norm.weight"), hidden)?,
            gate_and_up: linear(&[("ffn_gate", ffn_len), ("ffn_up", ffn_len)], hidden)?,
            down: linear(&[("ffn_down", hidden)], ffn_len)?,
        })
    }

    fn ffn_len(&self) -> usize {
        self.gate_and_up.n_outputs() / 2
    }

    fn bytes(&self) -> usize {
        let Layer { projection, attention_output, gate_and_up, down, .. } = self;
        let products = [projection, attention_output, gate_and_up, down];
        products.iter().map(|linear| linear.bytes()).sum::<usize>()
            + self.attention_norm.num_bytes()
            + self.ffn_norm.num_bytes()
    }
}

impl Workspace {
    fn new(
        gpu: &Gpu,
        config: &Config,
        layers: &[Layer],
        vocab_size: usize,
        [n_rows, n_logit_rows]: [usize; 2],
    ) -> Result<Workspace> {
        let stream = gpu.stream();
        let single = |row: usize| stream.alloc_zeros::<f32>(n_rows * row);
        let half = |row: usize| stream.alloc_zeros::<u16>(n_rows * row);
        let heads = config.heads;
        let (q_row, kv_row) = (heads.row_len(), heads.n_kv_heads * heads.head_dim);
        let ffn_len = layers.iter().map(Layer::ffn_len).max().unwrap_or(0);
        Ok(Workspace {
            n_rows,
            tokens: stream.alloc_zeros(n_rows)?,
            hidden: single(config.hidden_len)?,
            normed: half(config.hidden_len)?,
            projected: single(q_row + 2 * kv_row)?,
            // A cosine and a sine for each pair.
            turns: single(config.rope_len)?,
            queries: single(q_row)?,
            keys: single(kv_row)?,
            values: single(kv_row)?,
            attended: half(q_row)?,
            gates_and_ups: single(2 * ffn_len)?,
            activated: half(ffn_len)?,
            logits: stream.alloc_zeros(n_logit_rows * vocab_size)?,
        })
    }
}

/// The weights of a normalisation.
fn norm(gpu: &Gpu, gguf: &Gguf, name: &str, len: usize) -> Result<CudaSlice<f32>> {
    let weights = vector(gguf, name, len)?;
    Ok(gpu.stream().clone_htod(&weights)?)
}
