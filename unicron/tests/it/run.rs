//! `unicron run`: scripts that know nothing of us, as torchrun would run them.

use super::UNICRON;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a shell script by two workers on a node of its own; the code, stdout and stderr.
fn run(options: &[&str], script: &str) -> (Option<i32>, String, String) {
    let arguments = ["run", "--standalone", "--nproc-per-node", "2"];
    let output = UNICRON.run(&[&arguments, options, &["--", "sh", "-c", script]].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn sorted_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_script_finds_torchruns_environment() {
    let script = "echo $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $GROUP_RANK $GROUP_WORLD_SIZE \
                  $ROLE_NAME $MASTER_ADDR $TORCHELASTIC_RUN_ID $TORCHELASTIC_RESTART_COUNT \
                  $TORCHELASTIC_USE_AGENT_STORE $OMP_NUM_THREADS; test $MASTER_PORT -gt 0";
    let (code, stdout, stderr) = run(&["--rdzv-id", "job-7"], script);
    assert_eq!(code, Some(0), "{stderr}");
    let of = |rank: usize| {
        format!("[rank{rank}]: {rank} {rank} 2 2 0 1 default 127.0.0.1 job-7 0 True 1")
    };
    assert_eq!(sorted_lines(&stdout), [of(0), of(1)]);
}

#[test]
fn a_failure_starts_all_again_and_the_restart_count_grows() {
    let script = "echo attempt $TORCHELASTIC_RESTART_COUNT; \
                  test $RANK.$TORCHELASTIC_RESTART_COUNT != 1.0 || exit 3; \
                  test $TORCHELASTIC_RESTART_COUNT -gt 0 || sleep 100";
    let (code, stdout, stderr) = run(&["--max-restarts", "1", "--json"], script);
    assert_eq!(code, Some(0), "{stderr}");
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&summary["state"], &summary["failures"]), (&"done".into(), &1.into()), "{summary}");
    for rank in 0..2 {
        for attempt in 0..2 {
            assert!(stderr.contains(&format!("[rank{rank}]: attempt {attempt}\n")), "{stderr}");
        }
    }
    assert!(stderr.contains("exit code 3"), "{stderr}");
}

#[test]
fn a_script_that_fails_again_and_again_ends_with_its_code() {
    let (code, stdout, stderr) = run(&["--max-restarts", "1"], "echo once; exit 41");
    assert_eq!(code, Some(41), "{stderr}");
    assert_eq!(stdout.lines().count(), 4, "two ranks, twice: {stdout}");
    assert!(stderr.contains("max_restarts is 1"), "{stderr}");
    let (code, stdout, stderr) = run(&[], "echo again; exit 42");
    assert_eq!(code, Some(42), "without a bound, until no restart helps: {stderr}");
    assert!(stdout.lines().count() >= 4 && stderr.contains("no restart helps"), "{stdout}{stderr}");
    let (code, stdout, stderr) = run(&[], "echo once; exit 93");
    assert_eq!(code, Some(93), "{stderr}");
    assert_eq!(stdout.lines().count(), 2, "it asks not to be started again: {stdout}");
    assert!(stderr.contains("asks that it is not started again"), "{stderr}");
}

#[test]
fn a_signal_is_explained_and_an_exceptions_traceback_is_kept() {
    let (code, _, stderr) =
        run(&["--max-restarts", "0"], "test $RANK = 0 && sleep 100; kill -9 $$");
    assert_eq!(code, Some(137), "{stderr}");
    assert!(stderr.contains("SIGKILL"), "{stderr}");
    let error = r#"{"message": {"message": "ValueError: no such layer", "extraInfo": {"py_callstack": "Traceback (most recent call last):\n  File \"a.py\"", "timestamp": "1"}}}"#;
    let script = format!(
        "test $RANK = 0 && sleep 100; printf '%s' '{error}' > $TORCHELASTIC_ERROR_FILE; exit 1"
    );
    let (code, _, stderr) = run(&["--max-restarts", "0"], &script);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("ValueError: no such layer"), "{stderr}");
}

#[test]
fn a_log_that_cannot_be_written_ends_nobody() {
    let (code, stdout, stderr) = run(&["--log-dir", "/dev/full/logs"], "echo done");
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(sorted_lines(&stdout), ["[rank0]: done", "[rank1]: done"]);
    assert_eq!(stderr.matches("what follows isn't kept").count(), 1, "{stderr}");
}

#[test]
fn silence_is_a_hang_where_its_owner_says_so() {
    let script = "test $RANK.$TORCHELASTIC_RESTART_COUNT != 1.0 || sleep 100; \
                  test $TORCHELASTIC_RESTART_COUNT -gt 0 || while true; do echo works; sleep 0.2; done";
    let (code, _, stderr) = run(&["--hang-after", "2", "--max-restarts", "1"], script);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("makes no progress"), "{stderr}");
}

