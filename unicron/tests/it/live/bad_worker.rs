//! Programs that behave badly harm nobody but themselves.

use super::bad_input::while_a_task_trains;
use super::{PATIENCE, UNICRON};
use std::time::{Duration, Instant};
use unicron::local_cluster::LocalCluster;

/// A program of one worker, beside the task that trains.
async fn submit(cluster: &LocalCluster, script: &str) {
    let script = toml::Value::from(script);
    let file = format!(
        "name = \"bad\"\nworkers = 1\ngrace_s = 1.0\ncommand = [\"/bin/sh\", \"-c\", {script}]\n"
    );
    cluster.submit(&file).await.unwrap();
    cluster.until("bad", PATIENCE, |task| task.state == "running").await.unwrap();
}

async fn stop(cluster: &LocalCluster) {
    let stopped = UNICRON.run(&["stop", "bad", "--coordinator", &cluster.addresses()]);
    assert!(stopped.status.success());
    cluster.until("bad", PATIENCE, |task| task.state == "stopped").await.unwrap();
}

/// MiB that a process holds.
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Processes that were started with these words among their arguments.
fn with_argument(word: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_word = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|argument| argument == word.as_bytes())
    };
    pids.filter(has_word).collect()
}

#[test]
fn a_flood_of_output_takes_no_memory_and_no_heartbeat() {
    while_a_task_trains(async |cluster| {
        submit(cluster, "yes flood").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        for node in ["a", "b"] {
            let mib = resident_mib(cluster.agent_pid(node).unwrap());
            assert!((1..150).contains(&mib), "the agent of {node} holds {mib} MiB");
        }
        let nodes = cluster.nodes().await.unwrap();
        assert!(nodes.iter().all(|node| node.state == "ready"), "{nodes:?}");
        stop(cluster).await;
    });
}

#[test]
fn who_ignores_sigterm_and_forks_is_ended_with_all_its_children() {
    while_a_task_trains(async |cluster| {
        let script = "trap '' TERM; for i in 1 2 3 4 5 6 7 8; do sleep 98761 & done; \
                      setsid sleep 98761 & while true; do sleep 0.1; done";
        submit(cluster, script).await;
        let deadline = Instant::now() + PATIENCE;
        while with_argument("98761").len() < 9 {
            assert!(Instant::now() < deadline, "it doesn't fork");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop(cluster).await;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !with_argument("98761").is_empty() {
            assert!(Instant::now() < deadline, "{:?} are left", with_argument("98761"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
}

#[test]
fn who_writes_garbage_to_its_socket_again_and_again_is_stopped_with_the_evidence() {
    let Some(python) = common::testing::python_with_torch() else { return };
    while_a_task_trains(async |cluster| {
        let script = "import os, socket\n\
                      s = socket.socket(socket.AF_UNIX)\n\
                      s.connect(os.environ['UNICRON_SOCKET'])\n\
                      while True: s.sendall(b'\\xff' * 4096)\n";
        let program = toml::Value::from(vec![python.to_str().unwrap(), "-c", script]);
        let file = format!("name = \"bad\"\nworkers = 1\nmax_restarts = 1\ncommand = {program}\n");
        cluster.submit(&file).await.unwrap();
        let task = cluster.until("bad", PATIENCE, |task| task.state == "failed").await.unwrap();
        assert!(task.reason.contains("max_restarts is 1"), "{}", task.reason);
    });
}
