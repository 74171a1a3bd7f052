use super::bytes::planned_bytes;
use super::*;
use proptest::prelude::*;

const SHAPE: CacheShape = CacheShape { n_layers: 2, n_kv_heads: 2, head_dim: 64 };
const PLANS: [&str; 13] = [
    "f16",
    "kivi-2",
    "kivi-8:window=0",
    "asymkv-1/0:window=32",
    "asymkv-4/1-2/1:window=64,group=64",
    "rtn1/q4_0:window=32",
    "q8_0/rtn2:window=96",
    "q8_0/q4_0",
    "f16/rtn1:group=16,window=80",
    "kivi-2:sinks=4,key-levels=centroid,value-levels=unbiased,rotate=values",
    "int2/int1:window=64,group=64,sinks=4,rotate=values",
    "int5/int3:window=20,group=16,rotate=both",
    "q8_0/int2:sinks=300",
];

/// Numbers that differ by position, head and channel.
fn rows(n_tokens: usize, shape: CacheShape, salt: usize) -> Vec<f32> {
    let len = n_tokens * shape.n_kv_heads * shape.head_dim;
    (0..len).map(|i| ((i * 7919 + salt * 104_729) % 1000) as f32 / 250.0 - 2.0).collect()
}

fn append(cache: &mut KvCache, n_tokens: usize, salt: usize) {
    let shape = cache.shape();
    let (k, v) = (rows(n_tokens, shape, salt), rows(n_tokens, shape, salt + 1));
    for layer in 0..shape.n_layers {
        drop(cache.layer_mut(layer).append(&k, &v).unwrap());
    }
}

/// The rows that the next query would see of one head of one side of the first layer.
fn seen(cache: &mut KvCache, n_tokens: usize) -> Vec<f32> {
    let shape = cache.shape();
    let row = rows(1, shape, 99);
    let appended = cache.layer_mut(0).append(&row, &row).unwrap();
    let mut all = Vec::new();
    for side in [appended.keys(), appended.values()] {
        let packed = side.seen(n_tokens).packed;
        for token in 0..n_tokens {
            let mut row = vec![0.0; shape.head_dim];
            match packed.contains(&token) {
                true => side.decode_packed(1, token..token + 1, &mut row),
                false => side.decode_exact(1, token..token + 1, &mut row),
            }
            all.extend(row);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The arithmetic of the planner and the count of the running cache agree to the byte.
    #[test]
    fn planned_bytes_are_held_bytes(
        which in 0..PLANS.len(), chunks in proptest::collection::vec(1usize..150, 1..5),
    ) {
        let plan: Plan = PLANS[which].parse().unwrap();
        let mut cache = KvCache::new(SHAPE, &plan).unwrap();
        for chunk in chunks {
            append(&mut cache, chunk, chunk);
            let planned = planned_bytes(SHAPE, &plan, cache.n_tokens()).unwrap();
            prop_assert_eq!(cache.bytes(), planned, "{}", plan);
        }
    }
}

/// A cut changes nothing before it, be it in the window or in packed groups, and the cache goes on
/// from there.
#[test]
fn truncating_keeps_what_lies_before_the_cut() {
    for plan in PLANS {
        let plan: Plan = plan.parse().unwrap();
        let mut cache = KvCache::new(SHAPE, &plan).unwrap();
        append(&mut cache, 300, 1);
        let mut before = KvCache::new(SHAPE, &plan).unwrap();
        append(&mut before, 300, 1);
        let whole = seen(&mut before, 300);
        for n_tokens in [299, 250, 77, 33, 1] {
            cache.truncate(n_tokens);
            assert_eq!(cache.n_tokens(), n_tokens);
            let cut = seen(&mut cache, n_tokens);
            cache.truncate(n_tokens);
            let (keys, values) = cut.split_at(n_tokens * 64);
            // The levels went through half precision when a group of keys was cut.
            for (got, expected) in keys.iter().zip(&whole[..keys.len()]) {
                assert!((got - expected).abs() < 2e-3, "{plan} keys at {n_tokens}");
            }
            assert_eq!(values, &whole[300 * 64..][..values.len()], "{plan} values at {n_tokens}");
        }
        cache.truncate(0);
        assert_eq!(cache.bytes().total(), 0, "{plan}");
        append(&mut cache, 300, 1);
        assert_eq!(seen(&mut cache, 300), whole, "{plan} after starting again");
    }
}

#[test]
fn bad_input_changes_nothing() {
    let mut cache = KvCache::new(SHAPE, &"kivi-2".parse().unwrap()).unwrap();
    append(&mut cache, 3, 1);
    let bytes = cache.bytes();
    let good = rows(2, SHAPE, 5);
    let mut nan = good.clone();
    nan[128 + 64 + 7] = f32::NAN;
    let layer = cache.layer_mut(0);
    let message = layer.append(&good, &nan).unwrap_err().to_string();
    assert!(message.starts_with("value of token 4, head 1, channel 7 is NaN"), "{message}");
    let message = layer.append(&good[1..], &good).unwrap_err().to_string();
    assert!(message.contains("keys has 255 numbers"), "{message}");
    let message = layer.append(&good, &good[..128]).unwrap_err().to_string();
    assert!(message.contains("values has 128 numbers, expected 256"), "{message}");
    assert_eq!(cache.bytes(), bytes);
}

#[test]
fn plans_that_do_not_fit_say_why() {
    let check = |plan: &str, shape: CacheShape, expected: &str| {
        let message = KvCache::new(shape, &plan.parse().unwrap()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check("kivi-2:window=100", SHAPE, "no multiple of the group of 32; take 96 or 128");
    check("kivi-2:group=0", SHAPE, "a group of 0 elements");
    let most = u64::MAX;
    check(&format!("f16:sinks={most}"), SHAPE, "more than any text; take less");
    check("asymkv-3/0", SHAPE, "the model has 2 layers");
    check("q8_0", CacheShape { head_dim: 8, ..SHAPE }, "blocks of 32 channels, but a head has 8");
    check(
        "int2:group=12,window=24",
        SHAPE,
        "groups of 16, 32 or a multiple of 64 elements, not of 12",
    );
    let odd = CacheShape { head_dim: 96, ..SHAPE };
    check("f16:rotate=both", odd, "96 channels can't be rotated");
    let check = |layer: &str, expected: &str| {
        let text = format!("keys = \"f16\"\nvalues = \"f16\"\n[[layers]]\nrange = \"1\"\n{layer}");
        let plan = Plan::from_toml(&text).unwrap();
        let message = KvCache::new(SHAPE, &plan).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check("key_bits = [\"2\"]", "layer 1: key_bits for 1 KV heads, but the model has 2");
    check("key_bits = [\"2\", \"222\"]", "bits for 3 channels, but a head has 64");
    check("key_bits = [\"2\", \"9\"]", "9 bits for a channel");
    check("key_bits = [\"2\", \"2\"]\nkey_ranges = [[1], [1]]", "ranges for 1 channels");
    check("value_bits = [1, 2, 3]", "value_bits for 3 KV heads");
    check("value_bits = [1, 0]", "values of 0 bits");
}

#[test]
fn numbers_beyond_half_precision_saturate() {
    let mut cache = KvCache::new(SHAPE, &Plan::f16()).unwrap();
    let row = vec![1e9; 128];
    drop(cache.layer_mut(0).append(&row, &row).unwrap());
    assert!(seen(&mut cache, 1).iter().all(|&number| number == 65504.0));
}
