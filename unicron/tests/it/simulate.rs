//! `unicron simulate`

use super::UNICRON;
use common::testing::shared_data;
use serde_json::Value;

fn policies(arguments: &[&str]) -> Vec<Value> {
    let all = [&["simulate", "--json"], arguments].concat();
    UNICRON.json(&all)["policies"].as_array().unwrap().clone()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn a_run_has_the_keys_that_scripts_read() {
    let rows = policies(&["--trace", "a", "--policy", "unicron,megatron,oobleck", "--seed", "3"]);
    let names: Vec<_> = rows
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (text("policy"), text("throughput"), row["spares"].as_u64().unwrap())
        })
        .collect();
    let name =
        |policy: &str, throughput: &str, spares| (policy.to_owned(), throughput.to_owned(), spares);
    assert_eq!(
        names,
        [
            name("unicron", "megatron", 0),
            name("megatron", "megatron", 0),
            name("megatron", "megatron", 1),
            name("megatron", "megatron", 2),
            name("megatron", "megatron", 3),
            name("oobleck", "published", 0),
            name("oobleck", "megatron", 0),
        ]
    );
    for row in &rows {
        let bins = row["bins"].as_object().unwrap();
        let keys: Vec<_> = bins.keys().map(String::as_str).collect();
        assert_eq!(keys, ["useful", "detecting", "in_transition", "redone", "idle"]);
        let sum: f64 = bins.values().map(number).sum();
        let gpu_s = 128.0 * 56.0 * 86_400.0;
        assert!((sum / gpu_s - 1.0).abs() < 1e-9, "{row}");
        assert_eq!((&row["failures"]["sev1"], &row["failures"]["other"]), (&10.into(), &33.into()));
        assert!((0.0..=1.0).contains(&number(&row["efficiency"])));
        assert!(number(&row["accumulated_waf"]) > 0.0 && number(&row["starved_tasks"]) >= 0.0);
    }
    assert!(number(&rows[1]["unicron_ratio"]) > 1.0, "{}", rows[1]);
}

#[test]
fn one_seed_is_one_result_to_the_byte() {
    let arguments = ["--trace", "b", "--policy", "unicron,varuna", "--seed", "5", "--seeds", "2"];
    let first = policies(&arguments);
    assert_eq!(first, policies(&arguments));
    let other = policies(&["--trace", "b", "--policy", "unicron,varuna", "--seed", "6"]);
    assert_ne!(first[0]["accumulated_waf"], other[0]["accumulated_waf"]);
    let interval = first[0]["accumulated_waf_95"].as_array().unwrap();
    let mean = number(&first[0]["accumulated_waf"]);
    assert!(number(&interval[0]) <= mean && mean <= number(&interval[1]));
}

#[test]
fn people_get_a_table_for_each_trace_and_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("waf.svg");
    let svg = svg.to_str().unwrap();
    let policies = ["--policy", "unicron,megatron,clairvoyant", "--plot", svg];
    let text = UNICRON.stdout(&[&["simulate", "--trace", "a,b"], &policies[..]].concat());
    for part in
        ["a: 16 nodes of 8 GPUs, 56.0 days, 10 failures of nodes and 33 others", "26 failures"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let picture = std::fs::read_to_string(svg).unwrap();
    assert!(picture.contains("Momentary WAF on b") && picture.contains("megatron, 2 spares"));
}

#[test]
fn tasks_of_a_file_end_when_their_work_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.toml");
    let task = |name, work| {
        format!("[[tasks]]\nname = \"{name}\"\nmodel = \"gpt3-7b\"\nwork_flops = {work}\n")
    };
    let tasks = task("short", "1e21") + &task("long", "2e21");
    std::fs::write(&path, format!("[cluster]\nnodes = 16\ngpus_per_node = 8\n{tasks}")).unwrap();
    let path = path.to_str().unwrap();
    let rows =
        policies(&["--trace", "b", "--policy", "unicron,megatron", "--spares=0", "--tasks", path]);
    let [unicron, megatron] = &rows[..] else { panic!("{rows:?}") };
    assert!(number(&unicron["makespan_s"]) < number(&megatron["makespan_s"]), "{rows:?}");
    assert!((number(&unicron["accumulated_waf"]) / 3e21 - 1.0).abs() < 1e-9);
    // 3e21 FLOPs at about half of 128 GPUs' 312e12.
    assert!((1.2e5..2.5e5).contains(&number(&unicron["makespan_s"])), "{unicron}");
}

#[test]
fn the_recorded_trace_is_replayed_on_400_servers() {
    if shared_data("traces/infinitehbd/fault_trace.json").is_none() {
        return;
    }
    let rows = policies(&["--trace", "infinitehbd", "--policy", "unicron,clairvoyant"]);
    let efficiency: Vec<f64> = rows.iter().map(|row| number(&row["efficiency"])).collect();
    // 2.3 % of node time is lost, less of WAF: batches of 512 leave some of 3,200 GPUs idle anyway.
    assert!(efficiency[1] > 0.97 && efficiency[1] < 0.99, "{efficiency:?}");
    assert!(efficiency[0] > efficiency[1] - 0.01, "{efficiency:?}");
}

#[test]
fn what_makes_no_sense_is_told() {
    let run = |arguments: &[&'static str]| [&["simulate"], arguments].concat();
    for (arguments, expected) in [
        (run(&["--policy", "megatrn"]), "policy: `megatrn` is none of unicron, "),
        (run(&["--trace", "c"]), "\"c\" is no name (a, b, "),
        (run(&["--tasks", "case6"]), "--tasks case6: no case (case1 to case5), nor a path"),
        (run(&["--tasks", "./none.toml"]), "./none.toml: "),
        (run(&["--policy", "megatron", "--spares", "16"]), "spares: 16 of 16 nodes leave none"),
        (run(&["--seeds", "0"]), "0 is not in 1..=100000"),
        (run(&["--rule", "theirs"]), "invalid value 'theirs'"),
        (run(&["--trace", "llama3:nodes=1,gpus-per-node=1"]), "can't be placed"),
    ] {
        UNICRON.fails(&arguments, 2, expected);
    }
}
