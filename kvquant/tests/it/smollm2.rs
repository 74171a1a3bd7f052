//! SmolLM2-135M against values computed outside of this engine, and against the paper's claim.

use common::testing::{model, shared_data};
use kvquant::cache::bytes::planned_bytes;
use kvquant::eval::{Evaluation, Protocol, ScoringRule, evaluate};
use kvquant::model::gguf::Gguf;
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{Llama, WeightFormat};
use kvquant::policy::Plan;

/// Perplexities of the first four windows of 1024 tokens of WikiText-2's raw test set, all
/// predictions scored, keys and values in half precision: a numpy forward pass in single precision
/// over the dequantized weights.
const REFERENCE: [f64; 4] = [13.822, 29.774, 24.291, 29.169];

struct Setting {
    model: Llama,
    tokens: Vec<u32>,
}

/// `None` where the model or the text is missing.
fn setting(weights: WeightFormat) -> Option<Setting> {
    let text = shared_data("text/wikitext-2-raw/wiki.test.raw")?;
    let gguf = Gguf::open(&model("smollm2")?).unwrap();
    // Four windows, and a little more than they need.
    let text: String = std::fs::read_to_string(text).unwrap().chars().take(24_000).collect();
    let tokens = Tokenizer::from_gguf(&gguf).unwrap().encode(&text, false).unwrap();
    Some(Setting { model: Llama::load(gguf, weights).unwrap(), tokens })
}

fn score(setting: &Setting, plan: &str, max_windows: usize) -> Evaluation {
    let protocol = Protocol {
        context: 1024,
        skipped_windows: 0,
        max_windows,
        rule: ScoringRule::All,
        chunk: 512,
        bos: None,
    };
    evaluate(&setting.model, &setting.tokens, &plan.parse().unwrap(), protocol, |_| ()).unwrap()
}

fn check_windows(weights: WeightFormat, tolerance: f64) {
    let Some(setting) = setting(weights) else { return };
    let evaluation = score(&setting, "f16", 4);
    for (window, reference) in evaluation.windows.iter().zip(REFERENCE) {
        let relative = window.perplexity() / reference - 1.0;
        println!("{weights}: {:.4} ({:+.3} %)", window.perplexity(), 100.0 * relative);
        assert!(relative.abs() < tolerance, "{weights}: {} {reference}", window.perplexity());
    }
}

#[test]
fn single_precision_weights_match_the_reference() {
    check_windows(WeightFormat::F32, 0.001);
}

#[test]
fn default_weights_match_the_reference() {
    check_windows(WeightFormat::Auto, 0.015);
}

/// Table 2 of the paper in kind: 2-bit keys over 1-bit values against the reverse.
#[test]
fn keys_matter_more_than_values() {
    let Some(setting) = setting(WeightFormat::F32) else { return };
    let perplexity = |plan: &str| {
        let evaluation = score(&setting, plan, 3);
        let plan: Plan = plan.parse().unwrap();
        let shape = setting.model.config().cache_shape();
        assert_eq!(evaluation.cache_bytes, planned_bytes(shape, &plan, 1024).unwrap(), "{plan}");
        println!("{plan}: {:.3}", evaluation.total().perplexity());
        evaluation.total().perplexity()
    };
    let (f16, kivi) = (perplexity("f16"), perplexity("kivi-2"));
    let rotated = perplexity("f16:rotate=both");
    assert!((rotated / f16 - 1.0).abs() < 0.001, "a rotation alone costs {}", rotated / f16 - 1.0);
    // Sinks, levels of least squares and rotated values: better in fewer bits.
    let better = perplexity("int2:window=64,group=64,sinks=4,rotate=values");
    assert!(better < 0.95 * kivi, "{better} against {kivi}");
    let cost = kivi / f16 - 1.0;
    assert!((0.15..0.60).contains(&cost), "kivi-2 costs {cost}");
    let (keys, values) = (perplexity("asymkv-30/0"), perplexity("asymkv-0/30"));
    assert!(values > 5.0 * keys, "high bits on keys {keys}, on values {values}");
}
