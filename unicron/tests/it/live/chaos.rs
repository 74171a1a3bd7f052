//! Many faults, one upon the other: every task ends with the weights of a run without failures, or with a
//! stated reason; the event log explains what was done; nothing is left behind.

// What was injected belongs to a test that fails, and so does what was skipped.
#![allow(clippy::print_stdout)]

use super::PATIENCE;
use super::options;
use super::processes::none_is_left;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use unicron::local_cluster::chaos::{Settings, Strike, storm, trigger};
use unicron::local_cluster::network::Network;
use unicron::local_cluster::{LocalCluster, Options};
use unicron::proto::v1;

const NODES: [&str; 4] = ["a", "b", "c", "d"];
/// Name, workers and stages.
const TASKS: [(&str, usize, usize); 3] = [("pipeline", 4, 2), ("replicas", 3, 1), ("single", 1, 1)];
const ITERATIONS: u64 = 500;
const SEED: u64 = 20_261_126;
const FAULTS: usize = 50;

#[test]
fn a_storm_of_faults_changes_no_weight_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&folder.path().join("coordinator/tasks"));
    let has_networks = match Network::new() {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: cutting nodes off in silence: {error}");
            false
        }
    };
    let expected = super::expected_after(folder.path(), ITERATIONS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (strikes, tasks, events) = runtime.block_on(async {
        let mut cluster = cluster(folder.path(), has_networks).await;
        for task in TASKS {
            cluster.submit(&trainer(folder.path(), task)).await.unwrap();
        }
        let settings = Settings {
            seed: SEED,
            faults: FAULTS,
            between_s: 0.3..1.6,
            away_s: 0.5..8.0,
            disk: disk.as_ref().map(|disk| disk.0.clone()),
        };
        let strikes = storm(&mut cluster, &settings).await.unwrap();
        let mut tasks = Vec::new();
        for (name, ..) in TASKS {
            let has_ended = |task: &v1::Task| matches!(task.state.as_str(), "done" | "failed");
            tasks.push(cluster.until(name, 2 * PATIENCE, has_ended).await.unwrap());
        }
        let events = cluster.events(0).await.unwrap();
        cluster.end().await;
        (strikes, tasks, events)
    });
    println!("seed {SEED}: {:?}", count(&strikes));
    assert!(strikes.len() >= FAULTS);
    for task in &tasks {
        match task.state.as_str() {
            "done" => {
                if task.committed_twice > 0 || task.weights_sha256 != expected {
                    tell(&events, &task.name);
                }
                assert_eq!(task.weights_sha256, expected, "{task:?}");
                assert_eq!((task.iteration, task.committed_twice), (ITERATIONS, 0), "{task:?}");
            }
            _ => assert!(!task.reason.is_empty(), "{task:?}"),
        }
    }
    let done = tasks.iter().filter(|task| task.state == "done").count();
    assert!(done >= 2, "{tasks:#?}");
    explained(&events);
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
    no_socket_is_left(folder.path());
}

async fn cluster(folder: &Path, has_networks: bool) -> LocalCluster {
    let options = Options { has_networks, ..options(folder) };
    LocalCluster::start_with_agents(options, &NODES, 3, PATIENCE).await.unwrap()
}

fn trainer(folder: &Path, (name, workers, stages): (&str, usize, usize)) -> String {
    let path = |what| trigger(folder, what, name).display().to_string();
    format!(
        "name = \"{name}\"\nworkers = {workers}\nmin_workers = {stages}\n[train]\npreset = \"nano\"\n\
         iterations = {ITERATIONS}\nseed = 1\nstages = {stages}\npace_ms = 200\n\
         checkpoint_every = 5\n\
         arguments = [\"--throw-when\", {:?}, \"--hang-when\", {:?}]\n",
        path("throw"),
        path("hang")
    )
}

/// What happened to a task.
fn tell(events: &[v1::Event], task: &str) {
    for event in events.iter().filter(|event| event.task == task || event.task.is_empty()) {
        let v1::Event { at_ms, kind, node, worker, text, details, .. } = event;
        println!("{at_ms} {kind} node {node} worker {worker:x}: {text} {details}");
    }
}

fn count(strikes: &[Strike]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for strike in strikes {
        *counts.entry(strike.fault).or_default() += 1;
    }
    counts
}

/// Nothing is done without a failure before it, of the task or of a node.
fn explained(events: &[v1::Event]) {
    let is_cause = |event: &v1::Event| {
        let kind = event.kind.as_str();
        kind.contains("fail") || kind.starts_with("node") || kind == "coordinator"
    };
    for (index, event) in events.iter().enumerate() {
        if matches!(event.kind.as_str(), "restart" | "reattempt" | "rolled-back") {
            let mut before = events[..index].iter();
            let has_cause = before.any(|cause| {
                is_cause(cause) && (cause.task == event.task || cause.task.is_empty())
            });
            assert!(has_cause, "{event:?} has no cause");
            assert!(!event.text.is_empty(), "{event:?} says nothing");
        }
    }
}

fn no_socket_is_left(folder: &Path) {
    use std::os::unix::fs::FileTypeExt;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            assert!(!kind.is_socket(), "{} is left", entry.path().display());
            if kind.is_dir() {
                folders.push(entry.path());
            }
        }
    }
}

/// A small file system in memory. It takes root.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "unicron-test"]).arg(path);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            other => {
                println!("skipped: a full disk: {other:?}");
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What can't be unmounted goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
