//! The log of a run in which things fail, replayed by the simulator.

use super::processes::none_is_left;
use super::{PATIENCE, UNICRON, cluster};
use std::time::Duration;
use unicron::local_cluster::fault::Fault;

/// The bound: what the simulator may be off, as a part of what was accumulated.
const MOST_OFF: f64 = 0.1;

/// A task on all slots that never ends by itself.
const TASK: &str = "name = \"gpt\"\nworkers = 4\nmin_workers = 1\n[train]\npreset = \"nano\"\n\
                    iterations = 1000000\nseed = 1\npace_ms = 100\ncheckpoint_every = 50\n";

/// How long nothing fails, before and after.
const CALM: Duration = Duration::from_secs(5);

/// Two killed workers, one that stands still, and a node that is lost and comes back.
async fn run_and_break(folder: &std::path::Path) -> String {
    let mut cluster = cluster(folder, 2).await;
    cluster.submit(TASK).await.unwrap();
    let is_whole = |task: &unicron::proto::v1::Task| {
        task.workers.len() == 4 && task.workers.iter().all(|worker| worker.state == "working")
    };
    cluster.until("gpt", PATIENCE, is_whole).await.unwrap();
    tokio::time::sleep(CALM).await;
    let faults =
        [Fault::WorkerKilled, Fault::WorkerStopped, Fault::WorkerKilled, Fault::AgentStopped];
    for (which, fault) in faults.into_iter().enumerate() {
        fault.inject(&mut cluster, "gpt", which).await.unwrap();
        cluster.until("gpt", PATIENCE, is_whole).await.unwrap();
    }
    tokio::time::sleep(CALM).await;
    let addresses = cluster.addresses();
    let stopped = UNICRON.run(&["stop", "gpt", "--coordinator", &addresses]);
    assert!(stopped.status.success());
    let events = UNICRON.json(&["events", "--coordinator", &addresses, "--json"]);
    cluster.end().await;
    events.to_string()
}

#[test]
fn the_simulator_predicts_what_a_live_run_has_accumulated() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let log = runtime.block_on(run_and_break(folder.path()));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (events, trace, tasks) = (path("events.json"), path("live.csv"), path("live.toml"));
    std::fs::write(&events, &log).unwrap();
    let convert = ["trace", "convert", &events, "--output", &trace, "--tasks", &tasks];
    assert!(UNICRON.run(&convert).status.success());
    let simulate = ["simulate", "--trace", &trace, "--tasks", &tasks, "--policy", "unicron"];
    let report = UNICRON.json(&[&simulate[..], &["--json"]].concat());
    let written =
        std::fs::read_to_string(&trace).unwrap() + &std::fs::read_to_string(tasks).unwrap();
    let measured = report["traces"][0]["measured_accumulated_waf"].as_f64().unwrap();
    let predicted = report["policies"][0]["accumulated_waf"].as_f64().unwrap();
    let off = predicted / measured - 1.0;
    assert!(off.abs() <= MOST_OFF, "{off:+.3} of {measured:e}\n{written}\n{report:#}\n{log}");
    // Without anything that fails it would be far more.
    let duration_s = report["traces"][0]["duration_s"].as_f64().unwrap();
    assert!(measured < 0.95 * duration_s * 4.0 * 1.5e14, "{report:#}\n{written}");
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
}
