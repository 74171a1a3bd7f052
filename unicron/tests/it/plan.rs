//! `unicron plan`

use super::UNICRON;
use serde_json::Value;

/// 16 nodes in two racks, and three tasks that run.
const CLUSTER: &str = "\
[cluster]
nodes = 16
gpus_per_node = 8

[cluster.domains]
rack0 = \"0-7\"
rack1 = \"8-15\"

[[tasks]]
name = \"large\"
model = \"gpt3-13b\"
weight = 0.5
current = 32

[[tasks]]
name = \"middle\"
model = \"gpt3-7b\"
current = 64
guaranteed_workers = 32

[[tasks]]
name = \"measured\"
throughput = [[8, 1.5e15], [16, 2.9e15], [32, 5.5e15]]
weight = 1.5
current = 32
";

/// The path of a file `cluster.toml` of this text, for as long as its folder lives.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn plan(text: &str, more: &[&str]) -> Value {
    let (_folder, path) = file(text);
    UNICRON.json(&[&["plan", path.as_str(), "--json"], more].concat())
}

/// (Name, workers) of the tasks.
fn workers(plan: &Value) -> Vec<(String, u64)> {
    let tasks = plan["tasks"].as_array().unwrap().iter();
    let of = |task: &Value| {
        (task["name"].as_str().unwrap().to_owned(), task["workers"].as_u64().unwrap())
    };
    tasks.map(of).collect()
}

fn total(plan: &Value) -> u64 {
    workers(plan).iter().map(|(_, workers)| workers).sum()
}

