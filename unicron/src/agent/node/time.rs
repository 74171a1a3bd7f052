//! What time brings: heartbeats, leases, steps that take too long, silence.

use super::{LOOK_S, Local, Node, Say};
use crate::agent::{proc_stat, watch};
use crate::proto::v1;
use crate::worker::protocol::ToWorker;
use std::path::Path;

impl Node {
    /// Time has passed.
    pub(super) fn tick(&mut self) {
        let now_s = self.now_s();
        if self.fence.has_ended(now_s) {
            self.stop_for_the_lease();
        }
        if self.session.is_some() && now_s >= self.next_heartbeat_s {
            self.next_heartbeat_s = now_s + self.lease_s / 5.0;
            self.sequence += 1;
            self.fence.sent(self.sequence, now_s);
            self.say(Say::Heartbeat(v1::Heartbeat { sequence: self.sequence }));
        }
        if now_s >= self.next_lease_s {
            self.renew_leases();
        }
        let looks = now_s >= self.next_look_s;
        if looks {
            self.next_look_s = now_s + LOOK_S;
            self.close_stores();
        }
        let hangs = self.workers.iter_mut().filter(|(_, local)| !local.is_ending);
        let hangs: Vec<_> = hangs
            .filter_map(|(&worker, local)| {
                let hang = local.hang(now_s, looks)?;
                Some((worker, process_state(local.pid), hang))
            })
            .collect();
        for (worker, process_state, hang) in hangs {
            let watch::Hang { epoch, iteration, since_s, usual_s } = hang;
            let hung = v1::Hung { worker, epoch, iteration, since_s, usual_s, process_state };
            self.say(Say::Hung(hung));
        }
    }

    /// Tells workers how long they may go on, in case the agent itself is stopped.
    pub(super) fn renew_leases(&mut self) {
        let now_s = self.now_s();
        self.next_lease_s = now_s + self.lease_s / 8.0;
        let Some(left_s) = self.fence.left_s(now_s) else { return };
        for local in self.workers.values() {
            local.socket.say(ToWorker::Lease { seconds: Some(left_s) });
        }
    }

    /// The coordinator may hand on what is done here.
    fn stop_for_the_lease(&mut self) {
        self.wanted = None;
        if self.workers.is_empty() {
            return;
        }
        self.notice("no word from a coordinator; workers are stopped before the lease ends".into());
        for local in self.workers.values_mut() {
            local.is_ending = true;
            if let Some(process) = &local.process {
                process.kill();
            }
        }
        self.workers.retain(|_, local| local.process.is_some());
    }
}

impl Local {
    /// Whether it hangs: its step takes too long, its process is stopped, or it is silent where its owner
    /// says that it mustn't be.
    fn hang(&mut self, now_s: f64, looks: bool) -> Option<watch::Hang> {
        let watch = self.watch.as_mut()?;
        if looks {
            watch.looked(now_s, process_state(self.pid).starts_with(['T', 't']));
        }
        let silent_s = self.silence.as_mut().and_then(|silence| silence.hang_s(now_s, self.pid));
        let of_silence = silent_s.map(|since_s| watch::Hang {
            epoch: self.epoch,
            iteration: 0,
            since_s,
            usual_s: 0.0,
        });
        watch.hang(now_s).or(of_silence)
    }
}

/// The letter of a process's state; empty if nobody knows.
fn process_state(pid: u32) -> String {
    let stat = proc_stat::read(Path::new(&format!("/proc/{pid}")));
    stat.map_or(String::new(), |stat| stat.state.to_string())
}
