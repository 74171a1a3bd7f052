//! `unicron trace`

use super::UNICRON;
use common::testing::shared_data;
use std::path::Path;
use unicron::trace::read;

/// A file that holds `text`, and its folder.
fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn a_trace_goes_to_a_file_or_to_stdout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a3.csv");
    let path = path.to_str().unwrap();
    let arguments = ["trace", "generate", "--preset", "a", "--seed", "3"];
    let said = UNICRON.stdout(&[&arguments[..], &["--output", path]].concat());
    assert_eq!(said, format!("{path}: 43 failures on 16 nodes in 56.0 days\n"));
    let printed = UNICRON.stdout(&arguments);
    assert_eq!(std::fs::read_to_string(path).unwrap(), printed);
    assert_eq!(read(Path::new(path)).unwrap().name(), "a:seed=3");
    let named = UNICRON.json(&["trace", "describe", "a", "--seed", "3", "--json"]);
    let read = UNICRON.json(&["trace", "describe", path, "--json"]);
    assert_eq!(named, read);
}

#[test]
fn options_make_other_traces() {
    let describe = |arguments: &[&str]| {
        let trace = UNICRON.stdout(&[&["trace", "generate"], arguments].concat());
        let (_folder, path) = file("t.csv", &trace);
        UNICRON.json(&["trace", "describe", &path, "--json"])
    };
    let scaled = describe(&["--preset", "llama3", "--nodes", "1024", "--days", "27"]);
    let failures = scaled["failures"].as_u64().unwrap();
    assert!((104..=105).contains(&failures), "419 / 4: {failures}");
    let racks = describe(&[
        "--nodes=64",
        "--days=100",
        "--node-faults=20",
        "--correlated=0.2",
        "--domain=4",
        "--seed=5",
        "--sev2=0",
        "--sev3=0",
    ]);
    assert_eq!(
        racks["name"],
        "synthetic:nodes=64,days=100,node-faults=20,sev2=0,sev3=0,correlated=0.2,domain=4,seed=5"
    );
    assert!(racks["groups"].as_u64().unwrap() > 5, "{racks}");
    assert_eq!(racks["severities"][0]["failures"], racks["failures"]);
}

#[test]
fn the_recorded_trace_is_described_and_drawn() {
    if shared_data("traces/infinitehbd/fault_trace.json").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("faults.svg");
    let description = UNICRON.json(&[
        "trace",
        "describe",
        "infinitehbd",
        "--json",
        "--plot",
        picture.to_str().unwrap(),
    ]);
    assert_eq!((&description["failures"], &description["nodes"]), (&584.into(), &400.into()));
    assert_eq!(description["days"].as_array().unwrap().len(), 349);
    assert_eq!(description["severities"][0]["of"], "sev1");
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("nodes away"));
    let text = UNICRON.stdout(&["trace", "describe", "infinitehbd"]);
    assert!(text.starts_with("infinitehbd: 584 failures on 400 nodes of 8 GPUs in 349.0 days\n"));
    let value = |figure: &str| {
        let line = text.lines().find(|line| line.starts_with(figure)).unwrap();
        line[figure.len()..].trim().to_owned()
    };
    assert_eq!(value("gap, coefficient of variation"), "1.76");
    assert_eq!(value("repair, 90 % within"), "329.4 h");
    assert_eq!(value("node time lost"), "2.3 %");
    assert_eq!(value("ecc-error"), "61  10.4 %");
}

#[test]
fn the_recorded_trace_is_converted() {
    let Some(recorded) = shared_data("traces/infinitehbd/fault_trace.json") else { return };
    let intervals = recorded.with_file_name("fault_intervals.csv");
    let convert = |path: &Path, more: &[&str]| {
        UNICRON.stdout(&[&["trace", "convert", path.to_str().unwrap()], more].concat())
    };
    assert_eq!(convert(&recorded, &[]), convert(&intervals, &[]));
    let (_folder, path) = file("t.csv", &convert(&recorded, &["--add-process-failures", "3"]));
    let description = UNICRON.json(&["trace", "describe", &path, "--json"]);
    assert_eq!(description["failures"], 4 * 584);
    assert_eq!(description["name"], "infinitehbd:process-failures=3");
    assert_eq!(description["severities"][0]["failures"], 584);
    UNICRON.fails(
        &["trace", "convert", recorded.to_str().unwrap(), "--nodes", "100"],
        2,
        "infinitehbd: nodes: 100 isn't enough",
    );
}

#[test]
fn bad_input_says_what_and_where() {
    let text = "# unicron-trace: 1\n# nodes: 2\n# gpus_per_node: 8\n# duration_s: 10\n\
                at_s,node,status\n1,2,ecc-error\n";
    let (_folder, path) = file("mine.csv", text);
    UNICRON.fails(&["trace", "describe", &path], 2, "mine.csv:6: node: 2 isn't one of 0 to 1");
    UNICRON.fails(&["trace", "describe", "no/such.csv"], 2, "no/such.csv: No such file");
    UNICRON.fails(
        &["trace", "describe", "c"],
        2,
        "\"c\" is no name (a, b, llama3, synthetic, infinitehbd)",
    );
    UNICRON.fails(&["trace", "describe", &path, "--seed", "1"], 2, "is read, not made up");
    UNICRON.fails(
        &["trace", "generate", "--preset", "a", "--days", "3"],
        2,
        "a: no option \"days\"",
    );
    UNICRON.fails(
        &["trace", "generate", "--burstiness", "0.5"],
        2,
        "burstiness: 0.5 isn't from 1 to 20",
    );
    UNICRON.fails(&["trace", "generate", "--preset", "c"], 2, "possible values: a, b, llama3");
    UNICRON.fails(&["trace", "convert", &path], 2, "mine.csv:1: is no fault trace");
}

#[test]
fn every_help_has_an_example() {
    for command in ["generate", "convert", "describe"] {
        let help = UNICRON.stdout(&["trace", command, "--help"]);
        assert!(help.contains(&format!("Examples:\n  unicron trace {command} ")), "{help}");
    }
    assert!(UNICRON.run(&["trace", "--help"]).status.success());
}
