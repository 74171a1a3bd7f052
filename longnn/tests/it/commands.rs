//! The command line, as a user or a script meets it.

use common::testing::{Program, shared_data};
use serde_json::Value;

pub const LONGNN: Program = Program(env!("CARGO_BIN_EXE_longnn"));

/// Every command.
const COMMANDS: &[&str] = &["datasets", "train", "compare", "fit-filters", "plot"];

#[test]
fn the_known_graphs_are_listed() {
    let list = LONGNN.json(&["datasets", "--json"]);
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
    let own = &LONGNN.json(&["datasets", path, "--json"])["datasets"][0];
    assert_eq!((&own["nodes"], &own["edges"], &own["features"]), (&3.into(), &2.into(), &1.into()));
    assert_eq!(own["edge_homophily"], 0.5);

    std::fs::write(folder.path().join("edges.csv"), "a,b\nb,x\n").unwrap();
    LONGNN.fails(&["datasets", path], 2, "edges.csv: line 2: edge b - x: there is no node x");
}

#[test]
fn the_table_is_for_people() {
    let table = LONGNN.stdout(&["datasets", "csbm:n=20,f=3,phi=-1,d=4,epsilon=3"]);
    assert!(table.starts_with("graph "), "{table}");
    assert!(table.contains("csbm:n=20,f=3,d=4,phi=-1,epsilon=3 "), "{table}");
    assert!(table.contains("100.00 %") && table.contains("made up"), "{table}");
}

#[test]
fn bad_input_says_what_and_where() {
    LONGNN.fails(&["datasets", "croa"], 2, "unknown graph \"croa\"");
    LONGNN.fails(&["datasets", "no/such.npz"], 2, "no/such.npz: No such file");
    LONGNN.fails(&["datasets", "no/such"], 2, "no/such: graph: there is no such file or folder");
    LONGNN.fails(&["datasets", "csbm:phi=2"], 2, "csbm: phi: 2 isn't from -1 to 1");
    let text = env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml";
    LONGNN.fails(
        &["datasets", &text],
        2,
        "Cargo.toml: graph: is neither an .npz file nor a folder",
    );
    LONGNN.fails(&["nonsense"], 2, "nonsense");
}

#[test]
fn filters_are_fitted_to_images() {
    if shared_data("graphs/grid2d_images.npz").is_none() {
        LONGNN.fails(&["fit-filters"], 1, "grid2d_images.npz");
        return;
    }
    let fits = LONGNN.json(&["fit-filters", "--images", "2", "--epochs", "300", "--json"]);
    assert_eq!((&fits["images"], &fits["degree"]), (&2.into(), &10.into()));
    let rows = fits["rows"].as_array().unwrap();
    let targets: Vec<&str> = rows.iter().map(|row| row["target"].as_str().unwrap()).collect();
    assert_eq!(targets, ["low", "high", "band", "rejection", "comb"]);
    assert!(rows.iter().all(|row| row["ratio"].as_f64().unwrap() >= 1.0), "{fits}");
    let table = LONGNN.stdout(&["fit-filters", "--images", "1", "--degree", "3", "--epochs", "10"]);
    assert!(table.starts_with("5 fits of degree 3 on 1 images, "), "{table}");
    LONGNN.fails(&["fit-filters", "--degree", "77"], 2, "degree: 77");
    LONGNN.fails(&["fit-filters", "--file", "no.npz"], 2, "no.npz");
}

#[test]
fn a_run_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let train = |model: &str, folder: &str| {
        let graph = "csbm:n=60,f=4";
        LONGNN.stdout(&[
            "train", graph, "--model", model, "--seeds", "2", "--epochs", "3", "--output", folder,
        ])
    };
    train("lon", &path("lon"));
    let drawn = LONGNN.stdout(&["plot", &path("lon")]);
    assert!(drawn.contains("LON-GNN, mean over 2 seeds") && drawn.contains("ρ(λ)"), "{drawn}");
    assert!(drawn.contains("exponents (a, b) by seed: (") && !drawn.contains('\x1b'), "{drawn}");
    let svg = std::fs::read_to_string(path("lon/filters.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("spectral density"));

    let (run, picture) = (path("lon/run.json"), path("one.svg"));
    let one = LONGNN.json(&["plot", &run, "--seed", "1", "--output", &picture, "--json"]);
    assert_eq!((&one["picture"], &one["seeds"][0]["seed"]), (&picture.clone().into(), &1.into()));
    assert_eq!(one["plot"]["channels"][1]["coefficients"].as_array().unwrap().len(), 11);
    assert!(std::fs::exists(picture).unwrap());

    LONGNN.fails(&["plot", &run, "--seed", "7"], 2, "run.json\n  caused by: seed: 7 is none");
    train("gcn", &path("gcn"));
    LONGNN.fails(&["plot", &path("gcn")], 2, "model: GCN has no filter of each class");
    LONGNN.fails(&["plot", &path("nothing")], 2, "nothing: No such file");
    std::fs::write(&run, "{\"graph\": 1}").unwrap();
    LONGNN.fails(&["plot", &run], 2, "run.json: run: invalid type");
}

#[test]
fn every_command_has_help_with_an_example() {
    for &command in COMMANDS {
        let help = LONGNN.stdout(&[command, "--help"]);
        assert!(help.contains(&format!("\n  longnn {command}")), "{help}");
    }
}
