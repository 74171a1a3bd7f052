//! `unicron train`: after whatever failure, the weights of one process that never failed, bit for bit.

mod cluster;

use super::UNICRON;
use cluster::Cluster;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use unicron::detect::Status;
use unicron::worker::protocol::{FromWorker, ToWorker};

/// What one process ends with.
fn alone(iterations: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let path = path.to_str().unwrap();
    let arguments =
        ["train", "--preset", "nano", "--json", "--iterations", iterations, "--weights", path];
    let json = UNICRON.json(&arguments);
    assert_eq!(
        json["weights_sha256"],
        common::assets::sha256_file(path.as_ref()).unwrap().as_str()
    );
    json["weights_sha256"].as_str().unwrap().to_owned()
}

#[test]
fn any_number_of_replicas_and_stages_gives_the_same_weights() {
    let expected = alone("4");
    for (stages, replicas) in [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1)] {
        let mut cluster = Cluster::with_replicas(stages, replicas, &["--iterations", "4"]);
        cluster.form();
        assert_eq!(cluster.finish(), expected, "{stages} stages, {replicas} replicas");
        assert_eq!(cluster.redone(), 0);
        assert!(cluster.rolled_back_to().is_empty());
    }
}

/// Moments of a death, and the most passes that may be done again then: those of the dead worker, of 8
/// micro-batches and 2 replicas.
const DEATHS: [(&str, u64); 7] = [
    ("forward:3", 4),
    ("backward:3", 4),
    ("summed:3", 4),
    ("reducing:3", 4),
    // Whoever reduces a segment may die before it has sent it.
    ("reduced:3", 4),
    ("voted:3", 0),
    ("stepped:3", 0),
];

#[test]
fn a_death_at_any_moment_in_any_stage_changes_nothing() {
    let expected = alone("5");
    for (moment, most_redone) in DEATHS {
        for stage in 0..2 {
            let mut cluster = Cluster::with_replicas(2, 1, &["--iterations", "5"]);
            cluster.spawn(1 - stage, &[]);
            let dies = cluster.spawn(stage, &["--fail-at", moment]);
            cluster.form();
            assert_eq!(cluster.finish(), expected, "{moment} in stage {stage}");
            let what = format!("{moment} in stage {stage}: {:?}", cluster.committed);
            assert!(!cluster.members.contains(&dies), "{what}");
            assert!(cluster.redone() <= most_redone, "{what}");
            assert!(cluster.rolled_back_to().is_empty(), "{what}");
        }
    }
}

#[test]
fn two_deaths_at_once_change_nothing() {
    let expected = alone("5");
    for moments in
        [["summed:3", "summed:3"], ["reducing:3", "reduced:3"], ["voted:3", "backward:3"]]
    {
        // One in each stage, and two of one stage.
        for stages in [[0, 1], [1, 1]] {
            let mut cluster = Cluster::with_replicas(2, 1, &["--iterations", "5"]);
            for (stage, moment) in stages.into_iter().zip(moments) {
                cluster.spawn(stage, &["--fail-at", moment]);
            }
            cluster.form();
            assert_eq!(cluster.finish(), expected, "{moments:?} in stages {stages:?}");
            assert!(cluster.redone() <= 8, "{:?}", cluster.committed);
            assert!(cluster.rolled_back_to().is_empty());
        }
    }
}

/// A stage without a replica comes back from the memory of a worker on another node.
#[test]
fn the_only_worker_of_a_stage_is_restored_from_memory() {
    let expected = alone("5");
    for (moment, stage) in [("backward:4", 0), ("reduced:4", 1), ("voted:4", 1), ("stepped:4", 0)] {
        let mut cluster = Cluster::new(2, &["--iterations", "5"]);
        cluster.spawn(1 - stage, &[]);
        cluster.spawn(stage, &["--fail-at", moment]);
        cluster.form();
        assert_eq!(cluster.finish(), expected, "{moment} in stage {stage}");
        // The other had perhaps taken the step already, then it goes back by one.
        assert!(cluster.rolled_back_to().is_subset(&BTreeSet::from([3])), "{moment}");
    }
}

#[test]
fn all_are_restored_from_disk() {
    let expected = alone("6");
    for stages in [1, 2] {
        let mut cluster = Cluster::with_replicas(
            stages,
            2,
            &["--iterations", "6", "--checkpoint-every", "2", "--pace-ms", "50"],
        );
        cluster.regroups = false;
        cluster.form();
        cluster.until(|cluster| cluster.has_begun(4) && cluster.checkpoint.is_some());
        let all = cluster.members.clone();
        all.iter().for_each(|&worker| cluster.kill(worker));
        cluster.until(|cluster| cluster.members.is_empty());
        for stage in 0..stages {
            cluster.spawn(stage, &[]);
        }
        cluster.form();
        assert_eq!(cluster.finish(), expected);
        let back = cluster.rolled_back_to();
        assert!(back.iter().all(|iteration| [2, 4].contains(iteration)) && back.len() == 1);
        // Of three checkpoints the newest is left, and no half of another.
        let files = std::fs::read_dir(cluster.checkpoints()).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1 + stages as usize + 1, "{names:?}");
    }
}

