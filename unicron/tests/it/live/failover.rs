//! Several coordinators on one etcd: when the leader dies, another leads, and no task notices.

use super::processes::none_is_left;
use super::{ITERATIONS, PATIENCE, UNICRON, expected, trainer};
use crate::store::Server;
use std::time::{Duration, Instant};
use unicron::local_cluster::{LocalCluster, Options};

const LEASE_S: f64 = 2.0;

#[test]
fn another_coordinator_leads_within_a_lease_and_no_task_restarts() {
    let Some(etcd) = Server::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let expected = expected(folder.path());
    let run_id = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
    let options = Options::new(UNICRON.0.into(), folder.path(), LEASE_S);
    let options = Options { etcd: Some(etcd.url().to_owned()), ..options };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut cluster = LocalCluster::start(options).await.unwrap();
        cluster.add_coordinator().await.unwrap();
        cluster.add_agent("a", 2).await.unwrap();
        cluster.until_ready(1, PATIENCE).await.unwrap();
        cluster.submit(&trainer(2, 1, "")).await.unwrap();
        let before = cluster.until("gpt", PATIENCE, |task| task.iteration >= 3).await.unwrap();
        let clock = Instant::now();
        cluster.kill_coordinator().await;
        let after =
            cluster.until("gpt", PATIENCE, |task| task.iteration > before.iteration).await.unwrap();
        // etcd's leases are whole seconds, and it looks at them twice a second.
        let bound = Duration::from_secs_f64(LEASE_S + 8.0);
        assert!(clock.elapsed() < bound, "{:?}", clock.elapsed());
        let pids = |task: &unicron::proto::v1::Task| -> Vec<u32> {
            task.workers.iter().map(|worker| worker.pid).collect()
        };
        assert_eq!(pids(&after), pids(&before));
        assert_eq!(after.failures, 0);
        let task = cluster.until("gpt", PATIENCE, |task| task.state == "done").await.unwrap();
        assert_eq!((task.weights_sha256, task.iteration), (expected, ITERATIONS));
        cluster.end().await;
    });
    none_is_left(&run_id);
}
