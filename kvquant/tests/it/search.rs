//! Searching a plan: under the budget, better than the prefix rule, resumed after an interruption.

use crate::tiny_model;
use common::testing::{Program, shared_data};
use kvquant::Error;
use kvquant::policy::Plan;
use kvquant::search::sensitivity::Sensitivities;
use kvquant::search::{Budget, Search};
use std::fs;

const KVQUANT: Program = Program(env!("CARGO_BIN_EXE_kvquant"));

fn tokens() -> Vec<u32> {
    (0..300u32).map(|i| (i * i / 7 + i * 5) % 9).collect()
}

fn measured<'a>(model: &'a kvquant::model::Llama) -> Search<'a> {
    let mut search = Search::new(model, &tokens()).unwrap();
    for (part, bits) in search.missing() {
        search.measure(part, bits).unwrap();
    }
    search
}

#[test]
fn a_plan_is_found_within_its_budget() {
    let model = tiny_model::load("llama");
    let search = measured(&model);
    let context = 4096;
    let expected: Vec<f64> = [3.5, 4.5]
        .into_iter()
        .map(|bits| {
            let found = search.find(&Budget { bits, context }, 1).unwrap();
            assert!(found.bits <= bits && found.bits > bits - 0.2, "{found:?}");
            let prefix = found.prefix.unwrap();
            assert!(prefix.bits <= bits, "{found:?}");
            // The plan is one of a model of two layers, and its file says the same.
            let text = found.plan.to_toml(2, &toml::Table::new()).unwrap();
            let read = Plan::from_toml(&text).unwrap();
            assert_eq!(read.layer_formats(2).unwrap(), found.plan.layer_formats(2).unwrap());
            assert!(found.measured.is_finite() && found.measured >= 0.0, "{found:?}");
            found.expected
        })
        .collect();
    assert!(expected[1] < expected[0], "more bits move less: {expected:?}");
    let error = search.find(&Budget { bits: 0.5, context }, 1).unwrap_err();
    assert!(matches!(error, Error::BudgetTooSmall { least, .. } if least > 0.5), "{error}");
    assert!(Search::new(&model, &tokens()[..200]).is_err(), "nothing would be packed");
}

/// A search that goes on from another's measurements measures nothing twice and finds the same.
#[test]
fn what_was_measured_is_not_measured_again() {
    let model = tiny_model::load("qwen2");
    let whole = measured(&model);
    let mut half = Search::new(&model, &tokens()).unwrap();
    let known: Vec<_> = whole.sensitivities.measurements().collect();
    half.sensitivities = Sensitivities::from(known[..known.len() / 2].to_vec());
    assert_eq!(half.missing().len(), known.len() - known.len() / 2);
    for (part, bits) in half.missing() {
        half.measure(part, bits).unwrap();
    }
    assert_eq!(half.sensitivities, whole.sensitivities);
}

#[test]
fn the_command_writes_a_plan_that_works_wherever_plans_do() {
    let Some(model) = shared_data("models/stories260k-f32.gguf") else { return };
    let Some(text) = shared_data("text/tinyshakespeare/input.txt") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (model, text) = (model.to_str().unwrap(), text.to_str().unwrap());
    let plan = folder.path().join("plan.toml");
    let plan = plan.to_str().unwrap();
    let unfinished = format!("{plan}.unfinished");
    let search = |budget: &str| {
        [
            "search",
            "--model",
            model,
            "--text",
            text,
            "--tokens",
            "280",
            "--context",
            "2048",
            "--budget-bits",
            budget,
            "--output",
            plan,
            "--json",
        ]
        .map(str::to_owned)
    };
    let run = |arguments: &[String]| {
        KVQUANT.json(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let found = run(&search("5"));
    assert!(found["bits"].as_f64().unwrap() <= 5.0, "{found}");
    assert!(!fs::exists(&unfinished).unwrap(), "what was measured is in the plan");
    let written = fs::read_to_string(plan).unwrap();
    assert!(written.contains("[evidence]") && written.contains("budget-bits 5"), "{written}");
    let score = KVQUANT.json(&[
        "perplexity",
        "--model",
        model,
        "--text",
        text,
        "--kv",
        plan,
        "--context",
        "256",
        "--windows",
        "1",
        "--json",
    ]);
    assert!(score["perplexity"].as_f64().unwrap() > 1.0, "{score}");
    // Another's interrupted search is not mistaken for this one's, and nothing of it is lost.
    fs::write(&unfinished, "{}").unwrap();
    let arguments = search("5");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    KVQUANT.fails(&arguments, 2, "is the journal of another run; remove it");
    assert_eq!(fs::read_to_string(&unfinished).unwrap(), "{}");
}
