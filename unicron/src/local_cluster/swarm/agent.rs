//! An agent that is made up: real towards the coordinator, without processes.

use super::{Shared, View};
use crate::agent::fence::Fence;
use crate::agent::session::{self, Incoming};
use crate::proto::v1::{self, FromAgent, from_agent::Message as Say, to_agent};
use crate::rpc::Endpoints;
use crate::wall_clock::wall_ms;
use crate::worker::protocol::PROTOCOL;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What a swarm's owner wants of an agent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// Its worker dies.
    Kill,
}

/// Messages that wait for the coordinator.
const MOST_WAITING: usize = 256;

/// Messages that an agent has received and not read yet. A slow one has no such room, so that it is the
/// coordinator that has to wait.
const ROOM: usize = 64;

/// The exit code of a process that was killed.
const KILLED: i32 = 137;

/// A process that there isn't.
#[derive(Debug, Clone, Copy)]
struct Worker {
    ready_at: Instant,
    is_ready: bool,
    epoch: u64,
    /// The last iteration that it has committed.
    committed: u64,
    commit_at: Option<Instant>,
}

pub(super) struct Agent {
    index: usize,
    is_slow: bool,
    shared: Arc<Shared>,
    session: Option<mpsc::Sender<FromAgent>>,
    /// Held until there is a first welcome.
    turn: Option<OwnedSemaphorePermit>,
    is_welcome: bool,
    fence: Fence,
    lease_s: f64,
    greeted_s: f64,
    next_heartbeat: Instant,
    sequence: u64,
    unanswered: VecDeque<(u64, Instant)>,
    version: u64,
    workers: BTreeMap<u64, Worker>,
    task: String,
}

impl Agent {
    pub fn new(index: usize, is_slow: bool, shared: Arc<Shared>) -> Self {
        Self {
            index,
            is_slow,
            session: None,
            turn: None,
            is_welcome: false,
            fence: Fence::default(),
            lease_s: 4.0,
            greeted_s: 0.0,
            next_heartbeat: shared.began,
            sequence: 0,
            unanswered: VecDeque::new(),
            version: 0,
            workers: BTreeMap::new(),
            task: String::new(),
            shared,
        }
    }

