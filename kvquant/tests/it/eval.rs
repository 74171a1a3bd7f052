//! `kvquant eval` and `kvquant analyze`, as a user meets them, on a tiny model.

use common::testing::{Program, shared_data};
use kvquant::eval::needle::{Haystack, Needle};
use kvquant::model::gguf::Gguf;
use kvquant::model::tokenizer::Tokenizer;
use serde_json::Value;
use std::fs;

const KVQUANT: Program = Program(env!("CARGO_BIN_EXE_kvquant"));

/// Runs a command on the tiny model and a text; `None` where they are missing.
fn run(command: &[&str], more: &[&str]) -> Option<Value> {
    let model = shared_data("models/stories260k-f32.gguf")?;
    let text = shared_data("text/tinyshakespeare/input.txt")?;
    let given = ["--model", model.to_str().unwrap(), "--text", text.to_str().unwrap(), "--json"];
    Some(KVQUANT.json(&[command, &given, more].concat()))
}

#[test]
fn half_precision_does_not_diverge_from_itself() {
    let arguments = ["--kv", "f16", "--context", "200", "--windows", "2"];
    let Some(found) = run(&["eval", "divergence"], &arguments) else { return };
    assert_eq!(found["same_top"], 1.0, "{found}");
    assert_eq!(found["perplexity"], found["perplexity_f16"]);
    assert!(found["divergence"].as_f64().unwrap().abs() < 1e-9, "{found}");
}

/// What was finished before an interruption is not measured again, and what is measured is the same with and
/// without one.
#[test]
fn a_plan_diverges_and_its_journal_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let arguments = ["--kv", "kivi-2:window=32", "--context", "200", "--journal"];
    let arguments = [&arguments[..], &[journal.to_str().unwrap()]].concat();
    let with = |more: &[&str]| run(&["eval", "divergence"], &[&arguments, more].concat());
    let Some(first) = with(&["--windows", "1"]) else { return };
    let both = with(&["--windows", "2"]).unwrap();
    assert_eq!(both["windows"][0], first["windows"][0]);
    let lines = fs::read_to_string(&journal).unwrap().lines().count();
    assert_eq!(lines, 3, "a head and two windows");
    let second = with(&["--windows", "1", "--skip", "1"]).unwrap();
    assert_eq!(both["windows"][1], second["windows"][0]);
    assert!(both["divergence"].as_f64().unwrap() > 0.001, "{both}");
    assert!(both["same_top"].as_f64().unwrap() < 1.0, "{both}");
    let arguments = ["eval", "divergence", "--kv", "f16", "--journal", journal.to_str().unwrap()];
    KVQUANT.fails(&arguments, 2, "is the journal of another run; remove it");
}

