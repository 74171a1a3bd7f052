//! Perplexity means decoding: how a text is cut into chunks does not change its score, to the last
//! bit.

use common::testing::{model, shared_data};
use kvquant::eval::{Protocol, ScoringRule, evaluate};
use kvquant::model::gguf::Gguf;
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{Llama, WeightFormat};
use std::path::Path;

/// Scores one window in chunks of 512, 64 and 7 tokens, and by pure decoding.
fn check(path: &Path, weights: WeightFormat, context: usize, plans: &[&str]) {
    let Some(text) = shared_data("text/wikitext-2-raw/wiki.test.raw") else { return };
    let text = std::fs::read_to_string(text).unwrap();
    let text: String = text.chars().take(8000).collect();
    let gguf = Gguf::open(path).unwrap();
    let tokens = Tokenizer::from_gguf(&gguf).unwrap().encode(&text, false).unwrap();
    let model = Llama::load(gguf, weights).unwrap();
    for plan in plans {
        let plan = plan.parse().unwrap();
        let score = |chunk| {
            let rule = ScoringRule::All;
            let protocol =
                Protocol { context, skipped_windows: 0, max_windows: 1, rule, chunk, bos: None };
            let evaluation = evaluate(&model, &tokens, &plan, protocol, |_| ()).unwrap();
            (evaluation.total().nll, evaluation.cache_bytes)
        };
        let (decoded, bytes) = score(1);
        for chunk in [7, 64, 512] {
            let (nll, chunked_bytes) = score(chunk);
            println!("{plan}, {weights}, chunks of {chunk}: {nll} nats, decoded {decoded}");
            assert_eq!(nll, decoded, "{plan}, {weights}, chunks of {chunk}");
            assert_eq!(chunked_bytes, bytes, "{plan}, {weights}, chunks of {chunk}");
        }
    }
}

#[test]
fn chunks_do_not_change_the_score_of_stories260k() {
    let Some(path) = shared_data("models/stories260k-f32.gguf") else { return };
    let plans = [
        "f16",
        "kivi-2:window=32",
        "asymkv-3/1:window=64",
        "rtn1/f16:window=32",
        "int2/int1:window=32,group=16,sinks=4,rotate=both,jensen",
    ];
    check(&path, WeightFormat::F32, 512, &plans);
}

#[test]
fn chunks_do_not_change_the_score_of_smollm2() {
    let Some(path) = model("smollm2") else { return };
    check(&path, WeightFormat::F32, 320, &["asymkv-20/0:window=32"]);
    check(&path, WeightFormat::Auto, 320, &["kivi-2", "q8_0/q4_0"]);
}
