//! How long a worker's steps take, and when one has taken too long.

use super::proc_stat;
use crate::detect::{Monitor, MonitorSettings, StepKind};
use crate::worker::protocol::FromWorker;
use std::collections::BTreeMap;
use std::time::Duration;

/// A worker's steps, as it tells of them.
#[derive(Debug, Clone)]
pub struct Watch {
    monitor: Monitor,
    /// Of its group.
    members: usize,
    /// What is usual in groups of other sizes that it was in.
    others: BTreeMap<usize, Monitor>,
    /// The running step: epoch, iteration, and when it began.
    running: Option<(u64, u64, f64)>,
    is_told: bool,
    usual_s: f64,
    /// Since when its process is stopped.
    stopped_s: Option<f64>,
}

/// A step that takes too long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hang {
    /// The group's.
    pub epoch: u64,
    /// The iteration that runs.
    pub iteration: u64,
    /// How long it has run, in seconds.
    pub since_s: f64,
    /// How long the last one took, in seconds.
    pub usual_s: f64,
}

/// Silence of a worker that says nothing of what it does: neither output nor work.
#[derive(Debug, Clone)]
pub struct Silence {
    most_s: f64,
    since_s: f64,
    looked_s: f64,
    cpu: Duration,
    is_told: bool,
}

/// How often it is looked what processes have used, in seconds.
const LOOK_S: f64 = 1.0;

/// A process that does nothing still looks after its timers: a hundredth of a core is no work.
const NO_WORK: f64 = 0.01;

impl Silence {
    /// Of a worker that begins now; `None` where silence, however long, is no hang.
    #[must_use]
    pub fn new(now_s: f64, most_s: f64) -> Option<Self> {
        let begun =
            Self { most_s, since_s: now_s, looked_s: now_s, cpu: Duration::ZERO, is_told: false };
        (most_s > 0.0).then_some(begun)
    }

    /// It has written something.
    pub fn broken(&mut self, now_s: f64) {
        self.since_s = now_s;
    }

    /// How long it has lasted, once it is a hang; told once.
    pub(crate) fn hang_s(&mut self, now_s: f64, pid: u32) -> Option<f64> {
        let passed_s = now_s - self.looked_s;
        if passed_s >= LOOK_S && pid != 0 {
            self.looked_s = now_s;
            self.looked(now_s, passed_s, proc_stat::cpu_of_tree(pid));
        }
        let silent_s = now_s - self.since_s;
        let is_news = silent_s >= self.most_s && !self.is_told;
        self.is_told |= is_news;
        is_news.then_some(silent_s)
    }

    fn looked(&mut self, now_s: f64, passed_s: f64, cpu: Duration) {
        // What a process has used is gone with it.
        let used = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        if used.as_secs_f64() > NO_WORK * passed_s {
            self.since_s = now_s;
        }
    }
}

/// Bounds of the monitor in a live cluster.
#[must_use]
pub fn settings() -> MonitorSettings {
    MonitorSettings {
        // Three times half a second: shorter iterations are told no sooner, as a busy machine's pauses
        // are as long.
        floor_s: 1.5,
        // What a worker does first (loading, compiling, joining a group) takes minutes, not half hours.
        first_s: 600.0,
        ..MonitorSettings::default()
    }
}

/// A process that is stopped for so many seconds isn't about to go on.
const STOPPED_S: f64 = 1.5;

/// Joining a group may take so many usual iterations: connections, and the state of a newcomer.
const JOINING: f64 = 10.0;

impl Watch {
    /// Of a worker that has done nothing yet.
    #[must_use]
    pub fn new(settings: MonitorSettings) -> Option<Self> {
        let monitor = Monitor::new(settings).ok()?;
        Some(Self {
            monitor,
            members: 0,
            others: BTreeMap::new(),
            running: None,
            is_told: false,
            usual_s: 0.0,
            stopped_s: None,
        })
    }

    /// Of a worker that takes the place of another: how long steps take isn't learned anew.
    #[must_use]
    pub fn of_successor(&self) -> Self {
        let mut successor = self.clone();
        successor.pause();
        Self { is_told: false, stopped_s: None, ..successor }
    }

    /// The worker has said something.
    pub fn heard(&mut self, now_s: f64, message: &FromWorker) {
        match message {
            FromWorker::Iteration { epoch, iteration, kind } => {
                self.monitor.begin(now_s, *kind, 1.0);
                self.begin(*epoch, *iteration, now_s);
            }
            FromWorker::Committed { epoch, iteration, .. } => {
                if let Some((_, _, began_s)) = self.running {
                    self.usual_s = now_s - began_s;
                }
                self.monitor.end(now_s);
                self.begin(*epoch, iteration + 1, now_s);
            }
            FromWorker::Done { .. } => {
                self.monitor.pause();
                self.running = None;
            }
            _ => {}
        }
    }

    /// It works in another group from now on. Joining isn't an iteration, and is not recorded as one: the
    /// next iteration begins before it has ended. With more or fewer members each has less or more to do: what
    /// is usual then is learned anew, or known from before.
    pub fn regrouped(&mut self, now_s: f64, epoch: u64, members: usize) {
        if members != self.members && self.members > 0 {
            let known = self.others.remove(&members);
            let next = known.unwrap_or_else(|| {
                let mut next = self.monitor.clone();
                next.relearn();
                next
            });
            let before = std::mem::replace(&mut self.monitor, next);
            self.others.insert(self.members, before);
        }
        self.members = members;
        self.monitor.begin(now_s, StepKind::Train, JOINING);
        self.begin(epoch, 0, now_s);
    }

