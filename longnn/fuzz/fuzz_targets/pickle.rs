//! Any bytes in place of one of Planetoid's files: an error is fine; a panic, an endless loop or an
//! allocation that the file can't back is a find. The first byte says which file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use longnn::data::planetoid::Contents;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    let mut contents = golden();
    let Contents { y, tx, ty, allx, ally, graph, test_index } = &mut contents;
    let files = [y, tx, ty, allx, ally, graph, test_index];
    *files.into_iter().nth(usize::from(which) % 7).expect("there are seven") = bytes.to_vec();
    let _ = contents.parse(Path::new("ind.fuzz"));
});

fn golden() -> Contents {
    Contents {
        y: include_bytes!("../../src/data/planetoid/golden/ind.small.y").to_vec(),
        tx: include_bytes!("../../src/data/planetoid/golden/ind.small.tx").to_vec(),
        ty: include_bytes!("../../src/data/planetoid/golden/ind.small.ty").to_vec(),
        allx: include_bytes!("../../src/data/planetoid/golden/ind.small.allx").to_vec(),
        ally: include_bytes!("../../src/data/planetoid/golden/ind.small.ally").to_vec(),
        graph: include_bytes!("../../src/data/planetoid/golden/ind.small.graph").to_vec(),
        test_index: include_bytes!("../../src/data/planetoid/golden/ind.small.test.index").to_vec(),
    }
}
