//! A node's agent: what it is told to have, what it has, and what it tells.

use super::cgroup;
use super::fence::Fence;
use super::local::{Heard, Socket};
use super::process::{Launch, MOST_LINE_BYTES, Occurrence, Process, Tail};
use super::session::{self, Incoming};
use super::watch::{self, Watch};
use super::{HealthCheck, kernel_log, proc_stat, signs};
use crate::detect::{Finding, LogReader, Role, Status};
use crate::proto::v1::{self, FromAgent, from_agent::Message as Say, to_agent};
use crate::rpc::Endpoints;
use crate::wall_clock::wall_ms;
use crate::worker::protocol::{FromWorker, Group, PROTOCOL, ToWorker, env};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// What a person may set of an agent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name.
    pub node: String,
    /// Workers that it can have.
    pub slots: usize,
    /// Where other nodes reach its workers.
    pub host: String,
    /// For people.
    pub gpus: Vec<String>,
    /// The program `unicron`, for guardians and the reference trainer.
    pub program: PathBuf,
    /// A folder for sockets, the agent's own.
    pub folder: PathBuf,
    /// The same in every process that is started.
    pub run_id: String,
    /// Of this start.
    pub incarnation: String,
    /// How long a worker may take to end before it is killed.
    pub grace: Duration,
    /// The node's health.
    pub health: Option<HealthCheck>,
    /// The kernel's log.
    pub kernel_log: PathBuf,
}

/// A worker on this node.
struct Local {
    task: String,
    stage: u32,
    process: Process,
    socket: Socket,
    pid: u32,
    address: String,
    fingerprint: String,
    /// Epoch of the group that it was last told of.
    epoch: u64,
    tail: Tail,
    log: LogReader,
    watch: Option<Watch>,
    /// It was told to end.
    is_ending: bool,
}

/// How often time is looked at: hangs and leases are noticed so late at most.
const TICK: Duration = Duration::from_millis(50);

/// How often the states of processes are looked at, in seconds.
const LOOK_S: f64 = 0.25;

/// Messages that wait for the coordinator. Beyond, it doesn't keep up, and is asked anew.
const MOST_WAITING: usize = 4096;

/// Lines that go with a failure.
const LINES_OF_A_FAILURE: usize = 20;

struct Node {
    settings: Settings,
    began: Instant,
    workers: BTreeMap<u64, Local>,
    /// Of workers that have ended, by task, for those that take their places.
    watches: BTreeMap<String, Watch>,
    /// What the coordinator wants, newest.
    wanted: Option<v1::NodeState>,
    fence: Fence,
    lease_s: f64,
    greeted_s: f64,
    session: Option<mpsc::Sender<FromAgent>>,
    /// The session that has greeted and isn't welcomed yet. Nothing is said in it before what waits is.
    greeting: Option<mpsc::Sender<FromAgent>>,
    /// What couldn't be said for want of a session.
    unsaid: Vec<Say>,
    sequence: u64,
    next_heartbeat_s: f64,
    next_lease_s: f64,
    next_look_s: f64,
    occurrences: UnboundedSender<(u64, Occurrence)>,
    heard: UnboundedSender<(u64, Heard)>,
    /// For people.
    notices: UnboundedSender<String>,
}

/// Attends until `shutdown`; then ends its workers. What a person may want to know goes to `notices`.
///
/// # Errors
/// If the folder for sockets can't be made.
pub async fn run(
    settings: Settings,
    endpoints: Endpoints,
    shutdown: impl Future<Output = ()>,
    notices: UnboundedSender<String>,
) -> Result<()> {
    make_private(&settings.folder)?;
    cgroup::end_leftovers().await;
    let (occurrences, mut occurred) = mpsc::unbounded_channel();
    let (heard, mut hears) = mpsc::unbounded_channel();
    let (incoming, mut comes) = mpsc::channel(256);
    let (checks, mut health) = mpsc::unbounded_channel();
    if let Some(check) = settings.health.clone() {
        tokio::spawn(check.run(checks));
    }
    let (kernel, mut says) = mpsc::unbounded_channel();
    if !kernel_log::follow(&settings.kernel_log, kernel) {
        // Nobody listens when the agent ends.
        let _ = notices.send(format!("{} can't be read", settings.kernel_log.display()));
    }
    let attending = tokio::spawn(session::attend(endpoints, incoming));
    let folder = settings.folder.clone();
    let mut node = Node::new(settings, occurrences, heard, notices);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            // What has happened comes before what is to be done about it.
            biased;
            () = &mut shutdown => break,
            Some((worker, what)) = hears.recv() => node.hear(worker, what),
            Some((worker, what)) = occurred.recv() => node.occur(worker, what),
            Some(what) = comes.recv() => node.come(what),
            Some((finding, text)) = says.recv() => node.tell(0, finding, text, Vec::new()),
            Some(health) = health.recv() => node.say(Say::Health(health)),
            _ = tick.tick() => node.tick(),
        }
    }
    attending.abort();
    node.end_all(&mut occurred).await;
    // A folder that is gone needs no removing.
    let _ = std::fs::remove_dir_all(folder);
    Ok(())
}

