//! `longnn search`, and a comparison with what it found.

use super::commands::LONGNN;

#[test]
fn what_is_found_is_what_a_comparison_then_uses() {
    let folder = tempfile::tempdir().unwrap();
    let (settings, runs) = (folder.path().join("own.toml"), folder.path().join("runs"));
    let (settings, runs) = (settings.to_str().unwrap(), runs.to_str().unwrap());
    let graph = "csbm:n=60,f=8";
    let rest = ["--models", "gcn,mlp", "--epochs", "5"];
    let search = ["search", graph, "--trials", "6", "--output", settings, "--json"];
    let found = LONGNN.json(&[&search[..], &rest].concat());
    let row = &found["rows"][1];
    assert_eq!((&row["model"], &row["trials"]), (&"mlp".into(), &6.into()));
    assert!(row["validation"].as_f64() >= row["current_validation"].as_f64(), "{row}");
    let text = std::fs::read_to_string(settings).unwrap();
    assert!(text.starts_with("# Trial ") && text.contains("[gcn]") && text.contains("[mlp]"));

    let again = LONGNN.json(&[&search[..], &rest, &["--missing"]].concat());
    assert_eq!(again["rows"].as_array().unwrap().len(), 0);
    let compare = ["compare", "--datasets", graph, "--seeds", "5", "--output", runs, "--json"];
    let compared = LONGNN.json(&[&compare[..], &rest, &["--settings", settings]].concat());
    for place in 0..2 {
        // The search's last round was of the same seeds.
        let mean = compared["rows"][place]["validation_accuracy_mean"].as_f64().unwrap();
        let expected = found["rows"][place]["validation"].as_f64().unwrap();
        assert!((mean - expected).abs() < 1e-9, "{compared}");
    }
}

#[test]
fn bad_requests_are_told_before_anything_is_trained() {
    let several = ["search", "csbm", "texas", "--models", "gcn", "--output", "x.toml"];
    LONGNN.fails(&several, 2, "several graphs need a folder");
    LONGNN.fails(&["search", "croa", "--models", "gcn"], 2, "unknown graph");
    LONGNN.fails(
        &["search", "csbm", "--models", "gcn", "--trials", "0"],
        2,
        "0 is not in 1..=10000",
    );
}
