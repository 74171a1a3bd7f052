//! A log of two nodes and a task on all their slots.

use super::*;
use crate::cluster::ClusterFile;
use crate::detect::{Severity, Status};
use serde_json::{Value, json};

fn event(at_ms: i64, kind: &str, node: &str, worker: u64, details: Value) -> Value {
    let task = if kind.starts_with("node") { "" } else { "gpt" };
    json!({ "at_ms": at_ms, "kind": kind, "task": task, "node": node, "worker": worker,
            "text": "", "details": details })
}

fn account(waf: f64, in_transition: f64) -> Value {
    let worker_s = json!({ "useful": waf / 100.0, "detecting": 0.0, "redone": 0.0, "idle": 0.0,
                           "in_transition": in_transition });
    json!({ "account": { "waf": waf, "worker_s": worker_s, "iteration_s": 0.5 } })
}

fn log() -> Vec<Value> {
    let task = json!({ "weight": 2.0, "workers": 4, "min_workers": 1, "guaranteed_workers": null,
                       "stages": 1, "flops_per_worker": 50.0 });
    let failed = json!({ "status": "exited-abnormally", "detected_after_s": 0.25 });
    vec![
        event(0, "node-joined", "b", 0, json!({ "slots": 2 })),
        event(1, "node-joined", "a", 0, json!({ "slots": 2 })),
        event(2, "task-submitted", "", 0, json!({ "task": task })),
        event(10, "worker-started", "b", 7, Value::Null),
        event(500, "group", "", 0, json!({ "epoch": 9, "workers": [7] })),
        event(1_000, "progress", "", 0, account(100.0, 4.0)),
        event(11_250, "failure", "a", 8, failed),
        event(12_000, "progress", "", 0, account(4_100.0, 8.0)),
        event(25_000, "node-lost", "b", 0, json!({ "detected_after_s": 4.0 })),
        event(27_000, "progress", "", 0, account(8_000.0, 12.0)),
        event(31_000, "node-joined", "b", 0, json!({ "slots": 2 })),
        event(41_000, "task-stopped", "", 0, account(10_100.0, 16.0)),
    ]
}

fn parse(events: &[Value]) -> Result<LiveRun> {
    LiveRun::parse(&json!({ "events": events }).to_string(), Path::new("log.json"))
}

#[test]
fn a_log_is_failures_and_constants() {
    let LiveRun { trace, cluster_file, accumulated_waf } = parse(&log()).unwrap();
    assert_eq!(trace.extent(), Extent { nodes: 2, gpus_per_node: 2, duration_s: 40.0 });
    let [process, node] = trace.failures() else { panic!("{trace}") };
    assert_eq!((process.at_s, process.node, process.gpu), (10.0, 1, Some(0)));
    assert_eq!((process.status, process.severity), (Status::ExitedAbnormally, Severity::Sev2));
    assert_eq!((node.at_s, node.node, node.repair_s), (20.0, 0, Some(10.0)));
    assert_eq!(accumulated_waf, 10_000.0);
    let file = ClusterFile::parse(&cluster_file, Path::new("live.toml")).unwrap();
    let measured = file.measured.unwrap();
    assert_eq!((measured.node_health_s, measured.process_s), (Some(4.0), Some(0.25)));
    assert_eq!((measured.exception_s, measured.iteration_s), (None, Some(0.5)));
    // 12 worker-seconds by two failures of a task of four.
    assert_eq!((measured.restart_s, measured.accumulated_waf), (Some(1.5), Some(10_000.0)));
    assert_eq!(file.tasks[0].throughput.as_ref().unwrap().at(4), 200.0);
    assert_eq!(file.tasks[0].weight, 2.0);
}

#[test]
fn an_isolated_node_is_away_until_somebody_lets_it_in() {
    let mut events = log();
    events.insert(7, event(11_300, "node-isolated", "a", 0, Value::Null));
    let trace = parse(&events).unwrap().trace;
    let failure = &trace.failures()[0];
    assert_eq!((failure.severity, failure.repair_s), (Severity::Sev1, Some(30.0)));
}

#[test]
fn what_is_no_log_is_told() {
    let error = |events: &[Value]| parse(events).unwrap_err().to_string();
    assert!(error(&log()[..5]).contains("no task of this log has committed an iteration"));
    assert!(error(&log()[..6]).contains("no time in which all tasks of this log train"));
    let garbage = LiveRun::parse("{\n\"events\": 3}", Path::new("log.json")).unwrap_err();
    assert!(garbage.to_string().starts_with("log.json:2: is no log as"), "{garbage}");
}
