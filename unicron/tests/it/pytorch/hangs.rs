//! A worker that stands still, and a node that is cut off in silence: nobody waits for a time-out.

use super::cluster::{PATIENCE, Training, greatest_difference, losses, train_alone};
use super::kills::BOUND;
use common::testing::python_with_torch;
use std::path::Path;
use unicron::local_cluster::fault::{Fault, Outcome};
use unicron::proto::v1;

/// Runs the example; its losses are those of a run without failures.
fn survive<T>(has_networks: bool, scene: impl AsyncFnOnce(&mut Training) -> T) -> Option<T> {
    let python = python_with_torch()?;
    let folder = tempfile::tempdir().unwrap();
    let expected = folder.path().join("expected.csv");
    let mut alone = train_alone(&python, &expected);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        let mut training = start(&python, folder.path(), has_networks).await;
        let result = scene(&mut training).await;
        let task = training.stop().await.unwrap();
        assert_eq!(task.committed_twice, 0, "{task:?}");
        assert!(alone.wait().unwrap().success());
        let found = losses(&training.losses_file());
        let difference = greatest_difference(&losses(&expected), &found);
        assert!(difference <= BOUND, "{difference}");
        training.cluster.end().await;
        result
    });
    Some(result)
}

async fn start(python: &Path, folder: &Path, has_networks: bool) -> Training {
    let training = Training::start(python, folder, has_networks).await.unwrap();
    training.until_all_work().await.unwrap();
    training
}

async fn inject(training: &mut Training, fault: Fault, which: usize) -> Outcome {
    training.until_all_work().await.unwrap();
    fault.inject(&mut training.cluster, "gpt", which).await.unwrap()
}

#[test]
fn a_worker_that_stands_still_is_replaced_wherever_it_stands() {
    survive(false, async |training| {
        // The first of the group, and another, at any moment.
        for which in [0, 3] {
            let outcome = inject(training, Fault::WorkerStopped, which).await;
            assert_eq!((&*outcome.handled_by, outcome.iterations_back), ("restart", 0));
        }
        // Within the all-reduce all have arrived, and only the others say that they wait.
        for moment in ["hang@micro-batch", "stop@reduced", "hang@reduced"] {
            let task = training.until_all_work().await.unwrap();
            let victim = &task.workers[1];
            training.fail(&format!("{moment}:{}:{}", task.iteration + 2, victim.worker));
            let is_replaced = |now: &v1::Task| {
                now.iteration > task.iteration + 2
                    && now.workers.iter().all(|worker| worker.pid != victim.pid)
            };
            training.cluster.until("gpt", PATIENCE, is_replaced).await.unwrap();
        }
    });
}

#[test]
fn a_node_that_is_cut_off_in_silence_stops_and_the_others_go_on() {
    if unicron::local_cluster::network::Network::new().is_err() {
        return super::skipped("networks of nodes' own take root and `ip`");
    }
    survive(true, async |training| {
        let outcome = inject(training, Fault::NodeCutOff, 2).await;
        assert!(outcome.handled_by.contains("reconfigure"), "{outcome:?}");
        assert_eq!(outcome.iterations_back, 0, "{outcome:?}");
        // It comes back, and its workers get the state.
        training.until_all_work().await.unwrap();
    });
}