    /// Nobody expects a step of it.
    pub fn pause(&mut self) {
        self.monitor.pause();
        self.running = None;
    }

    /// Somebody has looked whether its process is stopped: it does nothing then, however long its step may
    /// take.
    pub fn looked(&mut self, now_s: f64, is_stopped: bool) {
        match is_stopped {
            true => _ = self.stopped_s.get_or_insert(now_s),
            false => self.stopped_s = None,
        }
    }

    fn begin(&mut self, epoch: u64, iteration: u64, now_s: f64) {
        self.running = Some((epoch, iteration, now_s));
        self.is_told = false;
    }

    /// A hang, told once a step.
    pub fn hang(&mut self, now_s: f64) -> Option<Hang> {
        let (epoch, iteration, began_s) = self.running?;
        let is_stopped = self.stopped_s.is_some_and(|since_s| now_s >= since_s + STOPPED_S);
        if self.is_told || !(is_stopped || self.monitor.hang(now_s).is_some()) {
            return None;
        }
        self.is_told = true;
        Some(Hang { epoch, iteration, since_s: now_s - began_s, usual_s: self.usual_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_three_times_the_usual_is_a_hang_and_told_once() {
        let mut watch = Watch::new(settings()).unwrap();
        let mut now_s = 0.0;
        for iteration in 1..=40 {
            let kind = StepKind::Train;
            watch.heard(now_s, &FromWorker::Iteration { epoch: 1, iteration, kind });
            now_s += 0.6 + 0.01 * (iteration % 3) as f64;
            let redone = Default::default();
            let committed = FromWorker::Committed { epoch: 1, iteration, loss: None, redone };
            watch.heard(now_s, &committed);
            assert_eq!(watch.hang(now_s), None);
        }
        assert_eq!(watch.hang(now_s + 1.7), None);
        let hang = watch.hang(now_s + 2.0).unwrap();
        assert_eq!((hang.epoch, hang.iteration), (1, 41));
        assert_eq!(watch.hang(now_s + 3.0), None, "told");
        watch.regrouped(now_s, 2, 2);
        assert_eq!(watch.hang(now_s + 17.0), None, "newcomers get their state");
        assert_eq!(watch.hang(now_s + 20.0).unwrap().epoch, 2);
        watch.pause();
        assert_eq!(watch.hang(now_s + 1e6), None);
    }

    #[test]
    fn silence_is_neither_output_nor_work() {
        assert!(Silence::new(0.0, 0.0).is_none());
        let mut silence = Silence::new(0.0, 10.0).unwrap();
        silence.looked(1.0, 1.0, Duration::from_secs(1));
        silence.looked(2.0, 1.0, Duration::from_millis(1005));
        assert_eq!(silence.hang_s(10.9, 0), None);
        silence.broken(5.0);
        assert_eq!(silence.hang_s(14.9, 0), None);
        assert_eq!(silence.hang_s(15.0, 0), Some(10.0));
        assert_eq!(silence.hang_s(16.0, 0), None, "told");
    }

    #[test]
    fn fewer_members_may_take_longer_and_a_successor_learns_nothing_anew() {
        let steps = |watch: &mut Watch, now_s: &mut f64, seconds: f64, count: u64| {
            for iteration in 0..count {
                let kind = StepKind::Train;
                watch.heard(*now_s, &FromWorker::Iteration { epoch: 1, iteration, kind });
                *now_s += seconds;
                assert_eq!(watch.hang(*now_s), None, "{iteration}");
                let redone = Default::default();
                let committed = FromWorker::Committed { epoch: 1, iteration, loss: None, redone };
                watch.heard(*now_s, &committed);
            }
        };
        let (mut watch, mut now_s) = (Watch::new(settings()).unwrap(), 0.0);
        watch.regrouped(now_s, 1, 4);
        steps(&mut watch, &mut now_s, 1.0, 40);
        watch.regrouped(now_s, 2, 1);
        steps(&mut watch, &mut now_s, 4.0, 40);
        let mut successor = watch.of_successor();
        successor.regrouped(now_s, 3, 1);
        steps(&mut successor, &mut now_s, 4.0, 1);
        assert_eq!(successor.hang(now_s + 11.9), None);
        assert!(successor.hang(now_s + 12.1).is_some());
        watch.regrouped(now_s, 4, 4);
        steps(&mut watch, &mut now_s, 1.0, 1);
        assert_eq!(watch.hang(now_s + 2.9), None);
        assert!(watch.hang(now_s + 3.1).is_some(), "four are known");
    }

    #[test]
    fn a_stopped_process_hangs_whatever_its_step_may_take() {
        let mut watch = Watch::new(settings()).unwrap();
        watch.regrouped(0.0, 1, 1);
        watch.looked(1.0, true);
        assert_eq!(watch.hang(2.0), None);
        watch.looked(2.0, false);
        watch.looked(2.1, true);
        assert_eq!(watch.hang(3.0), None);
        assert_eq!(watch.hang(3.6).unwrap().epoch, 1);
    }
}