/// A folder that only its owner may enter: whoever can open a socket in it is trusted.
fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).map_err(Error::io(folder))
}

impl Node {
    fn new(
        settings: Settings,
        occurrences: UnboundedSender<(u64, Occurrence)>,
        heard: UnboundedSender<(u64, Heard)>,
        notices: UnboundedSender<String>,
    ) -> Self {
        Self {
            settings,
            began: Instant::now(),
            workers: BTreeMap::new(),
            watches: BTreeMap::new(),
            wanted: None,
            fence: Fence::default(),
            lease_s: 4.0,
            greeted_s: 0.0,
            session: None,
            greeting: None,
            unsaid: Vec::new(),
            sequence: 0,
            next_heartbeat_s: 0.0,
            next_lease_s: 0.0,
            next_look_s: 0.0,
            occurrences,
            heard,
            notices,
        }
    }

    fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn notice(&self, text: String) {
        // Nobody listens when the agent ends.
        let _ = self.notices.send(text);
    }

    /// Tells the coordinator, now or when there is one.
    fn say(&mut self, message: Say) {
        let Some(session) = &self.session else {
            if self.unsaid.len() < MOST_WAITING {
                self.unsaid.push(message);
            }
            return;
        };
        let sent = session.try_send(FromAgent { message: Some(message) });
        if let Err(error) = sent {
            let (mpsc::error::TrySendError::Full(message)
            | mpsc::error::TrySendError::Closed(message)) = error;
            self.session = None;
            self.unsaid.extend(message.message);
        }
    }

    /// Something of the coordinator.
    fn come(&mut self, what: Incoming) {
        match what {
            Incoming::Connecting(answer) => {
                let (sender, receiver) = mpsc::channel(MOST_WAITING);
                self.greeted_s = self.now_s();
                if answer.send((self.hello(), receiver)).is_ok() {
                    self.session = None;
                    self.greeting = Some(sender);
                }
            }
            Incoming::Message(message) => self.told(message),
            Incoming::Gone => (self.session, self.greeting) = (None, None),
            Incoming::NobodyLeads(asked) => {
                let asked_s = asked.duration_since(self.began).as_secs_f64();
                self.fence.nobody_leads(asked_s);
                self.renew_leases();
            }
            Incoming::Problem(problem) => self.notice(problem),
        }
    }

    fn hello(&self) -> v1::Hello {
        let running = self.workers.iter().filter(|(_, local)| !local.is_ending);
        let running = running.map(|(&worker, local)| v1::RunningWorker {
            worker,
            task: local.task.clone(),
            stage: local.stage,
            pid: local.pid,
            address: local.address.clone(),
            fingerprint: local.fingerprint.clone(),
        });
        v1::Hello {
            protocol: PROTOCOL,
            node: self.settings.node.clone(),
            incarnation: self.settings.incarnation.clone(),
            slots: u32::try_from(self.settings.slots).unwrap_or(u32::MAX),
            host: self.settings.host.clone(),
            workers: running.collect(),
            gpus: self.settings.gpus.clone(),
        }
    }

    fn told(&mut self, message: to_agent::Message) {
        match message {
            to_agent::Message::Welcome(welcome) => {
                self.lease_s = welcome.lease_s;
                self.fence.welcomed(self.greeted_s, welcome.lease_s);
                self.next_heartbeat_s = 0.0;
                self.session = self.greeting.take();
                self.notice(format!("attends; the coordinator leads in term {}", welcome.term));
                for message in std::mem::take(&mut self.unsaid) {
                    self.say(message);
                }
                self.renew_leases();
            }
            to_agent::Message::Refused(_) => {}
            to_agent::Message::Heartbeat(heartbeat) => {
                self.fence.answered(heartbeat.sequence);
                self.renew_leases();
            }
            to_agent::Message::State(state) => {
                let version = state.version;
                if self.wanted.as_ref().is_none_or(|old| old.version < version) {
                    self.wanted = Some(state);
                    self.reconcile();
                }
                self.say(Say::StateSeen(v1::StateSeen { version }));
            }
            to_agent::Message::Checkpoint(answer) => self.checkpoint_answered(answer),
            to_agent::Message::LogRequest(request) => self.tell_logs(&request),
        }
    }

