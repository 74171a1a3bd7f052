//! What workers say and write, and what it means: passed on to the coordinator, or kept.

use super::{LINES_OF_A_FAILURE, Node, Say};
use crate::agent::local::Heard;
use crate::agent::process::MOST_LINE_BYTES;
use crate::agent::signs;
use crate::detect::{Finding, Role, Status};
use crate::proto::v1;
use crate::wall_clock::wall_ms;
use crate::worker::protocol::FromWorker;

impl Node {
    /// A line of a worker's output.
    pub(super) fn read_line(&mut self, worker: u64, line: String) {
        let now_s = self.now_s();
        let Some(local) = self.workers.get_mut(&worker) else { return };
        if let Some(silence) = &mut local.silence {
            silence.broken(now_s);
        }
        let finding = local.log.read(&line).map(signs::line);
        local.tail.push(line.clone());
        if let Some(local) = self.workers.get(&worker) {
            self.show(worker, local, &line);
        }
        if let Some(finding) = finding {
            self.observe(worker, finding, line);
        }
    }

    fn observe(&mut self, worker: u64, finding: Finding, text: String) {
        let Some(local) = self.workers.get(&worker) else { return };
        if local.is_ending {
            return;
        }
        let last_lines = match finding.role {
            Role::Root => local.tail.of_failure(LINES_OF_A_FAILURE),
            _ => Vec::new(),
        };
        self.tell(worker, finding, text, last_lines);
    }

    /// Tells of something that was seen of a worker, or, with 0, of the node.
    pub(super) fn tell(
        &mut self,
        worker: u64,
        finding: Finding,
        mut text: String,
        last_lines: Vec<String>,
    ) {
        text.truncate(text.floor_char_boundary(MOST_LINE_BYTES));
        let role = match finding.role {
            Role::Root => "root",
            Role::Cascade => "cascade",
            Role::Confirmation => "confirmation",
        };
        self.say(Say::Observation(v1::Observation {
            worker,
            at_ms: wall_ms(),
            status: finding.status.to_string(),
            role: role.to_owned(),
            text,
            last_lines,
        }));
    }

    /// An exception has ended a worker, or a part of it.
    pub(super) fn raised(
        &mut self,
        worker: u64,
        status: Option<Status>,
        message: &str,
        traceback: &str,
    ) {
        let Some(local) = self.workers.get_mut(&worker) else { return };
        for line in traceback.lines() {
            local.tail.push(line.to_owned());
        }
        let finding = signs::exception(status, message, traceback);
        self.observe(worker, finding, message.to_owned());
    }

    /// Something that a worker says.
    pub(super) fn hear(&mut self, worker: u64, what: Heard) {
        let now_s = self.now_s();
        let Some(local) = self.workers.get_mut(&worker) else { return };
        let message = match what {
            Heard::Said(message) => message,
            Heard::Garbage(problem) => {
                // Nobody knows what it does: it is at fault, like one that has raised something.
                let problem = format!("it breaks the protocol: {problem}");
                local.tail.push(format!("[unicron] {problem}"));
                self.notice(format!("worker {worker}: {problem}"));
                let finding = Finding::root(Status::OtherSoftwareError);
                return self.observe(worker, finding, problem);
            }
        };
        if let Some(watch) = &mut local.watch {
            watch.heard(now_s, &message);
        }
        let said = match message {
            FromWorker::Hello { pid, .. } => {
                local.pid = pid;
                Say::Started(v1::WorkerStarted { worker, pid })
            }
            FromWorker::Ready { address, fingerprint } => {
                (local.address, local.fingerprint) = (address.clone(), fingerprint.clone());
                Say::Ready(v1::WorkerReady { worker, address, fingerprint })
            }
            // The monitor's alone.
            FromWorker::Iteration { .. } | FromWorker::MicroBatch { .. } => return,
            FromWorker::Committed { epoch, iteration, loss, redone } => {
                Say::Committed(v1::Committed {
                    worker,
                    epoch,
                    iteration,
                    loss,
                    redone_micro_batches: redone.micro_batches,
                    redone_stage_passes: redone.stage_passes,
                })
            }
            FromWorker::RolledBack { epoch, iteration } => {
                Say::RolledBack(v1::RolledBack { worker, epoch, iteration })
            }
            FromWorker::Exception { status, message, traceback } => {
                return self.raised(worker, status, &message, &traceback);
            }
            FromWorker::LostPeer { epoch, worker: peer, error } => {
                Say::LostPeer(v1::LostPeer { worker, epoch, peer, error })
            }
            FromWorker::Waiting { epoch, workers } => {
                Say::Waiting(v1::Waiting { worker, epoch, for_workers: workers })
            }
            FromWorker::Checkpoint { epoch, iteration, path } => {
                Say::Checkpoint(v1::CheckpointWritten { worker, epoch, iteration, path })
            }
            FromWorker::Done { epoch, iteration, weights_file, weights_sha256 } => {
                Say::Done(v1::TaskDone {
                    worker,
                    epoch,
                    iteration,
                    weights_file: weights_file.unwrap_or_default(),
                    weights_sha256: weights_sha256.unwrap_or_default(),
                })
            }
        };
        self.say(said);
    }
}
