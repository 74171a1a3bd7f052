//! `longnn compare`: tables that go on where they were interrupted.

use super::commands::LONGNN;
use serde_json::Value;
use std::path::Path;

const GRAPHS: &str = "csbm:n=60,f=8,csbm:n=80,f=8,phi=-0.5";

fn arguments<'a>(folder: &'a Path, models: &'a str, seeds: &'a str) -> Vec<&'a str> {
    let output = folder.to_str().unwrap();
    let graphs = ["compare", "--datasets", GRAPHS, "--models", models];
    [&graphs[..], &["--seeds", seeds, "--epochs", "5", "--output", output]].concat()
}

fn compare(folder: &Path, models: &str, seeds: &str) -> Value {
    LONGNN.json(&[&arguments(folder, models, seeds)[..], &["--json"]].concat())
}

fn trained(comparison: &Value) -> Vec<u64> {
    let rows = comparison["rows"].as_array().unwrap();
    rows.iter().map(|row| row["trained"].as_u64().unwrap()).collect()
}

#[test]
fn a_comparison_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let first = compare(folder.path(), "lon", "2");
    assert_eq!(trained(&first), [2, 2]);
    let second = compare(folder.path(), "lon,mlp", "3");
    assert_eq!(trained(&second), [1, 3, 1, 3]);
    let third = compare(folder.path(), "lon,mlp", "3");
    assert_eq!(trained(&third), [0, 0, 0, 0]);
    let keys = ["test_accuracy_mean", "test_accuracy_std", "epoch_ms_median"];
    for key in keys {
        assert_eq!(second["rows"][3][key], third["rows"][3][key]);
    }

    // A file that an interruption left half written is not read.
    let run = Path::new(third["rows"][0]["run"].as_str().unwrap());
    std::fs::rename(run, run.with_extension("partial")).unwrap();
    assert_eq!(trained(&compare(folder.path(), "lon,mlp", "3")), [3, 0, 0, 0]);
}

#[test]
fn rows_have_their_stable_keys_and_lon_is_paired() {
    let folder = tempfile::tempdir().unwrap();
    let comparison = compare(folder.path(), "lon,mlp,gcn", "3");
    for row in comparison["rows"].as_array().unwrap() {
        assert!(row["dataset"].as_str().unwrap().starts_with("csbm:n="), "{row}");
        let percent = ["test_accuracy_mean", "test_accuracy_std", "test_accuracy_ci95"];
        for key in percent {
            assert!((0.0..=100.0).contains(&row[key].as_f64().unwrap()), "{key}: {row}");
        }
        assert!(row["epoch_ms_median"].as_f64().unwrap() > 0.0);
        assert_eq!((&row["seeds"], &row["verdict"]), (&3.into(), &"not published".into()));
        assert_eq!((&row["metric"], &row["problem"]), (&"accuracy".into(), &Value::Null));
    }
    let paired = comparison["paired"].as_array().unwrap();
    assert_eq!(paired.len(), 2);
    assert!(
        paired.iter().all(|pair| pair["seeds"] == 3 && pair["t_test_p"].is_f64()),
        "{paired:?}"
    );

    let table = LONGNN.stdout(&arguments(folder.path(), "lon,mlp,gcn", "3"));
    assert!(table.starts_with("graph ") && table.contains("best baseline"), "{table}");
}

#[test]
fn a_graph_that_is_not_to_be_had_is_a_row_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().to_str().unwrap();
    let rest = ["--models", "mlp", "--seeds", "1", "--epochs", "2", "--output", output, "--json"];
    let both = ["compare", "--datasets", "no/such.npz,csbm:n=60,f=8"];
    let rows = LONGNN.json(&[&both[..], &rest].concat());
    let absent = &rows["rows"][0];
    assert_eq!((&absent["dataset"], &absent["model"]), (&"no/such.npz".into(), &"mlp".into()));
    assert!(absent["problem"].as_str().unwrap().contains("No such file"), "{absent}");
    assert!(absent["test_accuracy_mean"].is_null() && absent["verdict"].is_null());
    assert_eq!(rows["rows"][1]["seeds"], 1);

    // Alone, it is a failure, but the row is told all the same.
    let alone = LONGNN.run(&[&["compare", "--datasets", "no/such.npz"][..], &rest].concat());
    assert_eq!(alone.status.code(), Some(1));
    assert_eq!(serde_json::from_slice::<Value>(&alone.stdout).unwrap()["rows"][0], *absent);
}

#[test]
fn a_wrong_name_is_told_before_anything_is_trained() {
    LONGNN.fails(&["compare", "--datasets", "texas,croa"], 2, "unknown graph \"croa\"");
    LONGNN.fails(&["compare", "--models", "lon,long"], 2, "\"long\" is none of lon");
    LONGNN.fails(&["compare", "--seeds", "0"], 2, "0 is not in 1..=10000");
    LONGNN.fails(&["compare", "--settings", "no/such.toml"], 2, "no/such.toml");
}
