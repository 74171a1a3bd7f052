//! Many agents at one coordinator, over encrypted connections: nobody who lives loses its lease, and after a
//! burst of failures everybody ends in the right group, slow readers too.

use super::{PATIENCE, UNICRON};
use crate::certificates::Authority;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use unicron::local_cluster::swarm::{self, Swarm};
use unicron::local_cluster::{Encryption, LocalCluster, Options};
use unicron::rpc::TlsFiles;

const TASKS: usize = 4;
const WORKERS_OF_A_TASK: usize = 50;
const FAILURES: usize = 20;

const SWARM: swarm::Options = swarm::Options {
    agents: TASKS * WORKERS_OF_A_TASK,
    slow_every: 10,
    slow_pause: Duration::from_millis(200),
    start: Duration::from_millis(100),
    pace: Duration::from_secs(1),
};

fn files(folder: &Path, authority: &Authority, name: &str) -> TlsFiles {
    let path = |end: &str| folder.join(format!("{name}.{end}"));
    let (certificate, key) = authority.issue(name);
    for (end, text) in [("ca", authority.pem()), ("pem", certificate), ("key", key)] {
        std::fs::write(path(end), text).unwrap();
    }
    TlsFiles { ca: path("ca"), certificate: Some(path("pem")), key: Some(path("key")) }
}

fn task(index: usize) -> String {
    format!(
        "name = \"task-{index}\"\nworkers = {WORKERS_OF_A_TASK}\n\
         [train]\npreset = \"nano\"\niterations = 1000000\n"
    )
}

#[test]
fn after_a_burst_of_failures_every_agent_ends_in_the_right_group() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let encryption = Encryption {
        coordinator: files(folder.path(), &authority, "server"),
        client: files(folder.path(), &authority, "client"),
    };
    let options = Options::new(UNICRON.0.into(), folder.path(), 4.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = LocalCluster::start_encrypted(options, encryption).await.unwrap();
        let swarm = Swarm::start(cluster.endpoints(), SWARM);
        swarm.until_all_attend(PATIENCE).await.unwrap();
        for index in 0..TASKS {
            cluster.submit(&task(index)).await.unwrap();
        }
        swarm.until_all_work(PATIENCE).await.unwrap();
        let quiet = Duration::from_secs(2);
        swarm.until_quiet(quiet, PATIENCE).await.unwrap();
        let before = swarm.views();
        swarm.kill((0..FAILURES).map(|index| index * 10 + 3));
        tokio::time::sleep(quiet).await;
        swarm.until_quiet(quiet, PATIENCE).await.unwrap();
        let tasks = cluster.tasks().await.unwrap();
        let failures = tasks.iter().map(|task| task.failures).sum::<u64>();
        assert_eq!(failures, FAILURES as u64);
        let epochs: BTreeMap<&str, u64> =
            tasks.iter().map(|task| (task.name.as_str(), task.epoch)).collect();
        for (before, after) in before.iter().zip(swarm.views()) {
            assert_eq!(Some(&after.epoch), epochs.get(after.task.as_str()), "{after:?}");
            assert!(after.epoch > before.epoch, "every task has lost a worker");
        }
        for task in &tasks {
            assert_eq!(task.workers.len(), WORKERS_OF_A_TASK);
            assert!(task.workers.iter().all(|worker| worker.state == "working"), "{task:?}");
        }
        let counts = swarm.counts();
        assert_eq!((counts.leases_ended, counts.welcomes), (0, SWARM.agents as u64));
        let events = cluster.events(0).await.unwrap();
        assert!(events.iter().all(|event| event.kind != "node-lost"));
        cluster.end().await;
    });
}
