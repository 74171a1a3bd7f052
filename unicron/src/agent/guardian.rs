//! Between an agent and a worker: a process that ends with the agent, and takes the worker and everything
//! that the worker has started with it.
//!
//! An agent that is killed can't clean up behind itself. So each worker is started by a guardian, which
//! adopts what the worker leaves behind (it is a subreaper), reads the agent's orders from its standard
//! input, and kills all at that stream's end, which the agent's death is. If the guardian itself is killed,
//! the kernel kills the worker.
//!
//! On its standard output it reports: `pid 123` once the worker runs, `exit 137` once nothing of it is left.
//! The worker's output, both streams, goes to its standard error.

use super::proc_stat;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What an agent may say.
pub mod order {
    /// End, please.
    pub const TERMINATE: &str = "term";
    /// End, now.
    pub const KILL: &str = "kill";
}

/// Starts a program and stays with it until nothing of it is left; its exit code, as a shell reports it.
///
/// # Errors
/// If the program can't be started, or a report can't be written.
pub fn guard(
    program: &OsString,
    arguments: &[OsString],
    orders: impl Read + Send + 'static,
    mut reports: impl Write,
) -> io::Result<i32> {
    prctl::set_child_subreaper(true)?;
    let output = io::stderr().as_fd().try_clone_to_owned()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(output).process_group(0);
    // SAFETY: between fork and exec only async-signal-safe functions may be called; prctl is a bare
    // system call and allocates nothing.
    unsafe {
        command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from));
    }
    let child = command.spawn()?;
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    writeln!(reports, "pid {pid}")?;
    reports.flush()?;
    std::thread::spawn(move || obey(orders, pid));
    let code = wait_for(pid)?;
    end_all()?;
    writeln!(reports, "exit {code}")?;
    reports.flush()?;
    Ok(code)
}

/// Follows the agent's orders; without an agent, kills.
fn obey(orders: impl Read, pid: Pid) {
    for line in BufReader::new(orders).lines() {
        match line.as_deref() {
            Ok(order::TERMINATE) => {
                // An error means that the group is gone, which is what was asked for.
                let _ = killpg(pid, Signal::SIGTERM);
                let _ = killpg(pid, Signal::SIGCONT);
            }
            Ok(order::KILL) => kill_descendants(),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    kill_descendants();
}

/// Waits for the worker, and for whatever else ends meanwhile.
fn wait_for(pid: Pid) -> io::Result<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(ended, code)) if ended == pid => return Ok(code),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == pid => {
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills what the worker has left behind, until there is nothing.
fn end_all() -> io::Result<()> {
    loop {
        kill_descendants();
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Ok(()),
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(5)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills all processes that descend from this one. One that forks meanwhile is found the next time.
fn kill_descendants() {
    let processes = proc_stat::all();
    let me = getpid().as_raw();
    let descends = |mut pid: i32| {
        // No chain of parents is longer than there are processes.
        for _ in 0..processes.len() {
            match processes.get(&pid).map(|stat| stat.parent) {
                Some(parent) if parent == me => return true,
                Some(parent) => pid = parent,
                None => return false,
            }
        }
        false
    };
    for &pid in processes.keys().filter(|&&pid| descends(pid)) {
        // An error means that it is gone already.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
