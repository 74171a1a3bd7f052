//! Searching a plan: under the budget, resumed after an interruption, once for a preset.

use crate::tiny_model;
use common::testing::shared_data;
use kvquant::Error;
use kvquant::policy::Plan;
use kvquant::search::sensitivity::Sensitivities;
use kvquant::search::{Budget, Search};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn tokens() -> Vec<u32> {
    (0..300u32).map(|i| (i * i / 7 + i * 5) % 9).collect()
}

fn measured<'a>(model: &'a kvquant::model::Llama) -> Search<'a> {
    let mut search = Search::new(model, &tokens()).unwrap();
    for (part, bits) in search.missing() {
        let measurement = search.measure(part, bits).unwrap();
        search.sensitivities.add(measurement);
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
            let found = search.find::<Error>(&Budget { bits, context }, 1, |_, run| run()).unwrap();
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
    let error =
        search.find::<Error>(&Budget { bits: 0.5, context }, 1, |_, run| run()).unwrap_err();
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
        let measurement = half.measure(part, bits).unwrap();
        half.sensitivities.add(measurement);
    }
    assert_eq!(half.sensitivities, whole.sensitivities);
}

/// The command with a cache folder of its own, on the tiny model.
struct Kvquant {
    cache: tempfile::TempDir,
    model: PathBuf,
}

impl Kvquant {
    fn new() -> Option<Kvquant> {
        let model = shared_data("models/stories260k-f32.gguf")?;
        shared_data("text/wikitext-2/valid.txt")?;
        Some(Kvquant { cache: tempfile::tempdir().unwrap(), model })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let (command, rest) = arguments.split_first().unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_kvquant"));
        program.arg(command).arg("--model").arg(&self.model).args(rest);
        program.env("XDG_CACHE_HOME", self.cache.path()).output().unwrap()
    }

    /// What it prints as JSON, and what it says.
    fn json(&self, arguments: &[&str]) -> (Value, String) {
        let output = self.run(&[arguments, &["--json"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (serde_json::from_slice(&output.stdout).unwrap(), said)
    }

    /// The files that are kept for the model.
    fn kept(&self) -> Vec<PathBuf> {
        let plans = self.cache.path().join("neural-systems/plans");
        let Some(folder) = fs::read_dir(plans).unwrap().next() else { return Vec::new() };
        let files = fs::read_dir(folder.unwrap().path()).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }
}

#[test]
fn the_command_writes_a_plan_that_works_wherever_plans_do() {
    let Some(kvquant) = Kvquant::new() else { return };
    let plan = kvquant.cache.path().join("plan.toml");
    let plan = plan.to_str().unwrap();
    let search = ["search", "--tokens", "280", "--context", "2048", "--budget-bits", "5"];
    let search = [&search[..], &["--name", "mine", "--output", plan]].concat();
    let (found, _) = kvquant.json(&search);
    assert!(found["bits"].as_f64().unwrap() <= 5.0, "{found}");
    let written = fs::read_to_string(plan).unwrap();
    assert!(written.contains("[evidence]") && written.contains("budget-bits 5"), "{written}");
    let score = ["perplexity", "--kv", plan, "--context", "256", "--windows", "1"];
    let (score, _) = kvquant.json(&score);
    assert!(score["perplexity"].as_f64().unwrap() > 1.0, "{score}");
    assert_eq!(score["plan"], "mine");
    // Interrupted in the midst of a measurement, it measures what is left and finds the same plan.
    let [measured] = &kvquant.kept()[..] else { panic!("{:?}", kvquant.kept()) };
    let text = fs::read_to_string(measured).unwrap();
    fs::write(measured, &text[..text.len() / 2]).unwrap();
    let (again, _) = kvquant.json(&search);
    assert_eq!(again, found);
    let restored = fs::read_to_string(measured).unwrap();
    assert_eq!(restored.lines().count(), text.lines().count());
    let kept = text[..text.len() / 2].rfind('\n').unwrap();
    assert_eq!(restored[..kept], text[..kept], "with the seconds that each part took");
}

/// A preset of a model without a shipped plan is searched once, or, if so told, uniform.
#[test]
fn a_preset_is_searched_once() {
    let Some(kvquant) = Kvquant::new() else { return };
    let generate = ["generate", "--raw", "--prompt", "Once upon", "--max-tokens", "4", "--kv"];
    let with = |more: &[&str]| kvquant.json(&[&generate, more].concat());
    let (exact, said) = with(&["exact"]);
    assert_eq!((&exact["plan"], &exact["bits_per_element"]), (&"exact".into(), &16.0.into()));
    assert!(!said.contains("searching"), "{said}");
    let (uniform, said) = with(&["balanced", "--no-search"]);
    assert!(!said.contains("searching") && uniform["plan"] != "balanced", "{uniform} {said}");
    // Heads of 8 channels take a byte of scale for each.
    let (searched, said) = with(&["balanced"]);
    assert_eq!(searched["plan"], "balanced");
    assert!(said.contains("searching, once") && said.contains("balanced.toml"), "{said}");
    let (again, said) = with(&["balanced"]);
    assert!(!said.contains("searching"), "{said}");
    assert_eq!(again["text"], searched["text"]);
    let memory = ["memory", "--kv", "balanced", "--context", "8192"];
    let (planned, _) = kvquant.json(&memory);
    assert!(planned["bits_per_element"].as_f64().unwrap() <= 2.5, "{planned}");
    assert_eq!(planned["plan"], "balanced");
    let (planned, _) = Kvquant::new().unwrap().json(&memory);
    assert_eq!(planned["plan"], "int1/int1, not searched");
}