    fn checkpoint_answered(&mut self, answer: v1::CheckpointAnswer) {
        let Some(local) = self.workers.get(&answer.worker) else { return };
        local.socket.say(match answer.refused.is_empty() {
            true => ToWorker::CheckpointCommitted { iteration: answer.iteration },
            false => ToWorker::Refused { what: "checkpoint".to_owned(), reason: answer.refused },
        });
    }

    fn tell_logs(&mut self, request: &v1::LogRequest) {
        let of_task = self.workers.iter().filter(|(_, local)| local.task == request.task);
        let logs = of_task.map(|(&worker, local)| v1::WorkerLog {
            worker,
            lines: local.tail.last(request.lines as usize),
        });
        let tail = v1::LogTail { request: request.request, logs: logs.collect() };
        self.say(Say::LogTail(tail));
    }

    /// Starts what is wanted, ends what isn't, and tells workers of their groups.
    fn reconcile(&mut self) {
        let Some(wanted) = self.wanted.take() else { return };
        let grace = self.settings.grace;
        for (number, local) in &mut self.workers {
            let is_wanted = wanted.workers.iter().any(|worker| worker.worker == *number);
            if !is_wanted && !local.is_ending {
                local.is_ending = true;
                local.socket.say(ToWorker::Stop { reason: "it isn't wanted any more".to_owned() });
                local.process.terminate(grace);
                if let Some(watch) = &mut local.watch {
                    watch.pause();
                }
            }
        }
        for worker in &wanted.workers {
            if !self.workers.contains_key(&worker.worker) {
                self.start(worker);
            }
        }
        for group in &wanted.groups {
            self.tell_group(group);
        }
        self.watches.retain(|task, _| wanted.workers.iter().any(|worker| worker.task == *task));
        self.wanted = Some(wanted);
    }

    fn tell_group(&mut self, group: &v1::Group) {
        let now_s = self.now_s();
        let message = Group::from(group);
        for member in &message.members {
            let Some(local) = self.workers.get_mut(&member.worker) else { continue };
            if local.epoch < message.epoch && !local.is_ending {
                local.epoch = message.epoch;
                local.socket.say(ToWorker::Group(message.clone()));
                if let Some(watch) = &mut local.watch {
                    watch.regrouped(now_s, message.epoch, message.members.len());
                }
            }
        }
    }

    fn start(&mut self, wanted: &v1::WantedWorker) {
        let worker = wanted.worker;
        let path = self.settings.folder.join(format!("{worker:x}.sock"));
        let socket = match Socket::open(&path, worker, self.heard.clone()) {
            Ok(socket) => socket,
            Err(error) => {
                let problem = format!("{}: {error}", path.display());
                return self.never_started(worker, problem);
            }
        };
        let launch = self.launch(wanted, &path);
        let program = &self.settings.program;
        let process = Process::start(worker, program, launch, self.occurrences.clone());
        socket.say(ToWorker::Welcome {
            protocol: PROTOCOL,
            task: wanted.task.clone(),
            lease_s: self.lease_s,
        });
        if let Some(left_s) = self.fence.left_s(self.now_s()) {
            socket.say(ToWorker::Lease { seconds: Some(left_s) });
        }
        let local = Local {
            task: wanted.task.clone(),
            stage: wanted.stage,
            process,
            socket,
            pid: 0,
            address: String::new(),
            fingerprint: String::new(),
            epoch: 0,
            tail: Tail::default(),
            log: LogReader::new(),
            watch: self.watch_of(&wanted.task),
            is_ending: false,
        };
        self.workers.insert(worker, local);
    }

    /// A new worker's watch knows what another of its task has learned.
    fn watch_of(&self, task: &str) -> Option<Watch> {
        let mut others = self.workers.values().filter(|local| local.task == task);
        let known = others.find_map(|local| local.watch.as_ref());
        let known = known.or_else(|| self.watches.get(task));
        known.map_or_else(|| Watch::new(watch::settings()), |watch| Some(watch.of_successor()))
    }

