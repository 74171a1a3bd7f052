//! Any bytes as a list of edges and, behind the first NUL, a table of nodes; as a recipe for a block
//! model, too. An error is fine, a panic or an endless loop is a find.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longnn::data::csbm::Csbm;
use longnn::data::edge_list::{self, Source};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let middle = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let edges = Source { path: Path::new("edges.csv"), bytes: &bytes[..middle] };
    let nodes = bytes.get(middle + 1..).unwrap_or_default();
    let nodes = Source { path: Path::new("nodes.csv"), bytes: nodes };
    let _ = edge_list::parse("fuzz", edges, nodes);
    if let Ok(csbm) = String::from_utf8_lossy(bytes).parse::<Csbm>() {
        assert_eq!(csbm.to_string().parse::<Csbm>().expect("printed recipes parse"), csbm);
    }
});
