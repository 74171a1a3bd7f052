use super::*;
use crate::data;
use proptest::prelude::*;

const PREFIX: &str = "data/ind.small";

fn golden() -> Contents {
    Contents {
        y: include_bytes!("golden/ind.small.y").to_vec(),
        tx: include_bytes!("golden/ind.small.tx").to_vec(),
        ty: include_bytes!("golden/ind.small.ty").to_vec(),
        allx: include_bytes!("golden/ind.small.allx").to_vec(),
        ally: include_bytes!("golden/ind.small.ally").to_vec(),
        graph: include_bytes!("golden/ind.small.graph").to_vec(),
        test_index: include_bytes!("golden/ind.small.test.index").to_vec(),
    }
}

fn parse(contents: &Contents) -> Result<Graph> {
    contents.parse(Path::new(PREFIX))
}

/// Asserts that the golden files with a `change` are refused with a message that names the file.
#[track_caller]
fn refused(change: impl FnOnce(&mut Contents), expected: &str) {
    let mut contents = golden();
    change(&mut contents);
    let error = parse(&contents).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{PREFIX}{expected}")), "{error}");
}

/// The machine on its own: what an array file holds, or why not.
fn classes(bytes: &[u8]) -> Result<Vec<u16>, String> {
    one_hot_classes(&Pickle::parse(bytes)?)
}

#[test]
fn the_golden_files_are_read_as_the_usual_loaders_do() {
    let graph = parse(&golden()).unwrap();
    assert_eq!((graph.name(), graph.n_nodes(), graph.n_classes()), ("small", 9, 3));
    assert_eq!(graph.labels().classes(), [0, 1, 2, 1, 0, 1, 0, 0, 2], "node 7 has no record");
    let edges: Vec<_> = graph.adjacency().edges().collect();
    assert_eq!(edges, [(0, 1), (0, 4), (1, 2), (3, 8), (5, 6), (6, 8)]);
    assert_eq!(graph.adjacency().n_self_loops(), 0);
    let features = graph.features().unwrap().to_dense();
    assert_eq!(features.row(1), [0.0, 0.5, 0.0, 1.0]);
    assert_eq!([features.row(8)[1], features.row(5)[1], features.row(6)[1]], [8.0, 5.0, 6.0]);
    assert_eq!(features.row(7), [0.0; 4]);
    let split = graph.public_split().unwrap();
    assert_eq!((split.train(), split.validation()), (&[0, 1, 2][..], &[3, 4][..]));
    assert_eq!(split.test(), [5, 6, 8]);
}

#[test]
fn files_are_found_by_folder_prefix_and_file() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let golden = golden();
    assert_eq!(Files::at(folder.path()).unwrap(), None);
    write("ind.small.graph", &golden.graph);
    let error = data::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("ind.small.y: ") && error.contains("No such file"), "{error}");
    write("ind.small.y", &golden.y);
    write("ind.small.tx", &golden.tx);
    write("ind.small.ty", &golden.ty);
    write("ind.small.allx", &golden.allx);
    write("ind.small.ally", &golden.ally);
    write("ind.small.test.index", &golden.test_index);
    let expected = parse(&golden).unwrap();
    for path in ["", "ind.small", "ind.small.test.index", "ind.small.x"] {
        assert_eq!(data::read(&folder.path().join(path)).unwrap(), expected, "{path}");
    }
    write("ind.cora.graph", b"");
    let error = data::read(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("graph: has cora, small; name one, as ind.cora"), "{error}");
}

#[test]
fn python_3_writes_the_same_array() {
    let expected = classes(&golden().y).unwrap();
    assert_eq!(expected, [0, 1, 2]);
    assert_eq!(classes(include_bytes!("golden/python3.y")).unwrap(), expected);
}

#[test]
fn what_could_run_is_refused_by_name() {
    let hostile = include_bytes!("golden/hostile.y").to_vec();
    let expected = ".y: pickle: byte 2: _io.BytesIO isn't a function or class that data needs";
    refused(|contents| contents.y = hostile, expected);
    let system = b"\x80\x02cposix\nsystem\nU\x02ls\x85R.".to_vec();
    refused(|contents| contents.y = system, ".y: pickle: byte 2: posix.system isn't");
    let persistent = b"\x80\x02Pid\n.".to_vec();
    refused(|contents| contents.y = persistent, ".y: pickle: byte 2: the instruction 'P'");
    refused(|contents| contents.y = b"\x80\x04.".to_vec(), ".y: pickle: byte 0: protocol 4");
}

#[test]
fn what_is_wrong_is_named() {
    let swapped = |contents: &mut Contents| std::mem::swap(&mut contents.graph, &mut contents.ty);
    refused(swapped, ".ty: contents: is a dictionary of 8, not a whole Array");
    let graph = |contents: &mut Contents| contents.graph = golden().ty;
    refused(graph, ".graph: contents: the graph is an object of Array, not a dictionary");
    let index =
        |text: &'static [u8]| move |contents: &mut Contents| contents.test_index = text.into();
    refused(index(b"8\nfive\n6\n"), ".test.index: line 2: \"five\" is no node");
    refused(index(b"8\n5\n"), ".ty: rows: 3 rows for 2 test nodes");
    refused(index(b"8\n5\n5\n"), ": split: node 5 is for test, and for test already");
    refused(index(b"5\n6\n4000000000\n"), ".ty: test.index: 3 test nodes from 5 to 4000000000");
    refused(index(b"8\n6\n7\n"), ".ty: test.index: 3 test nodes from 6 to 8 don't follow on 5");
    refused(|contents| contents.allx = golden().tx, ".allx: rows: 3 rows, but ally has 5");
    refused(|contents| contents.y = golden().ally, ": split: no node is for validation");
    // Node 8 is gone, but its neighbours name it.
    refused(index(b"7\n5\n6\n"), ".graph: edge 6 (3, 8): there is no node 8");
}

#[test]
fn a_text_is_not_made_bytes_again_and_again() {
    let mut bytes = b"\x80\x02c_codecs\nencode\nq\x00X\x64\x00\x00\x00".to_vec();
    bytes.extend([b'x'; 100]);
    bytes.extend(b"q\x01");
    for _ in 0..20 {
        bytes.extend(b"h\x00h\x01\x85R");
    }
    let problem = Pickle::parse(&bytes).err().unwrap();
    assert!(problem.contains("encodes a text again"), "{problem}");
}

/// Every file of the golden data set, to be changed.
fn each(contents: &mut Contents) -> [&mut Vec<u8>; 7] {
    let Contents { y, tx, ty, allx, ally, graph, test_index } = contents;
    [y, tx, ty, allx, ally, graph, test_index]
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for file in 0..6 {
        let length = each(&mut golden())[file].len();
        for end in 0..length {
            let mut contents = golden();
            each(&mut contents)[file].truncate(end);
            let error = parse(&contents).unwrap_err().to_string();
            assert!(error.contains(": pickle: byte "), "{error}");
        }
    }
}

proptest! {
    #[test]
    fn any_changed_byte_gives_a_graph_or_an_error_that_names_the_file(
        file in 0_usize..7, place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut contents = golden();
        let bytes = &mut each(&mut contents)[file];
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Err(error) = parse(&contents) {
            prop_assert!(error.to_string().starts_with(PREFIX), "{error}");
        }
    }
}
