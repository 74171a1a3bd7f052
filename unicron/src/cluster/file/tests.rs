//! What files say, and how their mistakes are answered.

use super::*;
use crate::cluster::Hardware;
use crate::model::LanguageModel;
use crate::throughput::Constants;
use proptest::prelude::*;

/// The example of the module's documentation.
fn example() -> String {
    include_str!("../../../examples/cluster.toml").to_owned()
}

fn parse(text: &str) -> Result<ClusterFile> {
    ClusterFile::parse(text, Path::new("cluster.toml"))
}

#[test]
fn the_documented_file_is_read() {
    let file = parse(&example()).unwrap();
    let domains: Vec<_> = file
        .cluster
        .domains()
        .iter()
        .map(|domain| (domain.name.as_str(), domain.nodes.len()))
        .collect();
    assert_eq!(domains, [("rack0", 8), ("rack1", 8), ("switch0", 4)]);
    assert_eq!((file.cluster.nodes(), file.cluster.gpus()), (16, 128));
    assert_eq!(file.cluster.hardware(), Cluster::paper().hardware());

    let [pretrain, own, measured] = &file.tasks[..] else { panic!("{:?}", file.tasks) };
    assert_eq!(pretrain.model, Some(LanguageModel::preset("gpt3-7b").unwrap()));
    assert_eq!(
        (pretrain.weight, pretrain.min_workers, pretrain.guaranteed_workers),
        (1.5, 16, Some(16))
    );
    assert_eq!((pretrain.current, pretrain.whole_nodes), (32, true));
    let sizes = own.model.as_ref().unwrap().sizes();
    assert_eq!((sizes.hidden, sizes.sequence, sizes.vocabulary), (4096, 4096, 51_200));
    assert_eq!((own.weight, own.min_workers, own.current, own.whole_nodes), (1.0, 0, 0, false));
    assert_eq!(measured.throughput.as_ref().unwrap().at(31), 2.7e15);
    assert_eq!(measured.model, None);

    let constants = Constants::default();
    assert_eq!(measured.throughput_on(&file.cluster, &constants).at(16), 2.7e15);
    assert!(own.throughput_on(&file.cluster, &constants).at(128) > 1e16);
}

#[test]
fn the_documented_file_says_every_key() {
    let text = example();
    let cluster = "[cluster]\nnodes = 1\ngpus_per_node = 1\n";
    let unknown = [
        "[no_key]".to_owned(),
        "[cluster]\nno_key = 1".to_owned(),
        "[cluster]\nnodes = 1\ngpus_per_node = 1\nhardware = { no_key = 1 }".to_owned(),
        format!("{cluster}[[tasks]]\nno_key = 1"),
        format!("{cluster}[[tasks]]\nname = \"a\"\nmodel = {{ no_key = 1 }}"),
        format!("{cluster}[measured]\nno_key = 1"),
    ];
    for unknown in unknown {
        let message = parse(&unknown).unwrap_err().to_string();
        let (_, known) = message.split_once("there are ").unwrap();
        for key in known.split(", ") {
            let says = [format!("{key} = "), format!("{key}]")];
            assert!(says.iter().any(|said| text.contains(said)), "{key}");
        }
    }
}

#[test]
fn figures_override_a_kind_or_stand_alone() {
    let hardware = |text: &str| {
        let text = format!("[cluster]\nnodes = 1\ngpus_per_node = 8\nhardware = {text}");
        parse(&text).map(|file| *file.cluster.hardware())
    };
    let h100 = Hardware::kind("h100-80gb").unwrap();
    let slower = hardware("{ kind = \"h100-80gb\", inter_node_bandwidth = 25e9 }").unwrap();
    assert_eq!(slower, Hardware { inter_node_bandwidth: 25e9, ..h100 });
    let figures: String = Hardware::FIGURES.map(|name| format!("{name} = 1_000, ")).concat();
    assert_eq!(hardware(&format!("{{ {figures} }}")).unwrap().memory_bytes, 1000.0);
    let error = |text: &str| hardware(text).unwrap_err().to_string();
    assert_eq!(error("{ peak_flops = 1e12 }"), "cluster.toml:4: hardware lacks `memory_bytes`");
    assert!(error("{ kind = \"h100-80gb\", peak_flops = 0 }").contains(":4: peak_flops: 0 is not"));
    assert!(error("{ knid = \"h100\" }").contains("hardware has no key `knid`; there are kind, "));
    assert!(error("\"h100\"").contains(":4: hardware: `h100` is no kind; there are "));
    assert!(error("8").contains("hardware: a value of type integer where a kind or a table"));
}

