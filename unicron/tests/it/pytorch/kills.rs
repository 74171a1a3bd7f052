//! Whatever fails whenever, the losses are those of a run without failures, and nobody but the dead works twice.

use super::cluster::{PATIENCE, Training, greatest_difference, losses, train_alone};
use common::testing::python_with_torch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::time::Duration;
use unicron::proto::v1;

/// Relative difference of a loss, in sums of single precision.
pub const BOUND: f64 = 1e-6;

/// Where the victims die, and which of them: the first of its group or another.
const KILLS: [(&str, bool); 18] = [
    ("micro-batch", true),
    ("summed", false),
    ("reducing", true),
    ("reduced", false),
    ("voted", true),
    ("stepping", false),
    ("committed", true),
    ("stepping", true),
    ("micro-batch", false),
    ("voted", false),
    ("reduced", true),
    ("committed", false),
    ("summed", true),
    ("regrouping", false),
    ("sending", false),
    ("receiving", false),
    ("regrouping", true),
    ("sending", true),
];

fn signal(worker: &v1::TaskWorker, signal: Signal) {
    kill(Pid::from_raw(worker.pid.try_into().unwrap()), signal).unwrap();
}

/// Kills a worker at a moment, and waits until another has taken its place. Who must have survived.
async fn strike(training: &Training, moment: &str, is_first: bool) -> BTreeSet<u32> {
    let task = training.until_all_work().await.unwrap();
    let by_rank = |rank: u32| task.workers.iter().find(|worker| worker.rank == rank).unwrap();
    let victim = by_rank(if is_first { 0 } else { 2 });
    let before = training.claimed().len();
    let is_of_a_change = ["regrouping", "sending", "receiving"].contains(&moment);
    if is_of_a_change {
        // Whoever gets there first has it.
        training.fail(&format!("kill@{moment}"));
        signal(victim, Signal::SIGKILL);
    } else {
        training.fail(&format!("kill@{moment}:{}:{}", task.iteration + 2, victim.worker));
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while training.claimed().len() == before {
        assert!(std::time::Instant::now() < deadline, "{moment}: {task:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pids = task.workers.iter().map(|worker| worker.pid).filter(|&pid| pid != victim.pid);
    match is_of_a_change {
        true => BTreeSet::new(),
        false => pids.collect(),
    }
}

#[test]
fn twenty_deaths_change_no_loss() {
    let Some(python) = python_with_torch() else { return };
    let folder = tempfile::tempdir().unwrap();
    let expected = folder.path().join("expected.csv");
    let mut alone = train_alone(&python, &expected);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (task, training) = runtime.block_on(async {
        let training = Training::start(&python, folder.path(), false).await.unwrap();
        for (moment, is_first) in KILLS {
            let survivors = strike(&training, moment, is_first).await;
            let task = training.until_all_work().await.unwrap();
            let pids: BTreeSet<u32> = task.workers.iter().map(|worker| worker.pid).collect();
            assert!(survivors.is_subset(&pids), "{moment}: {survivors:?} became {pids:?}");
        }
        (training.stop().await.unwrap(), training)
    });
    assert_eq!(task.committed_twice, 0);
    assert!(task.failures >= 20, "{task:?}");
    assert!(alone.wait().unwrap().success());
    let found = losses(&training.losses_file());
    let difference = greatest_difference(&losses(&expected), &found);
    assert!(difference <= BOUND, "{difference}");
    let computed = training.computed();
    let distinct: BTreeSet<_> = computed.iter().collect();
    assert_eq!(distinct.len(), computed.len(), "nobody computes a micro-batch twice");
    runtime.block_on(training.cluster.end());
}