#[test]
fn ranks_of_pytorch_meet_at_the_agents_store_again_and_again() {
    let Some(python) = common::testing::python_with_torch() else { return };
    let script = "import os, signal, torch, torch.distributed as dist\n\
                  dist.init_process_group('gloo')\n\
                  rank = dist.get_rank()\n\
                  if rank == 0 and os.environ['TORCHELASTIC_RESTART_COUNT'] < '2': os.kill(os.getpid(), signal.SIGKILL)\n\
                  sum = torch.tensor([float(rank + 1)])\n\
                  dist.all_reduce(sum)\n\
                  print('sum', int(sum.item()), 'after', os.environ['TORCHELASTIC_RESTART_COUNT'])\n";
    let python = python.to_str().unwrap();
    let arguments =
        ["run", "--standalone", "--nproc-per-node", "2", "--", python, "-u", "-c", script];
    let output = UNICRON.run(&arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    for rank in 0..2 {
        assert!(stdout.contains(&format!("[rank{rank}]: sum 3 after 2\n")), "{stdout}{stderr}");
    }
    // Rank 1 falls with rank 0, and isn't blamed for it.
    assert_eq!(stderr.matches("SIGKILL").count(), 2, "{stderr}");
}

/// A process that is killed if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, mostly.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> Running {
    let command = Command::new(UNICRON.0)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Running(command.unwrap())
}

fn ended(mut running: Running) -> (Option<i32>, String) {
    let deadline = Instant::now() + PATIENCE;
    while running.0.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it doesn't end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut text = String::new();
    running.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    running.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (running.0.wait().unwrap().code(), text)
}

#[test]
fn sigterm_is_passed_on_and_there_is_time_for_a_checkpoint() {
    let script =
        "trap 'sleep 0.5; echo saved; exit 0' TERM; echo up; while true; do sleep 0.05; done";
    let mut running = start(&["run", "--standalone", "--grace", "20", "--", "sh", "-c", script]);
    let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "[rank0]: up\n");
    kill(Pid::from_raw(running.0.id() as i32), Signal::SIGTERM).unwrap();
    let rest: Vec<String> = stdout.lines().map(Result::unwrap).collect();
    assert!(rest.contains(&"[rank0]: saved".to_owned()), "{rest:?}");
    assert_eq!(running.0.wait().unwrap().code(), Some(143));
}

#[test]
fn two_nodes_meet_at_an_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("127.0.0.1:{port}");
    let log = folder.path().join("logs");
    let node = |name: &str| {
        let arguments =
            ["run", "--nnodes", "2", "--rdzv-endpoint", &endpoint, "--node", name, "--log-dir"];
        let script =
            ["--", "sh", "-c", "echo $RANK of $WORLD_SIZE on $UNICRON_NODE, node $GROUP_RANK"];
        start(&[&arguments[..], &[log.to_str().unwrap()], &script].concat())
    };
    let (first, second) = (node("left"), node("right"));
    let (codes, texts): (Vec<_>, Vec<_>) = [ended(first), ended(second)].into_iter().unzip();
    assert_eq!(codes, [Some(0), Some(0)], "{texts:?}");
    let all = texts.concat();
    for rank in 0..2 {
        let said = |node: &str| format!("[rank{rank}]: {rank} of 2 on {node}, node {rank}\n");
        assert!(all.contains(&said("left")) || all.contains(&said("right")), "{all}");
        let kept = std::fs::read_to_string(log.join(format!("rank{rank}.log"))).unwrap();
        assert!(kept.starts_with(&format!("{rank} of 2 on ")), "{kept}");
    }
}

#[test]
fn mistakes_are_told_before_anything_is_started() {
    let refused = |arguments: &[&str]| {
        let output = UNICRON.run(&[&["run"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let script = ["--", "true"];
    for (arguments, expected) in [
        (&["--nnodes", "4:1"][..], "MIN:MAX"),
        (&["--nproc-per-node", "0"], "gpu, cpu or auto"),
        (&["--nnodes", "2"], "give --rdzv-endpoint"),
        (&["--rdzv-id", "a/b"], "--rdzv-id: \"a/b\" is no name"),
        (&["--rdzv-conf", "join=3"], "none of join_timeout"),
        (&["--rdzv-endpoint", "0.0.0.0:0"], "or --insecure"),
        (&["--hang-after", "0.1"], "hang_after_s: 0.1 is not 1 to"),
    ] {
        let said = refused(&[arguments, &script].concat());
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