#[test]
fn a_preset_can_have_other_sizes() {
    let text = "[cluster]\nnodes = 1\ngpus_per_node = 8\n[[tasks]]\nname = \"a\"\n\
                model = { preset = \"gpt3-7b\", batch = 1024 }";
    let sizes = *parse(text).unwrap().tasks[0].model.as_ref().unwrap().sizes();
    assert_eq!((sizes.batch, sizes.layers), (1024, 32));
}

/// Changes the first `from` of the documented file to `to`, and expects a mistake of that line.
fn check_error(from: &str, to: &str, line_offset: isize, expected: &str) {
    let text = example();
    let start = text.find(from).unwrap_or_else(|| panic!("{from} is in the example"));
    let line = 1 + text[..start].matches('\n').count() as isize + line_offset;
    let error = parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
    let expected = format!("cluster.toml:{line}: {expected}");
    assert!(error.starts_with(&expected), "{error}\nexpected: {expected}");
}

#[test]
fn mistakes_are_answered_with_their_line() {
    check_error("nodes = 16", "nodes = 0", 0, "nodes: 0 is not 1 to 1000000");
    check_error("nodes = 16", "nodes = -3", 0, "nodes: -3 is not 1 to");
    check_error("nodes = 16", "nodes = \"16\"", 0, "nodes: a value of type string where a whole");
    check_error("nodes = 16", "nods = 16", 0, "[cluster] has no key `nods`; there are nodes, ");
    check_error("gpus_per_node = 8", "", -2, "[cluster] lacks `gpus_per_node`");
    check_error("\"0-7\"", "\"0-16\"", 0, "there is no node 16; the last is 15");
    check_error("\"0-7\"", "\"7-0\"", 0, "`7-0` is no range of nodes; write \"3\" or \"0-3\"");
    check_error("\"0-7\"", "\"0-15, 0-15\"", 0, "more nodes than the cluster's 16");
    check_error("\"0-7\"", "[]", 0, "domains.rack0: it has no nodes");
    check_error("[0, 1, 8, 9]", "[0, 16]", 0, "a node: 16 is not 0 to 15");
    check_error("[0, 1, 8, 9]", "true", 0, "a domain: a value of type boolean where a list");
    check_error("\"pretrain\"", "\"pre train\"", 0, "name: write 1 to 100 letters");
    check_error("\"own\"", "\"pretrain\"", 0, "name: `pretrain` is the task of line ");
    check_error("\"gpt3-7b\"", "\"gpt4\"", 0, "model: `gpt4` is no preset; there are gpt3-1.3b, ");
    check_error("heads = 32", "heads = 33", 0, "heads: 33 heads don't divide hidden = 4096");
    check_error("batch = 512, ", "", 0, "model lacks `batch`");
    check_error("weight = 1.5", "weight = 0", 0, "weight: 0 is not a number above 0");
    check_error("weight = 1.5", "weight = 1e300", 0, "weight: 1e300 is beyond all that is planned");
    check_error("weight = 1.5", "weight = inf", 0, "weight: inf is not a number above 0");
    check_error("min_workers = 16", "min_workers = 129", 0, "min_workers: 129 is not 0 to 128");
    check_error(
        "guaranteed_workers = 16",
        "guaranteed_workers = 8",
        0,
        "guaranteed_workers: 8 don't run",
    );
    check_error("whole_nodes = true", "whole_nodes = 1", 0, "whole_nodes: a value of type integer");
    check_error("[16, 2.7e15]", "[8, 2.7e15]", 0, "throughput: 8 workers after 8; points start");
    check_error("[16, 2.7e15]", "[16]", 0, "throughput: a point is a pair, [workers, flops]");
    check_error("[16, 2.7e15]", "[16, nan]", 0, "throughput: FLOP/s with 16 workers: NaN is not");
    check_error("[[8, 1.4e15], [16, 2.7e15], [32, 5.1e15]]", "[]", 0, "throughput: there are no");
    check_error("current = 32", "current = 32\ncurrent = 32", 1, "duplicate key");
}

