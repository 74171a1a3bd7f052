//! Any text as a plan, in the notation and as a file: an error is fine, a panic is a find. A plan
//! that parses is bound to a model and, where it fits, its bytes are planned; one in the notation is
//! printed and parsed back.
#![no_main]

use kvquant::cache::CacheShape;
use kvquant::cache::bytes::planned_bytes;
use kvquant::policy::Plan;
use libfuzzer_sys::fuzz_target;

const SHAPE: CacheShape = CacheShape { n_layers: 30, n_kv_heads: 3, head_dim: 64 };

fuzz_target!(|text: &str| {
    if let Ok(plan) = text.parse::<Plan>() {
        assert_eq!(plan.to_string().parse::<Plan>().expect("printed plans parse"), plan);
        let _ = planned_bytes(SHAPE, &plan, 1000);
    }
    if let Ok(plan) = Plan::from_toml(text) {
        let _ = planned_bytes(SHAPE, &plan, 1000);
    }
});
