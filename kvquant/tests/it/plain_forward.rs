//! The model as plain loops in double precision, written from the papers' formulas, against the
//! engine's forward pass.

use crate::tiny_model::{self, HEAD_DIM, HIDDEN, N_HEADS, N_KV_HEADS, N_LAYERS};
use common::testing::assert_nmse;
use half::f16;
use kvquant::cache::KvCache;
use kvquant::model::gguf::Gguf;
use kvquant::model::{Chunk, Llama};
use kvquant::policy::Plan;

/// Single against double precision, and keys and values that round to a neighbour in half
/// precision: 5e-9 was seen.
const MAX_NMSE: f64 = 1e-6;

const TOKENS: [u32; 11] = [1, 5, 8, 3, 0, 7, 2, 2, 6, 4, 5];

type Rows = Vec<Vec<f64>>;

struct Plain {
    gguf: Gguf,
}

impl Plain {
    fn matrix(&self, name: &str) -> Rows {
        let tensor = self.gguf.tensor(name).unwrap();
        let row = |row| tensor.dequantize_row(row).unwrap().into_iter().map(f64::from).collect();
        (0..tensor.rows()).map(row).collect()
    }

    fn linear(&self, name: &str, x: &Rows) -> Rows {
        let weight = self.matrix(&format!("{name}.weight"));
        let bias = format!("{name}.bias");
        let bias = self.gguf.has_tensor(&bias).then(|| self.matrix(&bias).remove(0));
        let output = |x: &Vec<f64>| -> Vec<f64> {
            let dots = weight.iter().map(|w| dot(w, x));
            match &bias {
                Some(bias) => dots.zip(bias).map(|(y, b)| y + b).collect(),
                None => dots.collect(),
            }
        };
        x.iter().map(output).collect()
    }

    fn norm(&self, name: &str, x: &Rows) -> Rows {
        let weight = self.matrix(name).remove(0);
        let row = |x: &Vec<f64>| -> Vec<f64> {
            let root = (dot(x, x) / x.len() as f64 + f64::from(1e-5f32)).sqrt();
            x.iter().zip(&weight).map(|(x, w)| x / root * w).collect()
        };
        x.iter().map(row).collect()
    }

    /// Logits `[tokens][vocab]` of a llama or qwen2 model.
    fn forward(&self, tokens: &[u32], halves: bool) -> Rows {
        let embedding = self.matrix("token_embd.weight");
        let mut x: Rows = tokens.iter().map(|&token| embedding[token as usize].clone()).collect();
        for layer in 0..N_LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}");
            let h = self.norm(&name("attn_norm.weight"), &x);
            let q = rope(self.linear(&name("attn_q"), &h), halves);
            let k = rounded(rope(self.linear(&name("attn_k"), &h), halves));
            let v = rounded(self.linear(&name("attn_v"), &h));
            x = sum(&x, &self.linear(&name("attn_output"), &attention(&q, &k, &v)));
            let h = self.norm(&name("ffn_norm.weight"), &x);
            let (gate, up) = (self.linear(&name("ffn_gate"), &h), self.linear(&name("ffn_up"), &h));
            let silu = |g: &f64| g / (1.0 + (-g).exp());
            let product = |(g, u): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
                g.iter().zip(u).map(|(g, u)| silu(g) * u).collect()
            };
            let h: Rows = gate.iter().zip(&up).map(product).collect();
            x = sum(&x, &self.linear(&name("ffn_down"), &h));
        }
        let x = self.norm("output_norm.weight", &x);
        x.iter().map(|x| embedding.iter().map(|e| dot(e, x)).collect()).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sum(a: &Rows, b: &Rows) -> Rows {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
}

/// What the f16 cache keeps.
fn rounded(rows: Rows) -> Rows {
    rows.into_iter()
        .map(|row| row.into_iter().map(|x| f16::from_f32(x as f32).to_f64()).collect())
        .collect()
}

/// Turns pair i of each head by position x 100^(-2i/d).
fn rope(mut rows: Rows, halves: bool) -> Rows {
    let d = HEAD_DIM as usize;
    for (position, row) in rows.iter_mut().enumerate() {
        for head in row.chunks_exact_mut(d) {
            for pair in 0..d / 2 {
                let angle = position as f64 * 100f64.powf(-2.0 * pair as f64 / d as f64);
                let (i, j) = if halves { (pair, pair + d / 2) } else { (2 * pair, 2 * pair + 1) };
                let (x, y) = (head[i], head[j]);
                head[i] = x * angle.cos() - y * angle.sin();
                head[j] = x * angle.sin() + y * angle.cos();
            }
        }
    }
    rows
}

fn attention(q: &Rows, k: &Rows, v: &Rows) -> Rows {
    let d = HEAD_DIM as usize;
    let mut output = vec![vec![0.0; q[0].len()]; q.len()];
    for position in 0..q.len() {
        for head in 0..N_HEADS as usize {
            let shared = head / (N_HEADS / N_KV_HEADS) as usize;
            let of = |row: &Vec<f64>, head: usize| row[head * d..(head + 1) * d].to_vec();
            let query = of(&q[position], head);
            let weights: Vec<f64> = (0..=position)
                .map(|token| (dot(&query, &of(&k[token], shared)) / (d as f64).sqrt()).exp())
                .collect();
            let total: f64 = weights.iter().sum();
            for (token, weight) in weights.iter().enumerate() {
                for (channel, value) in of(&v[token], shared).iter().enumerate() {
                    output[position][head * d + channel] += weight / total * value;
                }
            }
        }
    }
    output
}

fn logits(model: &Llama, tokens: &[u32]) -> Vec<f32> {
    let mut cache = KvCache::new(model.config().cache_shape(), &Plan::f16()).unwrap();
    let chunk = Chunk { cache: &mut cache, tokens, logits: 0..tokens.len() };
    model.forward(&mut [chunk]).unwrap().remove(0)
}

fn check(architecture: &str, halves: bool) {
    let model = tiny_model::load(architecture);
    assert_eq!(model.config().hidden_len, HIDDEN as usize);
    let gguf = Gguf::parse("tiny.gguf", &tiny_model::file(architecture).bytes).unwrap();
    let expected = Plain { gguf }.forward(&TOKENS, halves).concat();
    let expected: Vec<f32> = expected.into_iter().map(|logit| logit as f32).collect();
    assert_nmse(&expected, &logits(&model, &TOKENS), MAX_NMSE, architecture);
}

#[test]
fn llama_equals_the_formulas() {
    check("llama", false);
}

#[test]
fn qwen2_equals_the_formulas() {
    check("qwen2", true);
}
