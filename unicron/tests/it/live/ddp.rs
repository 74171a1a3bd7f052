//! A script for torchrun, as it is, on nodes that come and go.

use super::processes::none_is_left;
use super::{PATIENCE, UNICRON, cluster};
use std::path::Path;
use std::time::Duration;
use unicron::local_cluster::LocalCluster;

/// At which steps ranks of a world of this size have begun, as their logs tell.
fn begun(cluster: &LocalCluster, world: usize) -> Vec<u64> {
    let output = UNICRON.run(&["logs", "ddp", "--coordinator", &cluster.addresses()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let middle = format!(" of {world} begins at step ");
    text.lines().filter_map(|line| line.split_once(&middle)?.1.trim().parse().ok()).collect()
}

/// Waits until a world of this size trains; the step at which it began.
async fn trains(cluster: &LocalCluster, world: usize) -> u64 {
    let works = |task: &unicron::proto::v1::Task| {
        let working = task.workers.iter().filter(|worker| worker.state == "working");
        assert_ne!(task.state, "failed", "{}", task.reason);
        working.count() == world && task.workers.len() == world
    };
    for _ in 0..PATIENCE.as_millis() / 100 {
        cluster.until("ddp", PATIENCE, works).await.unwrap();
        if let [first, ..] = begun(cluster, world)[..] {
            return first;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no world of {world} begins");
}

#[test]
fn a_script_for_torchrun_shrinks_with_its_nodes_and_grows_back() {
    let Some(python) = common::testing::python_with_torch() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ddp.py");
    let checkpoint = folder.path().join("ddp.pt");
    let command = [
        python.to_str().unwrap(),
        "-u",
        script.to_str().unwrap(),
        "--checkpoint",
        checkpoint.to_str().unwrap(),
        "--steps",
        "400",
        "--every",
        "5",
        "--pace-ms",
        "50",
    ];
    let command = toml::Value::from(command.to_vec());
    let task = format!(
        "name = \"ddp\"\nworkers = 4\nmin_workers = 2\nnproc_per_node = 2\nrestart_s = 2.0\n\
         batch_per_worker = 12\ncommand = {command}\n"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut cluster = cluster(folder.path(), 2).await;
        cluster.submit(&task).await.unwrap();
        assert_eq!(trains(&cluster, 4).await, 1);
        while !checkpoint.exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        cluster.kill_agent("b").await;
        let shrunk_at = trains(&cluster, 2).await;
        assert!(shrunk_at > 1, "it goes on from its checkpoint");
        cluster.add_agent("b", 2).await.unwrap();
        // A planned change: the script has time for a checkpoint.
        assert!(trains(&cluster, 4).await > shrunk_at);
        let task = cluster.until("ddp", PATIENCE, |task| task.state == "done").await.unwrap();
        assert!(task.failures >= 1);
        let events = cluster.events(0).await.unwrap();
        let worlds = events.iter().filter(|event| event.kind == "world-size");
        let worlds: Vec<&str> = worlds.map(|event| event.text.as_str()).collect();
        let text = |sizes: &str, batches: &str| {
            format!("from {sizes} workers, and the global batch from {batches} samples, unless the script keeps it")
        };
        assert_eq!(worlds, [text("4 to 2", "48 to 24"), text("2 to 4", "24 to 48")]);
        cluster.end().await;
    });
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
}
