//! The dashboard in a browser: a thousand nodes and fifty tasks, and what is written by people and their
//! programs is text.

use super::metrics::get;
use super::processes::none_is_left;
use super::{PATIENCE, UNICRON, cluster};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use unicron::local_cluster::LocalCluster;
use unicron::local_cluster::browser::Browser;
use unicron::local_cluster::swarm::{self, Swarm};

const NODES: usize = 1000;
const TASKS: usize = 50;
const WORKERS_OF_A_TASK: usize = 19;

const SWARM: swarm::Options = swarm::Options {
    agents: NODES,
    slow_every: 0,
    slow_pause: Duration::ZERO,
    start: Duration::from_millis(100),
    pace: Duration::from_secs(1),
};

const WINDOW: (u32, u32) = (1280, 1400);

/// What would be seen if a line of a log were taken for HTML.
const HOSTILE: &str = "<img src=x onerror=document.title=1><script>document.title=1</script>";

/// Counts what the browser was busy with for 50 ms and longer, without a break.
const WATCH_LONG_TASKS: &str = "
    window.longTasks = [];
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) window.longTasks.push(entry.duration);
    }).observe({ type: 'longtask', buffered: true });
";

/// Counts what changes on the page, among the nodes and elsewhere, and how often the state came.
const WATCH_CHANGES: &str = "
    window.changes = { nodes: 0, others: 0, states: 0 };
    new MutationObserver((list) => {
        for (const { target } of list) {
            const isNode = document.getElementById('nodes').contains(target);
            window.changes[isNode ? 'nodes' : 'others'] += 1;
        }
    }).observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
    new PerformanceObserver((list) => {
        window.changes.states += list.getEntries().filter(({ name }) => name.includes('state.json')).length;
    }).observe({ type: 'resource' });
    window.longTasks = [];
";

fn task(name: &str, workers: usize) -> String {
    format!(
        "name = \"{name}\"\nworkers = {workers}\nmin_workers = {}\n\
         [train]\npreset = \"nano\"\niterations = 1000000\n",
        workers.div_ceil(2)
    )
}

/// A task fails on the one node that is real, the first, with a log that means harm; then both go.
async fn fail_once(cluster: &mut LocalCluster) {
    let script = format!("echo '{HOSTILE}'; exit 3");
    let command = format!("command = [\"/bin/sh\", \"-c\", {script:?}]");
    cluster.submit(&format!("name = \"bad\"\nworkers = 1\n{command}\n")).await.unwrap();
    cluster.until("bad", PATIENCE, |task| task.failures > 0).await.unwrap();
    let addresses = cluster.addresses();
    UNICRON.stdout(&["stop", "bad", "--coordinator", &addresses]);
    cluster.kill_agent("real").await;
}

fn number(browser: &mut Browser, expression: &str) -> f64 {
    browser.evaluate(expression).unwrap().as_f64().unwrap()
}

/// What stands where the page says so.
fn text(browser: &mut Browser, id: &str) -> String {
    let expression = format!("document.getElementById('{id}').innerText");
    browser.evaluate(&expression).unwrap().as_str().unwrap().to_owned()
}

/// Everything is on the page, as text.
fn all_is_shown(browser: &mut Browser) {
    let working = WORKERS_OF_A_TASK * TASKS;
    let count = "document.querySelectorAll('#nodes .node.used').length";
    browser.until(&format!("{count} === {working}"), PATIENCE).unwrap();
    assert_eq!(number(browser, "document.querySelectorAll('#nodes .node').length"), 1001.0);
    // Its lease ends seconds after its agent.
    browser.until("document.querySelectorAll('#nodes .node.lost').length === 1", PATIENCE).unwrap();
    assert_eq!(number(browser, "document.querySelectorAll('#tasks tr').length"), 52.0);
    let (queue, givers) = (text(browser, "queue"), text(browser, "givers"));
    assert!(queue.contains("waits: needs 1400 workers, the cluster has 1000"), "{queue}");
    assert!(givers.contains("its last worker is worth 150 TFLOP/s"), "{givers}");
    browser.until("document.querySelectorAll('#reasons dt').length > 50", PATIENCE).unwrap();
    assert!(text(browser, "reasons").contains("keeps its 19"));
    browser.until("document.querySelectorAll('#events pre').length > 0", PATIENCE).unwrap();
    let lines = browser.evaluate("document.querySelector('#events pre').textContent").unwrap();
    assert_eq!(lines.as_str().unwrap().trim(), HOSTILE);
    assert_eq!(browser.evaluate("document.title").unwrap(), "Unicron");
    assert_eq!(number(browser, "document.querySelectorAll('img, main script').length"), 0.0);
}

// How long the browser was busy is told, and fails nothing.
#[allow(clippy::print_stdout)]
/// While tasks only go on, nothing changes among the nodes, and a few cells a task elsewhere.
fn only_news_changes(browser: &mut Browser) {
    let at_first = browser.evaluate("window.longTasks").unwrap();
    println!("while the page was filled, longer than 50 ms without a break, in ms: {at_first}");
    browser.evaluate(WATCH_CHANGES).unwrap();
    browser.until("window.changes.states >= 6", PATIENCE).unwrap();
    let changes = browser.evaluate("window.changes").unwrap();
    let of = |name: &str| changes[name].as_f64().unwrap();
    assert_eq!(of("nodes"), 0.0, "{changes}");
    // Iteration and effective time of each task; bins, tiles, the graph and the time once.
    let most = (3 * TASKS + 60) as f64;
    assert!(of("others") / of("states") <= most, "{changes}");
}

