//! The command line, as a user or a script meets it.

use common::testing::shared_data;
use serde_json::Value;
use std::process::{Command, Output};

pub fn longnn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_longnn")).args(arguments).output().unwrap()
}

pub fn stdout(arguments: &[&str]) -> String {
    let output = longnn(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

/// Every command.
const COMMANDS: &[&str] = &["datasets"];

/// Fails with this exit code, says this on stderr and nothing on stdout.
pub fn fails(arguments: &[&str], code: i32, expected: &str) {
    let output = longnn(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
}

#[test]
fn the_known_graphs_are_listed() {
    let list = json(&["datasets", "--json"]);
    let rows = list["datasets"].as_array().unwrap();
    assert_eq!(rows.len(), 16, "14 graphs, csbm and the images");
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert!(row("grid2d_images")["licence"].as_str().unwrap().contains("Matlab"));
    assert!(row("csbm")["path"].is_null());
    if shared_data("graphs/cora.npz").is_none() {
        assert!(row("cora")["problem"].as_str().unwrap().contains("place it at $RESEARCH_DATA"));
        return;
    }
    assert_eq!((&row("cora")["nodes"], &row("cora")["edges"]), (&2708.into(), &5278.into()));
    assert_eq!(row("computers")["isolated_nodes"], 281);
    assert_eq!(row("tolokers")["metric"], "ROC-AUC");
    assert_eq!(row("texas")["fixed_splits"], 10);
    assert_eq!(row("pubmed_nofeat")["features"], Value::Null);
    assert!(rows.iter().all(|row| row["problem"].is_null()), "{list}");
}

#[test]
fn a_graph_of_the_users_own_is_described() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edges.csv"), "a,b\nb,c\n").unwrap();
    std::fs::write(folder.path().join("nodes.csv"), "id,label,x\na,0,1\nb,1,0\nc,1,2\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let own = &json(&["datasets", path, "--json"])["datasets"][0];
    assert_eq!((&own["nodes"], &own["edges"], &own["features"]), (&3.into(), &2.into(), &1.into()));
    assert_eq!(own["edge_homophily"], 0.5);

    std::fs::write(folder.path().join("edges.csv"), "a,b\nb,x\n").unwrap();
    fails(&["datasets", path], 2, "edges.csv: line 2: edge b - x: there is no node x");
}

#[test]
fn the_table_is_for_people() {
    let table = stdout(&["datasets", "csbm:n=20,f=3,phi=-1,d=4,epsilon=3"]);
    assert!(table.starts_with("graph "), "{table}");
    assert!(table.contains("csbm:n=20,f=3,d=4,phi=-1,epsilon=3 "), "{table}");
    assert!(table.contains("100.00 %") && table.contains("made up"), "{table}");
}

#[test]
fn bad_input_says_what_and_where() {
    fails(&["datasets", "croa"], 2, "unknown graph \"croa\"");
    fails(&["datasets", "no/such.npz"], 2, "no/such.npz: No such file");
    fails(&["datasets", "no/such"], 2, "no/such: graph: there is no such file or folder");
    fails(&["datasets", "csbm:phi=2"], 2, "csbm: phi: 2 isn't from -1 to 1");
    let text = env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml";
    fails(&["datasets", &text], 2, "Cargo.toml: graph: is neither an .npz file nor a folder");
    fails(&["nonsense"], 2, "nonsense");
}

#[test]
fn every_command_has_help_with_an_example() {
    for &command in COMMANDS {
        let help = stdout(&[command, "--help"]);
        assert!(help.contains(&format!("\n  longnn {command}")), "{help}");
    }
}