#[test]
fn workers_join_and_leave_in_the_midst() {
    let expected = alone("8");
    let mut cluster = Cluster::with_replicas(2, 1, &["--iterations", "8", "--pace-ms", "60"]);
    cluster.form();
    cluster.until(|cluster| cluster.has_begun(2));
    cluster.spawn(0, &[]);
    cluster.until(|cluster| cluster.members.len() == 3 && cluster.has_begun(3));
    cluster.spawn(1, &[]);
    cluster.until(|cluster| cluster.members.len() == 4 && cluster.has_begun(4));
    // The two that were first leave, as in a plan that shrinks the task.
    for leaves in [1, 2] {
        let members = cluster.members.iter().copied().filter(|&worker| worker != leaves);
        cluster.group(members.collect());
        cluster.say(leaves, &ToWorker::Stop { reason: "the plan".to_owned() });
    }
    assert_eq!(cluster.finish(), expected);
    assert_eq!(cluster.members, BTreeSet::from([3, 4]));
    assert!(cluster.rolled_back_to().is_empty());
}

/// A reset between two living workers: the same members, another epoch, nothing done twice.
#[test]
fn a_group_is_made_again_without_loss() {
    let expected = alone("6");
    let mut cluster = Cluster::with_replicas(2, 2, &["--iterations", "6", "--pace-ms", "40"]);
    cluster.form();
    for iteration in 1..=5 {
        cluster.until(|cluster| cluster.has_begun(iteration));
        for _ in 0..3 {
            cluster.group_of_ready();
            std::thread::sleep(Duration::from_millis(4));
        }
    }
    assert_eq!(cluster.finish(), expected);
    assert_eq!(cluster.redone(), 0);
    assert!(cluster.rolled_back_to().is_empty());
}

/// The others are told of a group without it, and go on at once; then it comes back with what it has.
#[test]
fn a_stopped_worker_holds_up_nobody() {
    let expected = alone("6");
    let mut cluster = Cluster::with_replicas(1, 3, &["--iterations", "6", "--pace-ms", "100"]);
    cluster.form();
    cluster.until(|cluster| cluster.has_begun(2));
    cluster.signal(2, Signal::SIGSTOP);
    let others = cluster.members.iter().copied().filter(|&worker| worker != 2).collect();
    std::thread::sleep(Duration::from_millis(150));
    let clock = Instant::now();
    cluster.group(others);
    cluster.until(|cluster| cluster.committed.contains_key(&2));
    assert!(clock.elapsed() < Duration::from_secs(5), "{:?}", clock.elapsed());
    cluster.signal(2, Signal::SIGCONT);
    cluster.group_of_ready();
    assert_eq!(cluster.finish(), expected);
    assert_eq!(cluster.members.len(), 3);
}

/// A worker of whose death nobody tells the others: they say whom they miss.
#[test]
fn those_who_wait_say_for_whom() {
    let mut cluster = Cluster::with_replicas(1, 2, &["--iterations", "5"]);
    let hangs = cluster.spawn(0, &["--fail-at", "hang@summed:2"]);
    cluster.form();
    let waits = |message: &FromWorker| matches!(message, FromWorker::Waiting { workers, .. } if workers.contains(&hangs));
    cluster.until(|cluster| {
        let who = cluster.said.iter().filter(|(_, message)| waits(message));
        who.map(|(worker, _)| worker).collect::<BTreeSet<_>>().len() == 2
    });
    cluster.regroups = false;
    cluster.kill(hangs);
    cluster.until(|cluster| {
        let lost = |message: &FromWorker| matches!(message, FromWorker::LostPeer { worker, .. } if *worker == hangs);
        cluster.said.iter().filter(|(_, message)| lost(message)).count() == 2
    });
}

#[test]
fn a_disk_that_cannot_be_written_stops_nobody() {
    let expected = alone("5");
    let weights = tempfile::tempdir().unwrap();
    let path = weights.path().join("weights.safetensors");
    let arguments =
        ["--iterations", "5", "--checkpoint-every", "2", "--weights", path.to_str().unwrap()];
    let mut cluster = Cluster::with_replicas(1, 2, &arguments);
    // A file in the place of the folder.
    std::fs::write(cluster.checkpoints(), "").unwrap();
    cluster.form();
    assert_eq!(cluster.finish(), expected);
    assert!(cluster.said.iter().any(|(_, message)| matches!(
        message,
        FromWorker::Exception { status: Some(Status::StorageError), .. }
    )));
}

#[test]
fn a_worker_ends_with_its_lease() {
    let mut cluster = Cluster::with_replicas(1, 1, &["--iterations", "100000"]);
    cluster.form();
    cluster.until(|cluster| cluster.has_begun(2));
    cluster.say(1, &ToWorker::Lease { seconds: Some(0.1) });
    assert_eq!(cluster.exit_status(1).code(), Some(75));
}

#[test]
fn what_is_thrown_is_said() {
    let mut cluster = Cluster::new(1, &["--iterations", "5"]);
    let throws = cluster.spawn(0, &["--fail-at", "throw@backward:2"]);
    cluster.form();
    assert_eq!(cluster.exit_status(throws).code(), Some(1));
    cluster.regroups = false;
    cluster.until(|cluster| cluster.members.is_empty());
    assert!(cluster.said.iter().any(|(_, message)| matches!(
        message,
        FromWorker::Exception { message, .. } if message.contains("Throw at Backward")
    )));
}

#[test]
fn bad_arguments_are_named() {
    let stages = ["train", "--preset", "tiny", "--stages", "9"];
    UNICRON.fails(&stages, 2, "stages: 9 is not in 1 to 4");
    let text = ["train", "--text", "/nowhere/text"];
    UNICRON.fails(&text, 2, "--text /nowhere/text can't be read");
    let fail = ["train", "--fail-at", "never:1"];
    UNICRON.fails(&fail, 2, "\"never\" is none of forward, backward");
}
