//! A cluster of real processes: whatever fails, every task ends with the weights of a run without failures,
//! bit for bit, and nothing is left running.

mod advise;
mod bad_input;
mod bad_worker;
mod chaos;
mod dashboard;
mod ddp;
mod failover;
mod metrics;
mod processes;
mod replay;
mod security;
mod swarm;

use super::UNICRON;
use processes::none_is_left;
use std::path::Path;
use std::time::Duration;
use unicron::local_cluster::fault::{Fault, Outcome};
use unicron::local_cluster::{LocalCluster, Options};
use unicron::proto::v1;

/// Far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const ITERATIONS: u64 = 30;

/// A cluster of nodes `a`, `b`, … with two slots each.
async fn cluster(folder: &Path, nodes: usize) -> LocalCluster {
    let nodes = &["a", "b", "c"][..nodes];
    LocalCluster::start_with_agents(options(folder), nodes, 2, PATIENCE).await.unwrap()
}

fn options(folder: &Path) -> Options {
    Options::new(UNICRON.0.into(), folder, 3.0)
}

/// A task of the reference trainer.
fn trainer(workers: usize, stages: usize, more: &str) -> String {
    format!(
        "name = \"gpt\"\nworkers = {workers}\nmin_workers = {stages}\n[train]\npreset = \"nano\"\n\
         iterations = {ITERATIONS}\nseed = 1\nstages = {stages}\npace_ms = 100\n\
         checkpoint_every = 5\n{more}\n"
    )
}

/// The first line that a process says, which goes on.
fn first_line(output: impl std::io::Read) -> String {
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
    line.trim_end().to_owned()
}

/// What one process ends with.
fn expected(folder: &Path) -> String {
    expected_after(folder, ITERATIONS)
}

fn expected_after(folder: &Path, iterations: u64) -> String {
    let weights = folder.join("alone.safetensors");
    let iterations = iterations.to_string();
    let json = UNICRON.json(&[
        "train",
        "--preset",
        "nano",
        "--seed",
        "1",
        "--iterations",
        &iterations,
        "--weights",
        weights.to_str().unwrap(),
        "--json",
    ]);
    json["weights_sha256"].as_str().unwrap().to_owned()
}

/// Runs a task through these faults, each after it has recovered from the last; what came of them. The
/// task's weights are those of a run without failures.
fn survive(workers: usize, stages: usize, nodes: usize, faults: &[Fault]) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let expected = expected(folder.path());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let outcomes = runtime.block_on(async {
        let mut cluster = cluster(folder.path(), nodes).await;
        let trigger = folder.path().join("throw");
        let more = format!("arguments = [\"--throw-when\", {:?}]", trigger.display().to_string());
        cluster.submit(&trainer(workers, stages, &more)).await.unwrap();
        cluster.until("gpt", PATIENCE, |task| task.iteration >= 2).await.unwrap();
        let mut outcomes = Vec::new();
        for (which, fault) in faults.iter().enumerate() {
            let fault = match fault {
                Fault::ExceptionThrown(_) => Fault::ExceptionThrown(trigger.clone()),
                fault => fault.clone(),
            };
            outcomes.push(fault.inject(&mut cluster, "gpt", which).await.unwrap());
        }
        let task = cluster.until("gpt", PATIENCE, |task| task.state == "done").await.unwrap();
        assert_eq!(task.weights_sha256, expected, "{outcomes:#?}");
        assert_eq!((task.iteration, task.committed_twice), (ITERATIONS, 0));
        cluster.end().await;
        outcomes
    });
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
    outcomes
}

#[test]
fn a_killed_worker_is_started_again_and_the_others_keep_the_iteration() {
    let outcomes = survive(4, 2, 2, &[Fault::WorkerKilled, Fault::WorkerKilled]);
    for outcome in outcomes {
        assert_eq!(outcome.handled_by, "restart");
        assert_eq!(outcome.iterations_back, 0, "{outcome:?}");
    }
}

#[test]
fn an_exception_and_a_stopped_process_are_noticed_by_other_means() {
    let thrown = Fault::ExceptionThrown("throw".into());
    let outcomes = survive(2, 1, 1, &[thrown, Fault::WorkerStopped]);
    assert!(outcomes.iter().all(|outcome| outcome.handled_by == "restart"), "{outcomes:#?}");
}

#[test]
fn a_coordinator_that_is_killed_disturbs_nobody() {
    let outcomes = survive(2, 1, 1, &[Fault::CoordinatorKilled, Fault::WorkerKilled]);
    assert_eq!(outcomes[0].iterations_back, 0);
    assert_eq!(outcomes[0].handled_by, "take over");
}

#[test]
fn a_node_that_is_cut_off_stops_its_workers_before_they_are_handed_on() {
    let outcomes = survive(2, 1, 2, &[Fault::AgentStopped, Fault::AgentKilled]);
    assert!(outcomes[0].handled_by.contains("reconfigure"), "{outcomes:#?}");
}

/// Whether this machine lets itself be asked to reset a connection.
// That a test is skipped is said.
#[allow(clippy::print_stdout)]
fn can_reset() -> bool {
    let probe = || -> std::io::Result<bool> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let mut near = std::net::TcpStream::connect(listener.local_addr()?)?;
        let _far = listener.accept()?;
        let (local, peer) = (near.local_addr()?.to_string(), near.peer_addr()?.to_string());
        std::process::Command::new("ss").args(["-K", "src", &local, "dst", &peer]).output()?;
        near.set_read_timeout(Some(Duration::from_millis(500)))?;
        let kinds = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::ConnectionAborted];
        let read = std::io::Read::read(&mut near, &mut [0]);
        Ok(read.is_err_and(|error| kinds.contains(&error.kind())))
    };
    let can = probe().unwrap_or(false);
    if !can {
        println!("skipped: no connection can be reset here: it takes root and `ss`");
    }
    can
}

#[test]
fn a_reset_between_living_workers_is_tried_again_in_place() {
    if !can_reset() {
        return;
    }
    let outcomes = survive(2, 1, 1, &[Fault::ConnectionReset, Fault::ConnectionReset]);
    for outcome in outcomes {
        assert_eq!(outcome.handled_by, "reattempt", "{outcome:?}");
        assert_eq!((outcome.recomputed_micro_batches, outcome.iterations_back), (0, 0));
    }
}

#[test]
fn a_program_that_cannot_work_is_stopped_with_the_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = cluster(folder.path(), 2).await;
        let command = "command = [\"/bin/sh\", \"-c\", \"echo cannot begin; exit 3\"]";
        cluster.submit(&format!("name = \"bad\"\nworkers = 1\n{command}\n")).await.unwrap();
        let failed = |task: &v1::Task| task.state == "failed";
        let task = cluster.until("bad", PATIENCE, failed).await.unwrap();
        assert!(task.reason.contains("exited-abnormally"), "{}", task.reason);
        let good =
            "name = \"good\"\nworkers = 1\ncommand = [\"/bin/sh\", \"-c\", \"sleep 100 & exit 0\"]";
        cluster.submit(good).await.unwrap();
        cluster.until("good", PATIENCE, |task| task.state == "done").await.unwrap();
        cluster.end().await;
    });
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
}

#[test]
fn an_open_address_asks_for_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let output = UNICRON.run(&["coordinator", "--listen", "0.0.0.0:0", "--data", data]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--insecure"), "{stderr}");
}