    fn launch(&self, wanted: &v1::WantedWorker, socket: &Path) -> Launch {
        let launch = wanted.launch.clone().unwrap_or_default();
        let mut command = launch.command;
        if launch.is_unicron {
            command.insert(0, self.settings.program.display().to_string());
        }
        let mut environment: BTreeMap<String, String> = launch.environment.into_iter().collect();
        let mut give = |name: &str, value: String| environment.insert(name.to_owned(), value);
        give(env::SOCKET, socket.display().to_string());
        give(env::WORKER, wanted.worker.to_string());
        give(env::TASK, wanted.task.clone());
        give(env::NODE, self.settings.node.clone());
        give(env::STAGE, wanted.stage.to_string());
        give(env::HOST, self.settings.host.clone());
        give(env::RUN_ID, self.settings.run_id.clone());
        Launch { command, environment }
    }

    fn never_started(&mut self, worker: u64, problem: String) {
        self.say(Say::Ended(v1::WorkerEnded {
            worker,
            code: None,
            problem,
            at_ms: wall_ms(),
            last_lines: Vec::new(),
        }));
    }

    /// Something of a process.
    fn occur(&mut self, worker: u64, what: Occurrence) {
        match what {
            Occurrence::Started { pid } => {
                if let Some(local) = self.workers.get_mut(&worker) {
                    local.pid = pid;
                    self.say(Say::Started(v1::WorkerStarted { worker, pid }));
                }
            }
            Occurrence::Line(line) => self.read_line(worker, line),
            Occurrence::Ended(code) => {
                let Some(mut local) = self.workers.remove(&worker) else { return };
                if let Some(watch) = local.watch.take() {
                    self.watches.insert(local.task.clone(), watch);
                }
                if !local.is_ending {
                    let last_lines = local.tail.last(LINES_OF_A_FAILURE);
                    let (problem, at_ms) = (String::new(), wall_ms());
                    let code = Some(code);
                    self.say(Say::Ended(v1::WorkerEnded {
                        worker,
                        code,
                        problem,
                        at_ms,
                        last_lines,
                    }));
                }
            }
            Occurrence::Failed(problem) => {
                self.workers.remove(&worker);
                self.never_started(worker, problem);
            }
        }
    }

    fn read_line(&mut self, worker: u64, line: String) {
        let Some(local) = self.workers.get_mut(&worker) else { return };
        let finding = local.log.read(&line).map(signs::line);
        local.tail.push(line.clone());
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
            Role::Root => local.tail.last(LINES_OF_A_FAILURE),
            _ => Vec::new(),
        };
        self.tell(worker, finding, text, last_lines);
    }

    /// Tells of something that was seen of a worker, or, with 0, of the node.
    fn tell(&mut self, worker: u64, finding: Finding, mut text: String, last_lines: Vec<String>) {
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

    /// Something that a worker says.
    fn hear(&mut self, worker: u64, what: Heard) {
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
                let finding = signs::exception(status, &message, &traceback);
                for line in traceback.lines() {
                    local.tail.push(line.to_owned());
                }
                return self.observe(worker, finding, message);
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

    /// Time has passed.
    fn tick(&mut self) {
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
        }
        let hangs = self.workers.iter_mut().filter(|(_, local)| !local.is_ending);
        let hangs: Vec<_> = hangs
            .filter_map(|(&worker, local)| {
                let watch = local.watch.as_mut()?;
                if looks {
                    watch.looked(now_s, process_state(local.pid).starts_with(['T', 't']));
                }
                let hang = watch.hang(now_s)?;
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
    fn renew_leases(&mut self) {
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
            local.process.kill();
        }
    }

    /// Ends all workers and waits until nothing of them is left.
    async fn end_all(&mut self, occurred: &mut UnboundedReceiver<(u64, Occurrence)>) {
        for local in self.workers.values() {
            local.socket.say(ToWorker::Stop { reason: "the agent ends".to_owned() });
            local.process.terminate(self.settings.grace);
        }
        while !self.workers.is_empty() {
            match occurred.recv().await {
                Some((worker, Occurrence::Ended(_) | Occurrence::Failed(_))) => {
                    self.workers.remove(&worker);
                }
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// The letter of a process's state; empty if nobody knows.
fn process_state(pid: u32) -> String {
    let stat = proc_stat::read(Path::new(&format!("/proc/{pid}")));
    stat.map_or(String::new(), |stat| stat.state.to_string())
}

#[cfg(test)]
mod tests;
