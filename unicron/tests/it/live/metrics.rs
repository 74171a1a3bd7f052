//! What Prometheus sees of a cluster in which things fail.

use super::processes::none_is_left;
use super::{PATIENCE, UNICRON, cluster, trainer};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;
use unicron::local_cluster::LocalCluster;
use unicron::local_cluster::fault::Fault;

const BINS: [&str; 5] = ["useful", "detecting", "in_transition", "redone", "idle"];

/// The status line and the body of what is at a path.
pub fn get(address: &str, path: &str) -> (String, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// The status line and the body of the answer to a request.
pub fn ask(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// Values by name with labels.
fn scrape(cluster: &LocalCluster) -> BTreeMap<String, f64> {
    let (status, body) = get(cluster.metrics_address(), "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let lines = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(value).collect()
}

fn bin(metrics: &BTreeMap<String, f64>, bin: &str) -> f64 {
    metrics[&format!("unicron_worker_seconds_total{{bin=\"{bin}\"}}")]
}

/// Seconds of slots in all bins and in none yet.
fn slot_seconds(metrics: &BTreeMap<String, f64>) -> f64 {
    let bins: f64 = BINS.iter().map(|name| bin(metrics, name)).sum();
    bins + metrics["unicron_uncommitted_worker_seconds"]
}

#[test]
fn bins_hold_the_time_of_all_slots_and_outlive_the_coordinator() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let before = Instant::now();
        let mut cluster = cluster(folder.path(), 2).await;
        let joined = Instant::now();
        cluster.submit(&trainer(2, 1, "")).await.unwrap();
        cluster.until("gpt", PATIENCE, |task| task.iteration >= 3).await.unwrap();
        Fault::WorkerKilled.inject(&mut cluster, "gpt", 0).await.unwrap();
        // The iteration that was under way may have been committed before the fault was felt.
        let now = cluster.task("gpt").await.unwrap().iteration;
        cluster.until("gpt", PATIENCE, |task| task.iteration >= now + 2).await.unwrap();
        let at_least = 4.0 * joined.elapsed().as_secs_f64();
        let metrics = scrape(&cluster);
        let at_most = 4.0 * before.elapsed().as_secs_f64();
        // The coordinator's clock is another than ours: a slot more or less for milliseconds.
        let all = slot_seconds(&metrics);
        assert!((at_least - 0.1..at_most + 0.1).contains(&all), "{at_least} {all} {at_most}");
        for name in ["useful", "in_transition", "idle"] {
            assert!(bin(&metrics, name) > 0.0, "{name}: {metrics:#?}");
        }
        let failures = "{task=\"gpt\",method=\"process-supervision\",severity=\"sev2\"}";
        for (name, value) in [
            ("unicron_leads".to_owned(), 1.0),
            ("unicron_slots".to_owned(), 4.0),
            ("unicron_nodes{state=\"ready\"}".to_owned(), 2.0),
            ("unicron_tasks{state=\"failed\"}".to_owned(), 0.0),
            (format!("unicron_failures_total{failures}"), 1.0),
            ("unicron_recovery_seconds_count{task=\"gpt\"}".to_owned(), 1.0),
        ] {
            assert_eq!(metrics.get(&name), Some(&value), "{name}: {metrics:#?}");
        }

        cluster.kill_coordinator().await;
        cluster.restart_coordinator().await.unwrap();
        cluster.until("gpt", PATIENCE, |task| task.state == "done").await.unwrap();
        let at_least = 4.0 * joined.elapsed().as_secs_f64();
        let after = scrape(&cluster);
        let at_most = 4.0 * before.elapsed().as_secs_f64();
        let all = slot_seconds(&after);
        assert!((at_least - 0.1..at_most + 0.1).contains(&all), "{at_least} {all} {at_most}");
        assert!(bin(&after, "useful") > bin(&metrics, "useful"), "{after:#?}");
        assert_eq!(after["unicron_uncommitted_worker_seconds"], 0.0);

        let addresses = cluster.addresses();
        let tasks = UNICRON.json(&["tasks", "--coordinator", &addresses, "--json"]);
        let task = &tasks["tasks"][0];
        let (ratio, waf) = (&task["effective_time_ratio"], &task["accumulated_waf"]);
        assert!((0.1..1.0).contains(&ratio.as_f64().unwrap()), "{task:#}");
        let useful = task["worker_seconds"]["useful"].as_f64().unwrap();
        assert!((waf.as_f64().unwrap() / (useful * 1.5e14) - 1.0).abs() < 1e-6, "{task:#}");
        cluster.end().await;
    });
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
}

#[test]
fn other_questions_are_answered_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = cluster(folder.path(), 0).await;
        let address = cluster.metrics_address();
        let (status, body) = get(address, "/");
        assert_eq!(status, "HTTP/1.1 404 Not Found");
        assert!(body.contains("/metrics"), "{body}");
        let mut garbage = TcpStream::connect(address).unwrap();
        garbage.write_all(&[0xff; 4096]).unwrap();
        assert_eq!(scrape(&cluster)["unicron_slots"], 0.0);
        cluster.end().await;
    });
    let data = folder.path().to_str().unwrap();
    let open = ["coordinator", "--data", data, "--metrics", "0.0.0.0:0"];
    UNICRON.fails(&open, 2, "--metrics 0.0.0.0:0: others can read it, in clear");
}
