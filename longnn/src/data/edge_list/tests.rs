use super::*;
use crate::graph::Features;
use proptest::prelude::*;

const EDGES: &str = "\u{feff}# who cites whom\r\nsource,target\na, b\nb,c\nc,b\nc,c\n";
const NODES: &str = "\
id,label,split,length,year
a,spam,train,0.5,2020
b,ham,train,1.5,2021

# a late comer
c,ham,validation,-2,0
d,spam,test,0,1e3
e,spam,,0,0
";

fn parse_texts(edges: &[u8], nodes: &[u8]) -> Result<Graph> {
    let edges = Source { path: Path::new("own/edges.csv"), bytes: edges };
    let nodes = Source { path: Path::new("own/nodes.csv"), bytes: nodes };
    parse("own", edges, nodes)
}

#[track_caller]
fn refused(edges: &str, nodes: &str, expected: &str) {
    let error = parse_texts(edges.as_bytes(), nodes.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, expected);
}

#[test]
fn a_graph_with_all_its_parts() {
    let graph = parse_texts(EDGES.as_bytes(), NODES.as_bytes()).unwrap();
    assert_eq!((graph.name(), graph.n_nodes(), graph.n_classes()), ("own", 5, 2));
    assert_eq!(graph.adjacency().neighbours_of(2), [1, 2]);
    assert_eq!(graph.adjacency().n_edges(), 2);
    assert_eq!(graph.labels().classes(), [1, 0, 0, 1, 1]);
    assert_eq!(graph.labels().name_of(0), "ham");
    let features = graph.features().unwrap().to_dense();
    assert_eq!((features.row(0), features.row(3)), (&[0.5, 2020.0][..], &[0.0, 1000.0][..]));
    let split = &graph.fixed_splits()[0];
    assert_eq!(
        (split.train(), split.validation(), split.test()),
        (&[0, 1][..], &[2][..], &[3][..])
    );
}

#[test]
fn nodes_without_ids_are_counted_and_blanks_separate() {
    let graph = parse_texts(b"0 1\n1   2\n", b"label x y z w\n10 0 0 0 0\n9 0 1 0 0\n10 0 0 0 0\n");
    let graph = graph.unwrap();
    assert_eq!(graph.adjacency().neighbours_of(1), [0, 2]);
    assert_eq!(graph.labels().classes(), [1, 0, 1], "9 comes before 10");
    assert!(matches!(graph.features().unwrap(), Features::Sparse(_)));
    assert!(graph.fixed_splits().is_empty());
    // The last field of a line may be empty.
    let tabs =
        parse_texts(b"u\tv\n0\t1\n", b"label\tsplit\nA\ttrain\nB\ttrain\nA\tval\nA\ttest\nB\t\n");
    let tabs = tabs.unwrap();
    assert!(tabs.features().is_err());
    assert_eq!(tabs.adjacency().n_edges(), 1);
}

#[test]
fn a_node_may_be_called_like_a_header() {
    let graph = parse_texts(b"u,v\n", b"id,label\nu,1\nv,2\n").unwrap();
    assert_eq!(graph.adjacency().n_edges(), 1);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    refused("a,b\na,x", NODES, "own/edges.csv: line 2: edge a - x: there is no node x");
    refused("who,what\n", NODES, "own/edges.csv: line 1: edge who - what: there is no node who");
    refused("a,b,0.5", NODES, "own/edges.csv: line 1: has 3 fields; an edge has two ids");
    refused(
        "",
        "",
        "own/nodes.csv: line 1: the file is empty; it begins with a header, as id,label",
    );
    refused(
        "",
        "id,class\na,1\n",
        "own/nodes.csv: line 1: the header [\"id\", \"class\"] has no column label",
    );
    refused("", "label,x,x\n", "own/nodes.csv: line 1: two columns are called \"x\"");
    refused("", "label,x\na,1\nb\n", "own/nodes.csv: line 3: has 1 fields instead of 2");
    refused(
        "",
        "label,x\na,1\nb,nan\n",
        "own/nodes.csv: line 3: x: \"nan\" is not a finite number",
    );
    refused("", "label,x\na,\nb,1\n", "own/nodes.csv: line 2: x: \"\" is not a finite number");
    refused("", "id,label\nn,a\n\nn,b\n", "own/nodes.csv: line 4: node \"n\" is on line 2 already");
    refused("", "id,label\nn,\n", "own/nodes.csv: line 2: the node has no label");
    refused(
        "",
        "label\na\na\n",
        "own/nodes.csv: labels: 1 classes on 2 nodes: there is nothing to learn",
    );
    refused(
        "",
        "label\n",
        "own/nodes.csv: labels: 0 classes on 0 nodes: there is nothing to learn",
    );
    refused(
        "",
        "label,split\na,train\nb,dev\n",
        "own/nodes.csv: line 3: split \"dev\" is none of train, validation and test",
    );
    refused(
        "",
        "label,split\na,train\nb,test\n",
        "own/nodes.csv: split: no node is for validation",
    );
    refused(
        "",
        "label,split\na,train\na,val\nb,test\n",
        "own/nodes.csv: split: class b (node 2) is never seen in training",
    );
    let error = parse_texts(b"a,b\n\xff", NODES.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "own/edges.csv: line 2: is not UTF-8");
}

#[test]
fn a_folder_has_one_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let error = || crate::data::read(folder.path()).unwrap_err().to_string();
    assert!(error().contains("edges: there is no edges.csv, edges.tsv or edges.txt"));
    write("edges.txt", EDGES);
    assert!(error().contains("nodes: there is no nodes.csv"));
    write("nodes.csv", NODES);
    assert_eq!(crate::data::read(folder.path()).unwrap().n_nodes(), 5);
    write("edges.csv", EDGES);
    assert!(error().contains("edges.csv and ") && error().contains("edges.txt are there"));
}

proptest! {
    #[test]
    fn any_changed_byte_gives_a_graph_or_an_error_that_names_the_file(
        place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut all = [EDGES.as_bytes(), NODES.as_bytes()].concat();
        let place = place.index(all.len());
        all[place] = byte;
        let (edges, nodes) = all.split_at(EDGES.len());
        let nodes = if cut { &nodes[..place.min(nodes.len())] } else { nodes };
        if let Err(error) = parse_texts(edges, nodes) {
            prop_assert!(error.to_string().starts_with("own/"), "{error}");
        }
    }
}