/// Arrow keys move among the nodes; a narrow window has no page wider than itself.
fn keyboard_and_phone(browser: &mut Browser) {
    browser.evaluate("document.querySelector('#nodes .node').focus()").unwrap();
    let before = text(browser, "node");
    browser.press("ArrowRight", 39).unwrap();
    let after = text(browser, "node");
    assert!(after.starts_with("swarm-") && after != before, "{before} {after}");
    browser.resize((390, 800)).unwrap();
    let wider = "document.documentElement.scrollWidth - window.innerWidth";
    assert!(number(browser, wider) <= 0.0);
    browser.resize(WINDOW).unwrap();
}

// What it looked like is said.
#[allow(clippy::print_stdout)]
fn keep(browser: &mut Browser, name: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, browser.screenshot().unwrap()).unwrap();
    println!("a picture: {}", path.display());
}

// How long the browser was busy is told, and fails nothing.
#[allow(clippy::print_stdout)]
#[test]
fn a_thousand_nodes_and_fifty_tasks_are_shown_and_only_news_changes() {
    let Some(program) = common::testing::chromium() else { return };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut cluster = cluster(folder.path(), 0).await;
        cluster.add_agent("real", 1).await.unwrap();
        cluster.until_ready(1, PATIENCE).await.unwrap();
        let swarm = Swarm::start(cluster.endpoints(), SWARM);
        swarm.until_all_attend(PATIENCE).await.unwrap();
        fail_once(&mut cluster).await;
        for index in 0..TASKS {
            cluster.submit(&task(&format!("task-{index}"), WORKERS_OF_A_TASK)).await.unwrap();
        }
        cluster.submit(&task("waits", 1400).replace("700", "1400")).await.unwrap();
        let url = format!("http://{}/", cluster.dashboard_address());
        let swarm = tokio::task::spawn_blocking(move || {
            let mut browser = Browser::open(&program, &url, WINDOW, WATCH_LONG_TASKS).unwrap();
            all_is_shown(&mut browser);
            only_news_changes(&mut browser);
            keyboard_and_phone(&mut browser);
            swarm.kill((0..100).map(|index| 10 * index));
            let failures = "document.querySelectorAll('#events .bad').length > 50";
            browser.until(failures, PATIENCE).unwrap();
            let long = browser.evaluate("window.longTasks").unwrap();
            println!("while it was updated: {long}");
            browser.resize((1280, 1750)).unwrap();
            browser.evaluate("document.activeElement.blur(); scrollTo(0, 0)").unwrap();
            keep(&mut browser, "dashboard.png");
            swarm
        });
        let swarm = swarm.await.unwrap();
        drop(swarm);
        cluster.end().await;
    });
    none_is_left(folder.path().file_name().unwrap().to_str().unwrap());
}

#[test]
fn the_same_page_comes_from_a_persons_machine() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = cluster(folder.path(), 1).await;
        let addresses = cluster.addresses();
        let mut dashboard = Command::new(UNICRON.0)
            .args(["dashboard", "--coordinator", &addresses, "--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let line = super::first_line(dashboard.stderr.take().unwrap());
        let there = line.split("http://").nth(1).unwrap().trim_end_matches('/').to_owned();
        for address in [cluster.dashboard_address(), &there] {
            for path in ["/", "/page.css", "/page.js", "/dom.js", "/nodes.js", "/events.js"] {
                let (status, _) = get(address, path);
                assert_eq!(status, "HTTP/1.1 200 OK", "{address}{path}");
            }
            let (_, state) = get(address, "/state.json");
            let state: Value = serde_json::from_str(&state).unwrap();
            assert_eq!(
                (&state["nodes"][0]["name"], &state["nodes"][0]["slots"]),
                (&"a".into(), &2.into())
            );
            let (_, events) = get(address, "/events.json?after=1");
            let events: Value = serde_json::from_str(&events).unwrap();
            assert_eq!(events["events"][0]["sequence"], 2);
        }
        dashboard.kill().unwrap();
        dashboard.wait().unwrap();
        cluster.end().await;
    });
    UNICRON.fails(&["dashboard", "--listen", "0.0.0.0:0"], 2, "others can read it, in clear");
    UNICRON.fails(&["dashboard", "--coordinator", "127.0.0.1:1"], 1, "nothing listens there");
}

#[test]
fn a_name_that_a_web_page_may_choose_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = cluster(folder.path(), 0).await;
        let address = cluster.dashboard_address();
        let asks = |request: &str| {
            let (status, _) = super::metrics::ask(address, request);
            status
        };
        let misdirected = "GET /state.json HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        assert_eq!(asks(misdirected), "HTTP/1.1 421 Misdirected Request");
        let post = "POST /state.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(asks(post), "HTTP/1.1 405 Method Not Allowed");
        let (status, hint) = get(address, "/nodes");
        assert_eq!(
            (status.as_str(), hint.as_str()),
            ("HTTP/1.1 404 Not Found", "the dashboard is at /\n")
        );
        cluster.end().await;
    });
}