#[test]
fn tasks_have_no_more_workers_than_there_are() {
    let task = |name: &str, key: &str| {
        format!("[[tasks]]\nname = \"{name}\"\nmodel = \"gpt3-7b\"\n{key} = 80\n")
    };
    for key in ["current", "guaranteed_workers"] {
        let text = format!(
            "[cluster]\nnodes = 16\ngpus_per_node = 8\n{}{}",
            task("a", key),
            task("b", key)
        );
        let error = parse(&text).unwrap_err().to_string();
        let expected = format!(
            "cluster.toml:11: {key}: up to this task 160 workers, but the cluster has 128 GPUs"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn a_cluster_may_wait_for_its_first_task_and_a_task_needs_something_to_run() {
    let cluster = "[cluster]\nnodes = 2\ngpus_per_node = 8\n";
    assert_eq!(parse(cluster).unwrap().tasks, []);
    let error = parse(&format!("{cluster}[[tasks]]\nname = \"a\"\n")).unwrap_err().to_string();
    assert_eq!(
        error,
        "cluster.toml:4: model: neither this nor `throughput` is given; one of them is wanted"
    );
    assert_eq!(parse("").unwrap_err().to_string(), "cluster.toml:1: the file lacks `cluster`");
    assert!(parse("[cluster\n").unwrap_err().to_string().starts_with("cluster.toml:1: "));
}

#[test]
fn files_are_read_and_missing_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.toml");
    let error = ClusterFile::read(&path).unwrap_err().to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    std::fs::write(&path, example()).unwrap();
    assert_eq!(ClusterFile::read(&path).unwrap(), parse(&example()).unwrap());
}

/// A change of a file's text, as a slip of the hand or a fuzzer might make it.
#[derive(Debug, Clone)]
enum Mutation {
    /// These characters in the place of a few.
    Replace { at: f64, length: usize, by: String },
    /// A line goes.
    Drop { at: f64 },
    /// A line comes again somewhere else.
    Repeat { from: f64, to: f64 },
    /// The value of a line's key is this one.
    Assign { at: f64, value: String },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let value = prop::sample::select(vec![
        "0",
        "-1",
        "1e999",
        "nan",
        "true",
        "\"\"",
        "\"\u{7}\"",
        "[]",
        "[[]]",
        "{}",
        "9223372036854775807",
        "99999999999999999999",
        "0x10",
        "1979-05-27",
        "[[1, 2], [1, 2]]",
        "\"0-999999999\"",
        "'",
        "\"gpt3-7b",
    ]);
    let place = || 0.0_f64..1.0;
    prop_oneof![
        (place(), 0_usize..12, any::<String>()).prop_map(|(at, length, by)| Mutation::Replace {
            at,
            length,
            by
        }),
        (place(), 0_usize..12, "[-0-9a-z_\\[\\]{}\"=,. \n]{0,12}")
            .prop_map(|(at, length, by)| Mutation::Replace { at, length, by }),
        place().prop_map(|at| Mutation::Drop { at }),
        (place(), place()).prop_map(|(from, to)| Mutation::Repeat { from, to }),
        (place(), value).prop_map(|(at, value)| Mutation::Assign { at, value: value.to_owned() }),
    ]
}

fn mutated(text: &str, mutation: &Mutation) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let line = |at: f64| (at * lines.len() as f64) as usize;
    match mutation {
        Mutation::Replace { at, length, by } => {
            let boundary = |byte: usize| text.floor_char_boundary(byte);
            let start = boundary((at * text.len() as f64) as usize);
            let end = boundary(start + length).max(start);
            return format!("{}{by}{}", &text[..start], &text[end..]);
        }
        _ if lines.is_empty() => {}
        Mutation::Drop { at } => {
            lines.remove(line(*at));
        }
        Mutation::Repeat { from, to } => lines.insert(line(*to), lines[line(*from)]),
        Mutation::Assign { at, value } => {
            let at = line(*at);
            let key = lines[at].split('=').next().unwrap_or_default();
            let assigned = format!("{key}= {value}");
            let before = lines[..at].iter().copied().chain([assigned.as_str()]);
            return before.chain(lines[at + 1..].iter().copied()).collect::<Vec<_>>().join("\n");
        }
    }
    lines.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The file, a line of it, and what is wrong, on one printable line.
    #[test]
    fn mistakes_are_told_readably(mutations in prop::collection::vec(mutation(), 1..5)) {
        let text = mutations.iter().fold(example(), |text, mutation| mutated(&text, mutation));
        if let Err(error) = parse(&text) {
            let told = error.to_string();
            let Some((line, problem)) =
                told.strip_prefix("cluster.toml:").and_then(|rest| rest.split_once(": "))
            else {
                return Err(TestCaseError::fail(told));
            };
            let line: usize = line.parse().unwrap();
            prop_assert!((1..=1 + text.matches('\n').count()).contains(&line), "{told}");
            prop_assert!(!problem.is_empty() && told.len() < 1000, "{told}");
            prop_assert!(!told.chars().any(char::is_control), "{told:?}");
        }
    }
}