#[test]
fn a_plan_has_the_keys_that_scripts_read() {
    let plan = plan(CLUSTER, &[]);
    for key in ["planning_time_ms", "total_waf", "objective"] {
        assert!(plan[key].as_f64().is_some_and(|number| number > 0.0), "{key}: {plan}");
    }
    let tasks = plan["tasks"].as_array().unwrap();
    for task in tasks {
        assert!(task["waf"].as_f64().is_some_and(|waf| waf > 0.0), "{task}");
        assert!(task["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{task}");
    }
    let names: Vec<&str> = tasks.iter().map(|task| task["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["large", "middle", "measured"], "the file's order");
    // A measured throughput says nothing of the arrangement.
    let parallel: Vec<bool> =
        tasks.iter().map(|task| task["parallel"].as_str().unwrap().contains("data ")).collect();
    assert_eq!(parallel, [true, true, false]);
    let waf: f64 = tasks.iter().map(|task| task["waf"].as_f64().unwrap()).sum();
    assert!((waf / plan["total_waf"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert!(total(&plan) <= 128);
    // 1.5 x 5.5e15 on its last point: more workers are worth nothing to it.
    assert_eq!(workers(&plan)[2], ("measured".to_owned(), 32));
}

#[test]
fn people_get_a_table_with_reasons() {
    let (_folder, path) = file(CLUSTER);
    let text = UNICRON.stdout(&["plan", &path]);
    let head = text.lines().next().unwrap();
    for column in ["task", "workers", "nodes", "PFLOP/s", "WAF", "arrangement", "why"] {
        assert!(head.contains(column), "{head}");
    }
    let measured = text.lines().find(|line| line.starts_with("measured")).unwrap();
    assert!(measured.contains("keeps its 32; with ") && measured.contains("worth"), "{text}");
    assert!(text.contains(" GPUs, planned in ") && text.contains("expected to hold for"), "{text}");
}

#[test]
fn the_papers_rule_has_no_floors() {
    let (modelled, _) = CLUSTER.split_once("[[tasks]]\nname = \"measured\"").unwrap();
    let ours = plan(modelled, &[]);
    let paper = plan(modelled, &["--rule", "paper"]);
    let of = |plan: &Value, task: usize| workers(plan)[task].1;
    // 13B at half the weight is worth less on any GPU than 7B is.
    assert!(of(&ours, 0) > 0 && of(&ours, 1) >= 32, "{ours}");
    assert_eq!((of(&paper, 0), &paper["starved_tasks"]), (0, &1.into()), "{paper}");
    assert!(paper["total_waf"].as_f64() > ours["total_waf"].as_f64());
}

#[test]
fn a_lost_node_or_rack_is_planned_around() {
    let gpus = |more: &[&str]| {
        let before = plan(CLUSTER, more);
        let after = before["what_if"].clone();
        for key in ["planning_time_ms", "total_waf", "objective", "tasks"] {
            assert!(!after[key].is_null(), "{key}: {after}");
        }
        assert_eq!(after["tasks"][0]["from"], before["tasks"][0]["workers"], "{before}");
        assert!(after["total_waf"].as_f64() < before["total_waf"].as_f64(), "{before}");
        let away = |node: &Value| {
            more[2] == "3" && node == 3 || more[2] == "rack1" && node.as_u64() > Some(7)
        };
        for task in after["tasks"].as_array().unwrap() {
            assert!(!task["nodes"].as_array().unwrap().iter().any(away), "{task}");
        }
        total(&after)
    };
    let one = gpus(&["--what-if", "lose-node", "3"]);
    assert!((112..=120).contains(&one), "{one}");
    assert_eq!(gpus(&["--what-if", "drain-node", "3"]), one);
    let rack = gpus(&["--what-if", "lose-domain", "rack1"]);
    assert!((56..=64).contains(&rack), "{rack}");
}

#[test]
fn a_finished_task_leaves_its_workers_and_new_nodes_are_used() {
    let before = plan(CLUSTER, &["--what-if", "finish", "middle"]);
    let (now, then) = (workers(&before), workers(&before["what_if"]));
    assert_eq!(then.len(), 2, "{then:?}");
    assert!(then[0].1 > now[0].1 + 16, "large grows: {now:?}, {then:?}");
    assert_eq!(then[1], now[2], "measured has no use for more");

    let before = plan(CLUSTER, &["--what-if", "add-nodes", "16"]);
    assert!(total(&before) <= 128 && total(&before["what_if"]) > 200, "{before}");
    assert!(before["what_if"]["total_waf"].as_f64() > before["total_waf"].as_f64());

    let (_folder, path) = file(CLUSTER);
    let text = UNICRON.stdout(&["plan", &path, "--what-if", "finish", "large"]);
    let (_, after) = text.split_once("\nafter finish large:\n").unwrap();
    assert!(after.contains("middle") && !after.contains("large"), "{after}");
}

#[test]
fn what_cannot_happen_is_told_with_what_can() {
    let (_folder, path) = file(CLUSTER);
    let (_other, bare) = file("[cluster]\nnodes = 1\ngpus_per_node = 8\n");
    for (path, what, which, expected) in [
        (&path, "lose-node", "16", "--what-if lose-node 16: nodes are 0 to 15"),
        (&path, "drain-node", "x", "--what-if drain-node x: nodes are 0 to 15"),
        (&path, "lose-domain", "rack2", "domains are rack0, rack1"),
        (&bare, "lose-domain", "rack0", "the file has no domains"),
        (&path, "finish", "small", "tasks are large, middle, measured"),
        (&path, "add-nodes", "0", "a number of nodes from 1 is wanted"),
        (&path, "add-nodes", "99999999", "nodes: 100000015 is not 1 to 1000000"),
        (
            &path,
            "explode",
            "3",
            "there are lose-node N, lose-domain NAME, drain-node N, finish TASK",
        ),
    ] {
        UNICRON.fails(&["plan", path, "--what-if", what, which], 2, expected);
    }
    UNICRON.fails(&["plan", &path, "--rule", "theirs"], 2, "invalid value 'theirs'");
}

#[test]
fn a_malformed_file_is_told_with_its_line() {
    for (from, to, expected) in [
        ("nodes = 16", "nodes = 0", "cluster.toml:2: nodes: 0 is not 1 to 1000000"),
        (
            "[[tasks]]",
            "[[task]]",
            "cluster.toml:9: the file has no key `task`; there are cluster, ",
        ),
        ("\"gpt3-13b\"", "\"gpt3-13\"", "cluster.toml:11: model: `gpt3-13` is no preset"),
        ("[16, 2.9e15]", "[4, 2.9e15]", "cluster.toml:23: throughput: 4 workers after 8"),
        ("current = 64", "current = 65", "cluster.toml:25: current: up to this task 129 workers"),
        ("weight = 0.5", "weight = ", "cluster.toml:12: "),
    ] {
        assert!(CLUSTER.contains(from), "{from}");
        let (_folder, path) = file(&CLUSTER.replacen(from, to, 1));
        UNICRON.fails(&["plan", &path], 2, expected);
    }
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.toml");
    UNICRON.fails(&["plan", absent.to_str().unwrap()], 2, "absent.toml: No such file");
    let bytes = folder.path().join("bytes.toml");
    std::fs::write(&bytes, b"[cluster]\n\xff").unwrap();
    UNICRON.fails(&["plan", bytes.to_str().unwrap()], 2, "bytes.toml:2: is no UTF-8 text");
}

#[test]
fn what_is_infeasible_names_the_task_and_a_cure() {
    let fails = |nodes: usize, tasks: &str, expected: &str| {
        let (_folder, path) =
            file(&format!("[cluster]\nnodes = {nodes}\ngpus_per_node = 8\n{tasks}"));
        UNICRON.fails(&["plan", &path], 2, expected);
    };
    let large = "[[tasks]]\nname = \"large\"\nmodel = \"gpt3-175b\"\n";
    fails(1, large, "task large can't be placed: its model doesn't fit in 8 GPUs of this memory; ");
    fails(1, large, " would do");
    let measured = "[[tasks]]\nname = \"measured\"\nthroughput = [[16, 1e15]]\n";
    fails(1, measured, "its measured throughput starts higher");
    let whole = |name: &str| {
        format!(
            "[[tasks]]\nname = \"{name}\"\nmodel = \"gpt3-7b\"\nwhole_nodes = true\nguaranteed_workers = 9\n"
        )
    };
    let both = whole("first") + &whole("second");
    fails(3, &both, "task second can't be placed: guarantees up to this task need 32 GPUs");
    fails(3, &both, "guarantee less, or have 1 more nodes");
}

#[test]
fn help_has_examples_that_run() {
    let help = UNICRON.stdout(&["plan", "--help"]);
    assert!(help.contains("Examples:\n  unicron plan cluster.toml\n"), "{help}");
    let of_help = help.split_once("  [cluster]\n").unwrap().1.split_once("Examples:").unwrap().0;
    let (_folder, path) = file(&format!("[cluster]\n{of_help}"));
    assert!(UNICRON.stdout(&["plan", &path]).contains("pretrain"));
}
