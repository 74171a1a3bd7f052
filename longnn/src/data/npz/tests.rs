use super::*;
use crate::graph::Metric;
use common::testing::shared_data;
use proptest::prelude::*;
use serde_json::Value;
use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const PATH: &str = "graphs/small.npz";

/// One array of a file under test: name, type, shape, and the elements' bytes.
type Member = (&'static str, &'static str, &'static str, Vec<u8>);

fn ints(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A sound file: four nodes, three edges, sparse features, a public split and one fixed split.
fn sound() -> Vec<Member> {
    vec![
        ("edge_index", "<i4", "(2, 3)", ints(&[0, 1, 2, 1, 2, 2])),
        ("num_nodes", "<i8", "(1,)", longs(&[4])),
        ("x_indptr", "<i8", "(5,)", longs(&[0, 1, 3, 3, 4])),
        ("x_indices", "<i4", "(4,)", ints(&[2, 0, 1, 0])),
        ("x_data", "<f4", "(4,)", floats(&[1.0, 2.0, 3.0, 4.0])),
        ("x_shape", "<i8", "(2,)", longs(&[4, 3])),
        ("y", "<i4", "(4,)", ints(&[0, 1, 0, 1])),
        ("train_idx", "<i4", "(2,)", ints(&[0, 1])),
        ("val_idx", "<i4", "(1,)", ints(&[2])),
        ("test_idx", "<i4", "(1,)", ints(&[3])),
        ("train_masks", "|u1", "(1, 4)", vec![0, 1, 1, 0]),
        ("val_masks", "|u1", "(1, 4)", vec![1, 0, 0, 0]),
        ("test_masks", "|u1", "(1, 4)", vec![0, 0, 0, 1]),
    ]
}

fn zipped(members: &[Member]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, element, shape, bytes) in members {
        zip.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
        let header =
            format!("{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}\n");
        zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
        zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
        zip.write_all(header.as_bytes()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Asserts that the sound file with `change` is refused with a message that names `part`.
#[track_caller]
fn refused(change: Member, expected: &str) {
    let mut members = sound();
    members.retain(|member| member.0 != change.0);
    if change.1 != "absent" {
        members.push(change);
    }
    let error = parse(Path::new(PATH), &zipped(&members)).unwrap_err().to_string();
    assert_eq!(error, format!("{PATH}: {expected}"));
}

#[test]
fn a_sound_file_is_read() {
    let graph = parse(Path::new(PATH), &zipped(&sound())).unwrap();
    assert_eq!((graph.name(), graph.n_nodes(), graph.n_classes()), ("small", 4, 2));
    assert_eq!(graph.adjacency().neighbours_of(2), [1, 2], "the self loop is kept");
    let features = graph.features().unwrap().to_dense();
    assert_eq!(features.row(0), [0.0, 0.0, 1.0]);
    assert_eq!(features.row(1), [2.0, 3.0, 0.0]);
    assert_eq!(graph.public_split().unwrap().train(), [0, 1]);
    assert_eq!(graph.fixed_splits()[0].train(), [1, 2]);
    assert_eq!(graph.metric(), Metric::Accuracy);
}

#[test]
fn dense_features_and_none() {
    let mut members = sound();
    members.retain(|member| !member.0.starts_with("x_"));
    let none = parse(Path::new(PATH), &zipped(&members)).unwrap();
    assert!(none.features().unwrap_err().to_string().starts_with("small: the graph has no"));
    members.push(("x", "<f4", "(4, 1)", floats(&[1.0, 0.0, 2.0, 0.0])));
    let dense = parse(Path::new(PATH), &zipped(&members)).unwrap();
    assert_eq!(dense.features().unwrap().density(), 0.5);
}

#[test]
fn what_is_wrong_is_named() {
    refused(("y", "absent", "", vec![]), "y: the array is missing: there are no classes to learn");
    refused(("y", "<i4", "(4,)", ints(&[0, 1, 0, -1])), "y: element 3 is -1");
    refused(
        ("y", "<i4", "(4,)", ints(&[0, 1, 9, 1])),
        "y: class 9 of node 2 is no class of 4 nodes",
    );
    refused(("y", "<f4", "(4,)", floats(&[0.0; 4])), "y: holds fractions instead of integers");
    refused(
        ("num_nodes", "<i8", "(1,)", longs(&[1 << 60])),
        "num_nodes: says [1152921504606846976], but there are rows for 4 nodes",
    );
    refused(("edge_index", "absent", "", vec![]), "edge_index: the array is missing");
    refused(
        ("edge_index", "<i4", "(2, 1)", ints(&[0, 4])),
        "edge 0 (0, 4): there is no node 4; the last is 3",
    );
    refused(
        ("edge_index", "<i4", "(1, 2)", ints(&[0, 1])),
        "edge_index: has shape [1, 2] instead of (2, E)",
    );
    refused(
        ("edge_index", "<i4", "(2, 4)", ints(&[0, 1])),
        "edge_index: shape [2, 4] takes 32 bytes, but 8 are there",
    );
    refused(
        ("edge_index", "<i4", "(2, 0)", ints(&[0, 1])),
        "edge_index: shape [2, 0] takes 0 bytes, but 1 or more are there",
    );
    refused(
        ("edge_index", "<i4", "(2, 99999999999)", ints(&[0, 1])),
        "edge_index: claims shape [2, 99999999999]: more than 1073741824 bytes",
    );
    refused(
        ("x_data", "<f4", "(4,)", floats(&[1.0, 2.0, f32::NAN, 4.0])),
        "features of node 1, column 1: NaN is not a finite number",
    );
    refused(("x_shape", "<i8", "(2,)", longs(&[5, 3])), "x_shape: 5 rows for 4 nodes");
    refused(("test_idx", "<i4", "(0,)", vec![]), "split: no node is for test");
    refused(("val_masks", "|u1", "(4,)", vec![1; 4]), "val_masks: has shape [4] instead of (S, 4)");
    refused(
        ("val_masks", "|u1", "(2, 4)", vec![0; 8]),
        "train_masks, val_masks, test_masks: 1, 2 and 1 masks",
    );
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = zipped(&sound());
    for end in 0..whole.len() {
        let error = parse(Path::new(PATH), &whole[..end]).unwrap_err().to_string();
        assert!(error.starts_with(PATH), "{error}");
    }
}

proptest! {
    #[test]
    fn any_flipped_byte_gives_a_graph_or_an_error_that_names_the_file(
        place in any::<prop::sample::Index>(), flip in 1_u8..,
    ) {
        let mut bytes = zipped(&sound());
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        if let Err(error) = parse(Path::new(PATH), &bytes) {
            prop_assert!(error.to_string().starts_with(PATH), "{error}");
        }
    }
}

#[test]
fn the_shared_graphs_are_what_their_notes_say() {
    let Some(path) = shared_data("graphs/meta.json") else { return };
    let meta: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (name, notes) in meta["datasets"].as_object().unwrap() {
        if name == "grid2d_images" {
            continue;
        }
        let graph = read(&path.with_file_name(format!("{name}.npz"))).unwrap();
        let note = |key: &str| notes[key].as_u64().unwrap() as usize;
        assert_eq!(graph.n_nodes(), note("num_nodes"), "{name}");
        assert_eq!(graph.adjacency().n_edges(), note("undirected_edges"), "{name}");
        assert_eq!(graph.adjacency().n_self_loops(), 0, "{name}");
        assert_eq!(graph.adjacency().n_isolated(), note("isolated_nodes"), "{name}");
        let counts: Vec<usize> = graph.labels().nodes_by_class().iter().map(Vec::len).collect();
        assert_eq!(serde_json::json!(counts), notes["class_counts"], "{name}");
        let homophily = graph.edge_homophily().unwrap() - notes["edge_homophily"].as_f64().unwrap();
        assert!(homophily.abs() < 1e-6, "{name}");
        match graph.features() {
            Ok(features) => assert_eq!(features.n_features(), note("features"), "{name}"),
            Err(_) => assert_eq!(name, "pubmed_nofeat"),
        }
        let has = |array: &str| notes["arrays"].get(array).is_some();
        assert_eq!(graph.public_split().is_some(), has("train_idx"), "{name}");
        let n_splits = if has("train_masks") { 10 } else { 0 };
        assert_eq!(graph.fixed_splits().len(), n_splits, "{name}");
        let is_rare = ["minesweeper", "tolokers"].contains(&name.as_str());
        assert_eq!(graph.metric() == Metric::RocAuc, is_rare, "{name}");
    }
}
