//! `longnn train`, from a graph that needs no file.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const GRAPH: &str = "csbm:n=200,f=30";

fn train(output: &Path, extra: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longnn"));
    command.args(["train", GRAPH, "--seeds", "2", "--json", "--output"]).arg(output);
    command.args(extra).output().unwrap()
}

fn json(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_run_is_kept_and_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let first = json(&train(folder.path(), &["--epochs", "30"]));
    assert_eq!(first["summary"]["seeds"], 2);
    let outcomes = first["record"]["outcomes"].as_array().unwrap();
    assert_eq!(outcomes[0]["epochs"], 30);
    assert_eq!(outcomes[0]["filter"]["chebyshev"][0].as_array().unwrap().len(), 11);
    assert!(folder.path().join("run.json").exists());
    // Nothing is left to train: the same record again, timings included.
    assert_eq!(json(&train(folder.path(), &["--epochs", "30"])), first);

    let refused = train(folder.path(), &["--epochs", "31"]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(message.contains("another protocol") && message.contains("seed-0"), "{message}");
    let restarted = json(&train(folder.path(), &["--epochs", "31", "--restart"]));
    assert_eq!(restarted["record"]["outcomes"][0]["epochs"], 31);
}

#[test]
fn bad_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("mine.toml");
    let refusal = |text: &str, extra: &[&str]| {
        std::fs::write(&settings, text).unwrap();
        let path = settings.to_str().unwrap();
        let output = train(folder.path(), &[&["--settings", path], extra].concat());
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refusal("[lon]\nalhpa = 1.0\n", &[]).contains("alhpa"));
    assert!(refusal("[lon]\nhidden_dropout = 1.5\n", &[]).contains("hidden_dropout: 1.5"));
    assert!(refusal("", &["--splits", "public"]).contains("comes without a public split"));
    assert!(refusal("", &["--model", "gat"]).contains("\"gat\" is none of lon"));
}
