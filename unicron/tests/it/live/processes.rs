//! What a run has left behind.

use std::time::{Duration, Instant};

/// Processes end a moment after whoever ended them.
const PATIENCE: Duration = Duration::from_secs(10);

/// No process of a run is left.
pub fn none_is_left(run_id: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = of_run(run_id);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left running: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Command lines of all processes that have the run in their environment.
fn of_run(run_id: &str) -> Vec<String> {
    let sign = format!("UNICRON_RUN_ID={run_id}");
    let is_of_run = |environment: &[u8]| {
        environment.split(|&byte| byte == 0).any(|variable| variable == sign.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let of_run = entries.filter_map(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        // A zombie has no command line.
        (is_of_run(&environment) && !line.is_empty()).then_some(line)
    });
    of_run.collect()
}
