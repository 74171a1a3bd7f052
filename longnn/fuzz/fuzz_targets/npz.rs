//! Any bytes as an `.npz` file, of a graph and of images: an error is fine; a panic, an endless loop
//! or an allocation that the file can't back is a find.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longnn::data::{class_balanced, images, npz};
use longnn::graph::SelfLoops;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzz.npz");
    let _ = images::parse(path, bytes);
    let Ok(graph) = npz::parse(path, bytes) else { return };
    let _ = graph.edge_homophily();
    let _ = class_balanced(graph.labels(), 0);
    let matrix = graph.adjacency().normalized(SelfLoops::Added);
    assert!(matrix.nnz() >= graph.adjacency().n_entries());
    if let Ok(features) = graph.features() {
        let _ = features.clone().row_normalized().density();
    }
});
