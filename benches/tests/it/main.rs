//! Integration tests of the suite: its binary, run as people and CI run it.
#![allow(clippy::unwrap_used)]

use common::command::workspace_root;
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
    let run = ["--json", &path(&report), "--records", &path(&records)];
    let table = SUITE.stdout(&run);
    let page = std::fs::read_to_string(records.join("report.html")).unwrap();
    for system in ["kvquant", "unicron", "longnn"] {
        assert!(page.contains(&format!("<h2>{system}: claims</h2>")), "{system}");
    }
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
    let baseline = workspace_root().unwrap().join("benches/baselines/quick");
    let compared =
        SUITE.stdout(&["check", "--against", &path(&baseline), "--records", &path(&records)]);
    #[allow(clippy::print_stdout)] // The gate's log shows the result.
    {
        println!("{table}\n{compared}");
    }
}

#[test]
fn what_got_worse_fails_and_is_named() {
    let baseline = workspace_root().unwrap().join("benches/baselines/quick");
    let folder = tempfile::tempdir().unwrap();
    let name = "kvquant-memory.json";
    let text = std::fs::read_to_string(baseline.join(name)).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    let bytes = &mut record["metrics"]["savings"][1]["cache_bytes"];
    *bytes = (bytes.as_u64().unwrap() + 1).into();
    std::fs::write(folder.path().join(name), record.to_string()).unwrap();
    let records = folder.path().to_str().unwrap();
    let arguments = ["check", "--against", baseline.to_str().unwrap(), "--records", records];
    let output = SUITE.run(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let (table, error) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    assert!(table.unwrap().contains("savings.1.cache_bytes"));
    assert!(error.unwrap().contains("1 of 12 values got worse"));
}
