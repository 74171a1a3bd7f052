//! Integration tests of the suite: its binary, run as people and CI run it.
#![allow(clippy::unwrap_used)]

use common::testing::Program;
use serde_json::Value;

const SUITE: Program = Program(env!("CARGO_BIN_EXE_benches"));

#[test]
fn documentation_is_what_the_records_say() {
    SUITE.stdout(&["docs", "--check"]);
}

#[test]
fn the_quick_form_runs_every_system() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let records = folder.path().join("records");
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let table = SUITE.stdout(&["--json", &path(&report), "--records", &path(&records)]);
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    for claim in report["claims"].as_array().unwrap() {
        let system = claim["system"].as_str().unwrap();
        assert!(table.contains(system), "{system} is in the table:\n{table}");
    }
    // These need nothing that may be missing: no graphs, no model.
    for experiment in ["kvquant-memory", "longnn-bases"] {
        let record = std::fs::read(records.join(format!("{experiment}.json"))).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        assert!(record["metrics"].is_object() || record["metrics"].is_array(), "{record}");
    }
    #[allow(clippy::print_stdout)] // The gate's log shows the result.
    {
        println!("{table}");
    }
}