    /// Attends until the swarm is dropped.
    pub async fn run(mut self, endpoints: Endpoints, mut orders: mpsc::UnboundedReceiver<Order>) {
        // Nobody closes it.
        self.turn = Arc::clone(&self.shared.connecting).acquire_owned().await.ok();
        let room = if self.is_slow { 1 } else { ROOM };
        let (incoming, mut comes) = mpsc::channel(room);
        let attending = session::attend(endpoints, incoming);
        tokio::pin!(attending);
        let mut read_at = Instant::now();
        loop {
            let due = self.due();
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Kill) => self.kill(),
                    None => return,
                },
                () = &mut attending => return,
                Some(what) = read(&mut comes, read_at) => {
                    if self.is_slow {
                        read_at = Instant::now() + self.shared.options.slow_pause;
                    }
                    self.come(what);
                }
                () = tokio::time::sleep_until(due.into()) => self.act(),
            }
        }
    }

    fn now_s(&self) -> f64 {
        self.shared.began.elapsed().as_secs_f64()
    }

    fn say(&self, message: Say) {
        if let Some(session) = &self.session {
            // A connection that takes nothing more is about to end.
            let _ = session.try_send(FromAgent { message: Some(message) });
        }
    }

    fn come(&mut self, what: Incoming) {
        match what {
            Incoming::Connecting(answer) => {
                let (sender, receiver) = mpsc::channel(MOST_WAITING);
                self.greeted_s = self.now_s();
                if answer.send((self.hello(), receiver)).is_ok() {
                    (self.session, self.is_welcome) = (Some(sender), false);
                }
            }
            Incoming::Message(message) => self.told(message),
            Incoming::Gone => (self.session, self.is_welcome) = (None, false),
            Incoming::NobodyLeads(asked) => {
                let asked_s = asked.duration_since(self.shared.began).as_secs_f64();
                self.fence.nobody_leads(asked_s);
            }
            Incoming::Problem(_) => {}
        }
    }

    fn hello(&self) -> v1::Hello {
        let running = self.workers.iter().map(|(&worker, known)| v1::RunningWorker {
            worker,
            task: self.task.clone(),
            stage: 0,
            pid: pid(worker),
            address: if known.is_ready { address(worker) } else { String::new() },
            fingerprint: String::new(),
        });
        v1::Hello {
            protocol: PROTOCOL,
            node: format!("swarm-{}", self.index),
            incarnation: format!("{}-{}", std::process::id(), self.index),
            slots: 1,
            host: "127.0.0.1".to_owned(),
            workers: running.collect(),
            gpus: Vec::new(),
        }
    }

    fn told(&mut self, message: to_agent::Message) {
        match message {
            to_agent::Message::Welcome(welcome) => {
                self.lease_s = welcome.lease_s;
                self.fence.welcomed(self.greeted_s, welcome.lease_s);
                (self.turn, self.is_welcome, self.next_heartbeat) = (None, true, Instant::now());
                self.unanswered.clear();
                self.shared.welcomes.fetch_add(1, Ordering::Relaxed);
            }
            to_agent::Message::Heartbeat(heartbeat) => {
                self.fence.answered(heartbeat.sequence);
                while let Some(&(sequence, sent)) = self.unanswered.front() {
                    if sequence > heartbeat.sequence {
                        break;
                    }
                    self.unanswered.pop_front();
                    let took_us = sent.elapsed().as_micros() as u64;
                    self.shared.slowest_answer_us.fetch_max(took_us, Ordering::Relaxed);
                }
            }
            to_agent::Message::State(state) => {
                self.shared.states.fetch_add(1, Ordering::Relaxed);
                self.say(Say::StateSeen(v1::StateSeen { version: state.version }));
                if state.version > self.version {
                    self.version = state.version;
                    self.reconcile(&state);
                }
            }
            to_agent::Message::Refused(_)
            | to_agent::Message::Checkpoint(_)
            | to_agent::Message::LogRequest(_) => {}
        }
    }

    fn reconcile(&mut self, state: &v1::NodeState) {
        let now = Instant::now();
        let is_wanted = |number: u64| state.workers.iter().any(|wanted| wanted.worker == number);
        self.workers.retain(|number, _| is_wanted(*number));
        for wanted in &state.workers {
            self.task.clone_from(&wanted.task);
            if self.workers.contains_key(&wanted.worker) {
                continue;
            }
            let ready_at = now + self.shared.options.start;
            let (is_ready, epoch, committed, commit_at) = (false, 0, 0, None);
            let worker = Worker { ready_at, is_ready, epoch, committed, commit_at };
            self.workers.insert(wanted.worker, worker);
            let (worker, pid) = (wanted.worker, pid(wanted.worker));
            self.say(Say::Started(v1::WorkerStarted { worker, pid }));
        }
        for group in &state.groups {
            self.join(group);
            self.look(group);
        }
    }

    /// Workers that are members begin an iteration in it.
    fn join(&mut self, group: &v1::Group) {
        let (began, pace) = (self.shared.began, self.shared.options.pace);
        for member in &group.members {
            let Some(worker) = self.workers.get_mut(&member.worker) else { continue };
            if worker.epoch < group.epoch {
                worker.epoch = group.epoch;
                worker.commit_at = Some(next(began, pace, group.epoch, Instant::now()));
            }
        }
    }

    /// The swarm's owner sees what the agent was told.
    fn look(&self, group: &v1::Group) {
        let view = &self.shared.views[self.index];
        let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.epoch != group.epoch {
            let (task, is_slow) = (group.task.clone(), self.is_slow);
            *view = View { task, epoch: group.epoch, since: Some(Instant::now()), is_slow };
        }
    }

    /// When there is something to do without being told.
    fn due(&self) -> Instant {
        let of_workers = self.workers.values().filter_map(|worker| match worker.is_ready {
            false => Some(worker.ready_at),
            true => worker.commit_at,
        });
        of_workers.fold(self.next_heartbeat, Instant::min)
    }

    fn act(&mut self) {
        let now = Instant::now();
        if now >= self.next_heartbeat {
            self.next_heartbeat = now + Duration::from_secs_f64(self.lease_s / 5.0);
            self.beat(now);
        }
        let shared = Arc::clone(&self.shared);
        let mut said = Vec::new();
        for (&number, worker) in &mut self.workers {
            if !worker.is_ready && now >= worker.ready_at {
                worker.is_ready = true;
                let address = address(number);
                let fingerprint = String::new();
                said.push(Say::Ready(v1::WorkerReady { worker: number, address, fingerprint }));
            }
            if worker.commit_at.is_some_and(|at| now >= at) {
                let pace = shared.options.pace;
                worker.commit_at = Some(next(shared.began, pace, worker.epoch, now));
                let iteration = iteration(shared.began, pace, worker.epoch, now);
                if iteration > worker.committed {
                    worker.committed = iteration;
                    said.push(Say::Committed(v1::Committed {
                        worker: number,
                        epoch: worker.epoch,
                        iteration,
                        ..v1::Committed::default()
                    }));
                }
            }
        }
        said.into_iter().for_each(|message| self.say(message));
    }

    fn beat(&mut self, now: Instant) {
        let now_s = self.now_s();
        if self.fence.has_ended(now_s) {
            self.shared.leases_ended.fetch_add(1, Ordering::Relaxed);
        }
        if self.is_welcome {
            self.sequence += 1;
            self.fence.sent(self.sequence, now_s);
            self.unanswered.push_back((self.sequence, now));
            self.say(Say::Heartbeat(v1::Heartbeat { sequence: self.sequence }));
        }
    }

    fn kill(&mut self) {
        if let Some((worker, _)) = self.workers.pop_first() {
            self.say(Say::Ended(v1::WorkerEnded {
                worker,
                code: Some(KILLED),
                problem: String::new(),
                at_ms: wall_ms(),
                last_lines: Vec::new(),
            }));
        }
    }
}

/// The next of what comes, read not before then.
async fn read(comes: &mut mpsc::Receiver<Incoming>, not_before: Instant) -> Option<Incoming> {
    tokio::time::sleep_until(not_before.into()).await;
    comes.recv().await
}

/// Nobody listens there.
fn address(worker: u64) -> String {
    format!("127.0.0.1:{}", 10_000 + worker % 50_000)
}

/// A number that could be a process's.
fn pid(worker: u64) -> u32 {
    1 + (worker % 4_000_000) as u32
}

/// When the members of a group commit: all together, and each group at another moment.
fn phase(pace: Duration, epoch: u64) -> Duration {
    pace.mul_f64((epoch % 64) as f64 / 64.0)
}

fn iteration(began: Instant, pace: Duration, epoch: u64, now: Instant) -> u64 {
    let since = now.saturating_duration_since(began + phase(pace, epoch));
    (since.as_secs_f64() / pace.as_secs_f64()) as u64
}

fn next(began: Instant, pace: Duration, epoch: u64, now: Instant) -> Instant {
    let count = 1 + iteration(began, pace, epoch, now);
    began + phase(pace, epoch) + pace.mul_f64(count as f64)
}
