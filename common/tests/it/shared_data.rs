//! The registry against the real files: what lies in the data folder is what is registered.

use common::assets::{assets, find};
use common::command::store;
use common::testing::{model, shared_data};

#[test]
fn every_registered_file_that_is_here_has_its_registered_contents() {
    if shared_data("graphs").is_none() {
        return;
    }
    let store = store(None);
    let mut found = 0;
    for asset in assets() {
        // A wrong size or checksum is an error of `locate`.
        match store.locate(asset) {
            Ok(Some(_)) => found += 1,
            Ok(None) => println!("not here: {}", asset.path),
            Err(error) => panic!("{}: {error}", asset.id),
        }
    }
    assert!(found > 0);
}

#[test]
fn a_graph_is_located_by_its_id() {
    if shared_data("graphs/cora.npz").is_none() {
        return;
    }
    let path = store(None).locate(find("cora").unwrap()).unwrap().unwrap();
    assert!(path.ends_with("graphs/cora.npz"));
}

#[test]
fn a_model_is_found_by_its_id() {
    // GGUF's magic shows that it is the model and not a page that says where it went.
    if let Some(path) = model("stories260k") {
        assert!(std::fs::read(path).unwrap().starts_with(b"GGUF"));
    }
}