#[test]
fn needles_are_counted_by_length_and_depth() {
    let arguments = ["--kv", "kivi-2:window=32", "--lengths", "200,300", "--depths", "3"];
    let arguments = [&arguments[..], &["--texts", "2"]].concat();
    let Some(found) = run(&["eval", "needle"], &arguments) else { return };
    assert_eq!(found["prompts"], 12, "{found}");
    let cells = found["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 6);
    assert_eq!((&cells[4]["length"], &cells[4]["depth"]), (&300.into(), &0.5.into()));
    assert!(cells.iter().all(|cell| cell["found"].as_u64().unwrap() <= 2), "{found}");
    let model = shared_data("models/stories260k-f32.gguf").unwrap();
    let needle = ["eval", "needle", "--model", model.to_str().unwrap(), "--kv", "f16"];
    let fails = |more: &[&str], expected: &str| {
        KVQUANT.fails(&[&needle, more].concat(), 2, expected);
    };
    fails(&["--lengths", "60"], "5 needles and a question take");
    fails(&["--lengths", "2048"], "tokens are more than the model's context of");
    fails(&["--depths", "40"], "--depths takes 1 to 16");
}

/// A prompt has the length that was asked for, and all needles in their order, about where they belong.
#[test]
fn needles_lie_at_their_depths() {
    let Some(model) = shared_data("models/stories260k-f32.gguf") else { return };
    let Some(text) = shared_data("text/tinyshakespeare/input.txt") else { return };
    let tokenizer = Tokenizer::from_gguf(&Gguf::open(&model).unwrap()).unwrap();
    let text = tokenizer.encode(&fs::read_to_string(text).unwrap(), false).unwrap();
    let needles = Needle::from_seed(5, 3);
    for (trial, length) in [(0, 400), (1, 400), (2, 700)] {
        let haystack = Haystack::new(&tokenizer, &text, trial, length, &needles).unwrap();
        let tokens = haystack.tokens();
        assert!(tokens.len() < length && tokens.len() + 100 > length, "{}", tokens.len());
        let read = tokenizer.decode(tokens).unwrap();
        let found: Vec<usize> =
            read.match_indices("The special magic number for").map(|m| m.0).collect();
        assert_eq!(found.len(), 3, "{read}");
        for (at, depth) in found.into_iter().zip(Haystack::depths(3)) {
            // Not within a sentence, so somewhat later.
            let part = at as f64 / read.len() as f64;
            assert!(part > depth - 0.15 && part < depth + 0.3, "{part} for {depth}");
        }
    }
    let first = |trial| {
        Haystack::new(&tokenizer, &text, trial, 400, &needles).unwrap().tokens()[0..20].to_vec()
    };
    assert_ne!(first(0), first(1), "other trials, other texts");
}

/// Runs a task on the tiny model and its published data.
fn task(name: &str, data: &str, more: &[&str]) -> Option<Value> {
    let model = shared_data("models/stories260k-f32.gguf")?;
    let data = shared_data(data)?;
    let given =
        ["eval", name, "--model", model.to_str().unwrap(), "--data", data.to_str().unwrap()];
    Some(KVQUANT.json(&[&given, more, &["--json"]].concat()))
}

/// What a model of stories can't know is no signal.
#[test]
fn tasks_say_whether_their_score_means_anything() {
    let more = ["--kv", "kivi-2:window=32", "--questions", "3"];
    let data = "text/truthfulqa/TruthfulQA.csv";
    let Some(found) = task("truthfulqa", data, &more) else { return };
    let exact = &found["half_precision"];
    assert_eq!((&exact["mc1"]["n"], &exact["mc1"]["has_signal"]), (&3.into(), &false.into()));
    assert_eq!(found["scores"].is_null(), exact["mc2"]["has_signal"] == false, "{found}");
    let mc2 = exact["mc2"]["mean"].as_f64().unwrap();
    assert!(mc2 > 0.0 && mc2 < 1.0, "{found}");
    let more = ["--kv", "f16", "--questions", "1", "--examples", "1"];
    let found = task("gsm8k", "text/gsm8k/test.jsonl", &more).unwrap();
    let score = &found["half_precision"]["exact_match"];
    assert_eq!((&score["mean"], &score["has_signal"]), (&0.0.into(), &false.into()), "{found}");
    let conversations = shared_data("text/leval/topic_retrieval_longchat.jsonl").unwrap();
    let model = shared_data("models/stories260k-f32.gguf").unwrap();
    let arguments = ["eval", "leval", "--kv", "f16", "--model", model.to_str().unwrap()];
    let arguments = [&arguments[..], &["--data", conversations.to_str().unwrap()]].concat();
    KVQUANT.fails(&arguments, 2, "fits into the model's context of");
}

#[test]
fn errors_are_followed_through_attention() {
    let folder = tempfile::tempdir().unwrap();
    let plots = folder.path().to_str().unwrap();
    let arguments = ["--kv", "kivi-2:window=32", "--tokens", "200", "--plots", plots];
    let Some(found) = run(&["analyze"], &arguments) else { return };
    assert!(found["theorem_1_largest_difference"].as_f64().unwrap() < 1e-5, "{found}");
    let heads = found["heads"].as_array().unwrap();
    let mean = |error: &str| {
        let errors = heads.iter().map(|head| head["errors"][error].as_f64().unwrap());
        errors.sum::<f64>() / heads.len() as f64
    };
    assert!(mean("keys") > 0.0 && mean("values") > 0.0 && mean("weights") > 0.0, "{found}");
    for name in ["errors-by-layer", "spread-1", "spread-2", "spread-3"] {
        let svg = fs::read_to_string(folder.path().join(format!("{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg"), "{name}");
    }
}
