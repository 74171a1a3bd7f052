//! A node's agent: what it is told to have, what it has, and what it tells.
//!
//! | what | file |
//! |---|---|
//! | the loop, and the conversation with the coordinator | this |
//! | starting and ending workers, and the stores of their tasks | `workers` |
//! | what workers say and write | `hear` |
//! | what time brings | `time` |

mod hear;
mod time;
mod workers;

use super::cgroup;
use super::fence::Fence;
use super::local::{Heard, Socket};
use super::process::{Occurrence, Process, Tail};
use super::session::{self, Incoming};
use super::watch::{Silence, Watch};
use super::{HealthCheck, kernel_log};
use crate::detect::LogReader;
use crate::proto::v1::{self, FromAgent, from_agent::Message as Say, to_agent};
use crate::rpc::Endpoints;
use crate::worker::protocol::{PROTOCOL, ToWorker};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, UnboundedSender};
use workers::Store;

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
    /// Bytes that the store of a task may hold.
    pub store_bytes: usize,
    /// Whether the environment says how many threads a process has.
    pub sets_threads: bool,
    /// Where the output of workers goes, beside their logs.
    pub output: Option<UnboundedSender<Output>>,
}

/// A line that a worker has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its task.
    pub task: String,
    /// Its number.
    pub worker: u64,
    /// Its place in its group, once it has one.
    pub rank: Option<usize>,
    /// The line.
    pub line: String,
}

/// A worker on this node.
struct Local {
    task: String,
    stage: u32,
    launch: v1::Launch,
    /// None while it is held.
    process: Option<Process>,
    socket: Socket,
    pid: u32,
    address: String,
    fingerprint: String,
    /// Epoch of the group that it was last told of.
    epoch: u64,
    /// Its place in that group.
    rank: Option<usize>,
    tail: Tail,
    log: LogReader,
    watch: Option<Watch>,
    /// Where silence is a hang.
    silence: Option<Silence>,
    /// It was told to end.
    is_ending: bool,
}

/// How often time is looked at: hangs and leases are noticed so late at most.
const TICK: Duration = Duration::from_millis(50);

/// How often the states of processes are looked at, in seconds.
const LOOK_S: f64 = 0.25;

/// Messages that wait for the coordinator. Beyond, it doesn't keep up, and is asked anew.
const MOST_WAITING: usize = 4096;

/// Messages and lines of workers that wait for the agent; then the workers have to.
const MOST_HAPPENING: usize = 64;

/// Lines that go with a failure.
const LINES_OF_A_FAILURE: usize = 20;

struct Node {
    settings: Settings,
    began: Instant,
    workers: BTreeMap<u64, Local>,
    /// Workers that have ended while they were wanted: they are not started again, for they were wanted
    /// before anybody had heard of their end.
    ended: BTreeSet<u64>,
    /// Of workers that have ended, by task, for those that take their places.
    watches: BTreeMap<String, Watch>,
    /// By task.
    stores: BTreeMap<String, Store>,
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
    occurrences: mpsc::Sender<(u64, Occurrence)>,
    heard: mpsc::Sender<(u64, Heard)>,
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
    let (occurrences, mut occurred) = mpsc::channel(MOST_HAPPENING);
    let (heard, mut hears) = mpsc::channel(MOST_HAPPENING);
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
        // What has happened comes before what is to be done about it, but a worker that says or writes
        // something without end keeps nobody from either.
        for _ in 0..MOST_HAPPENING {
            let Ok((worker, what)) = hears.try_recv() else { break };
            node.hear(worker, what);
        }
        for _ in 0..MOST_HAPPENING {
            let Ok((worker, what)) = occurred.try_recv() else { break };
            node.occur(worker, what);
        }
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = tick.tick() => node.tick(),
            Some(what) = comes.recv() => node.come(what),
            Some((finding, text)) = says.recv() => node.tell(0, finding, text, Vec::new()),
            Some(health) = health.recv() => node.say(Say::Health(health)),
            Some((worker, what)) = hears.recv() => node.hear(worker, what),
            Some((worker, what)) = occurred.recv() => node.occur(worker, what),
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
        occurrences: mpsc::Sender<(u64, Occurrence)>,
        heard: mpsc::Sender<(u64, Heard)>,
        notices: UnboundedSender<String>,
    ) -> Self {
        Self {
            settings,
            began: Instant::now(),
            workers: BTreeMap::new(),
            ended: BTreeSet::new(),
            watches: BTreeMap::new(),
            stores: BTreeMap::new(),
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
}

#[cfg(test)]
mod tests;
