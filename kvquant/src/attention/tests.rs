//! Every form of attention against the reference, over one list of cases.

use super::cases::{HEADS, cases, numbers};
use super::{Heads, fused, reference};
use crate::cache::{CacheShape, KvCache};
use crate::isa::Isa;
use crate::policy::{Plan, SideFormat};
use common::tensor::nmse;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Single precision against double, where nothing is rounded to bytes: the largest seen is 3e-12.
const MAX_EXACT_NMSE: f64 = 1e-10;
/// Where queries and weights are rounded to bytes: the largest seen is 4.2e-4, of random keys in 1 bit.
const MAX_NMSE: f64 = 1e-3;

fn new_cache(heads: Heads, plan: &Plan) -> KvCache {
    let Heads { n_kv_heads, head_dim, .. } = heads;
    KvCache::new(CacheShape { n_layers: 1, n_kv_heads, head_dim }, plan).unwrap()
}

#[test]
fn fused_equals_reference() {
    for (plan, heads, chunks) in cases() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut cache = new_cache(heads, &plan);
        for &n_tokens in chunks {
            let kv_len = n_tokens * heads.n_kv_heads * heads.head_dim;
            let (k, v) = (numbers(&mut rng, kv_len), numbers(&mut rng, kv_len));
            let queries = numbers(&mut rng, n_tokens * heads.row_len());
            let appended = cache.layer_mut(0).append(&k, &v).unwrap();
            let mut expected = vec![0.0; queries.len()];
            reference::attend(&appended, heads, &queries, &mut expected).unwrap();
            for isa in Isa::available() {
                let mut output = vec![0.0; queries.len()];
                fused::attend_with(isa, &appended, heads, &queries, &mut output).unwrap();
                let error = nmse(&expected, &output);
                let most = if is_exact(&plan) { MAX_EXACT_NMSE } else { MAX_NMSE };
                assert!(error < most, "{isa} {plan} {heads:?} {chunks:?} at {n_tokens}: {error:e}");
            }
        }
    }
}

/// Heads shorter than a vector, and softmaxes of which nearly nothing is left in some chunks.
#[test]
fn short_heads_and_peaks_give_numbers() {
    let heads = Heads { n_heads: 4, n_kv_heads: 2, head_dim: 8 };
    for plan in ["kivi-1:window=32", "kivi-2:window=32", "int2/int1:window=32,group=32", "f16"] {
        let plan: Plan = plan.parse().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let mut cache = new_cache(heads, &plan);
        let kv_len = 400 * heads.n_kv_heads * heads.head_dim;
        let (k, v) = (numbers(&mut rng, kv_len), numbers(&mut rng, kv_len));
        let appended = cache.layer_mut(0).append(&k, &v).unwrap();
        let mut queries = numbers(&mut rng, 400 * heads.row_len());
        for peak in [1.0, 300.0] {
            queries.iter_mut().for_each(|query| *query *= peak);
            let mut expected = vec![0.0; queries.len()];
            reference::attend(&appended, heads, &queries, &mut expected).unwrap();
            for isa in Isa::available() {
                let mut output = vec![0.0; queries.len()];
                fused::attend_with(isa, &appended, heads, &queries, &mut output).unwrap();
                assert!(output.iter().all(|output| output.is_finite()), "{isa} {plan} {peak}");
                let error = nmse(&expected, &output);
                // A peak magnifies what is rounded from queries; of the paper's formats, that is little.
                let is_fine = !plan.to_string().starts_with("int");
                assert!(error < if is_fine { 1e-3 } else { 0.3 }, "{isa} {plan} {peak}: {error:e}");
            }
        }
    }
}

/// Whether no integer kernel reads anything of a plan.
fn is_exact(plan: &Plan) -> bool {
    let formats = plan.layer_formats(1).unwrap();
    let is_exact = |format: &SideFormat| {
        matches!(format, SideFormat::F16 | SideFormat::Q8_0 | SideFormat::Q4_0)
    };
    is_exact(&formats[0].keys) && is_exact(&formats[0].values)
}

/// The query at a position sees what decoding one token at a time would have left, whatever the
/// lengths of the chunks.
#[test]
fn chunks_see_what_decoding_would_leave() {
    for (plan, heads, chunks) in cases() {
        let n_tokens: usize = chunks.iter().sum();
        let kv_row = heads.n_kv_heads * heads.head_dim;
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let (k, v) = (numbers(&mut rng, n_tokens * kv_row), numbers(&mut rng, n_tokens * kv_row));
        let queries = numbers(&mut rng, n_tokens * heads.row_len());
        let run = |chunks: &[usize]| {
            let mut cache = new_cache(heads, &plan);
            let mut output = vec![0.0; queries.len()];
            let mut first = 0;
            for &chunk in chunks {
                let kv = first * kv_row..(first + chunk) * kv_row;
                let q = first * heads.row_len()..(first + chunk) * heads.row_len();
                let appended = cache.layer_mut(0).append(&k[kv.clone()], &v[kv]).unwrap();
                reference::attend(&appended, heads, &queries[q.clone()], &mut output[q]).unwrap();
                first += chunk;
            }
            (output, cache.bytes())
        };
        let (decoded, bytes) = run(&vec![1; n_tokens]);
        let (chunked, chunked_bytes) = run(chunks);
        assert_eq!(decoded, chunked, "{plan} {heads:?} {chunks:?}");
        assert_eq!(bytes, chunked_bytes, "{plan} {heads:?} {chunks:?}");
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let heads = HEADS[0];
    let mut cache = new_cache(heads, &Plan::f16());
    let kv = vec![0.0; heads.n_kv_heads * heads.head_dim];
    let appended = cache.layer_mut(0).append(&kv, &kv).unwrap();
    let mut output = vec![0.0; heads.row_len()];
    let message =
        fused::attend(&appended, heads, &output.clone()[1..], &mut output).unwrap_err().to_string();
    assert_eq!(message, "attention: the queries has 383 numbers, expected 1 tokens x 6 heads x 64");
}
