//! A coordinator that says what it would do, with real processes.

use super::processes::none_is_left;
use super::{PATIENCE, UNICRON, options, trainer};
use std::time::Duration;
use unicron::local_cluster::LocalCluster;

/// Waits for an event of this kind with this text.
async fn event(cluster: &LocalCluster, kind: &str, text: &str) {
    for _ in 0..600 {
        let events = cluster.events(0).await.unwrap();
        if events.iter().any(|event| event.kind == kind && event.text.contains(text)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no {kind} {text}: {:#?}", cluster.events(0).await.unwrap());
}

#[test]
fn what_it_would_do_is_said_with_its_command_and_people_do_it() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut cluster = LocalCluster::start_advising(options(folder.path())).await.unwrap();
        cluster.add_agent("a", 2).await.unwrap();
        cluster.until_ready(1, PATIENCE).await.unwrap();
        cluster.submit(&trainer(4, 1, "")).await.unwrap();
        cluster.until("gpt", PATIENCE, |task| task.iteration >= 2).await.unwrap();
        // A node more, from which the task would gain.
        cluster.add_agent("b", 2).await.unwrap();
        cluster.until_ready(2, PATIENCE).await.unwrap();
        event(&cluster, "advice", "gpt from 2 to 4 workers; `unicron replan` does it").await;
        assert_eq!(cluster.task("gpt").await.unwrap().workers.len(), 2);
        // What has ended is started again.
        let worker = cluster.task("gpt").await.unwrap().workers[0].clone();
        let pid = nix::unistd::Pid::from_raw(worker.pid.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        event(&cluster, "restart", "its process is started again").await;
        let addresses = cluster.addresses();
        UNICRON.stdout(&["replan", "--coordinator", &addresses]);
        let grown = |task: &unicron::proto::v1::Task| task.workers.len() == 4;
        cluster.until("gpt", PATIENCE, grown).await.unwrap();
        event(&cluster, "advice-withdrawn", "gpt from 2 to 4 workers").await;
        let task = cluster.until("gpt", PATIENCE, |task| task.state == "done").await.unwrap();
        assert_eq!(task.weights_sha256, super::expected(folder.path()));
        cluster.end().await;
    });
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
}
