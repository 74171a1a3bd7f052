//! A coordinator at work: campaigns, and while it leads drives the brain: what is said goes in; what comes
//! out is stored first, then sent.

use super::brain::{Brain, Now, Outbox, Settings, record};
use super::metrics::Figures;
use super::metrics::figures::DriverFigures;
use super::overview::Memory;
use super::session::Session;
use super::task_file::TaskFile;
use crate::plan::table::Table;
use crate::proto::v1::{self, from_agent, to_agent};
use crate::store::{Change, Leadership, MOST_CHANGE_BYTES, MOST_CHANGE_PARTS, Store};
use crate::wall_clock::wall_ms;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Something for the brain.
#[derive(Debug)]
pub enum Ask {
    /// An agent greets.
    Attend {
        /// Its greeting.
        hello: v1::Hello,
        /// The way to it.
        session: Session,
        /// Its node, or why it is refused.
        reply: oneshot::Sender<Result<usize, String>>,
    },
    /// An agent speaks.
    Said {
        /// Its node.
        node: usize,
        /// Its session.
        session: u64,
        /// What.
        message: from_agent::Message,
    },
    /// An agent's connection is gone.
    Left {
        /// Its node.
        node: usize,
        /// Its session.
        session: u64,
    },
    /// Run a task.
    Submit(String, oneshot::Sender<Result<String, String>>),
    /// End a task.
    Stop(String, oneshot::Sender<Result<(), String>>),
    /// Free a node.
    Drain(String, oneshot::Sender<Result<(), String>>),
    /// Let a node have tasks again.
    Undrain(String, oneshot::Sender<Result<(), String>>),
    /// Plan now.
    Replan(oneshot::Sender<()>),
    /// List tasks.
    Tasks(oneshot::Sender<v1::TasksReply>),
    /// List nodes.
    Nodes(oneshot::Sender<v1::NodesReply>),
    /// The figures for Prometheus.
    Figures(oneshot::Sender<Figures>),
    /// The last lines of a task's workers.
    Logs(String, u32, oneshot::Sender<Result<v1::LogsReply, String>>),
    /// What a dashboard shows.
    Overview(oneshot::Sender<v1::OverviewReply>),
    /// A table of plans is ready.
    Table(u64, Table),
    /// Why each task has so many workers, as of that epoch of the core.
    Reasons(u64, BTreeMap<usize, String>),
}

/// How often the brain looks at the clock.
const TICK: Duration = Duration::from_millis(25);

/// So much is taken in before it is stored: one write for many.
const MOST_AT_ONCE: usize = 512;

/// Agents that haven't told their logs by then are left out.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// A leadership.
pub struct Lead {
    brain: Brain,
    leadership: Box<dyn Leadership>,
    began: Instant,
    sessions: BTreeMap<usize, Session>,
    asks: mpsc::Sender<Ask>,
    /// The number of the log's last event, for those who follow it.
    events: Arc<watch::Sender<u64>>,
    /// Told once what they wait for is stored.
    replies: Vec<Box<dyn FnOnce() + Send>>,
    logs: BTreeMap<u64, PendingLogs>,
    figures: DriverFigures,
    overview: Memory,
    next_request: u64,
    /// A table that is being built, and the epoch of one that is wanted after it.
    building: Option<u64>,
    wanted_table: Option<u64>,
}

struct PendingLogs {
    missing: usize,
    logs: Vec<v1::WorkerLog>,
    reply: oneshot::Sender<Result<v1::LogsReply, String>>,
    until: Instant,
}

impl Lead {
    /// Takes over what the store holds.
    ///
    /// # Errors
    /// If the store can't be read, or holds what this version doesn't know.
    pub async fn begin(
        settings: Settings,
        store: &dyn Store,
        leadership: Box<dyn Leadership>,
        asks: mpsc::Sender<Ask>,
        events: Arc<watch::Sender<u64>>,
    ) -> Result<Self> {
        let nodes = store.load(record::NODES).await?;
        let tasks = store.load(record::TASKS).await?;
        let began = Instant::now();
        let now = Now { s: 0.0, wall_ms: wall_ms() };
        let brain = Brain::resume(settings, leadership.term(), now, &nodes, &tasks)?;
        Ok(Self {
            brain,
            leadership,
            began,
            sessions: BTreeMap::new(),
            asks,
            events,
            replies: Vec::new(),
            logs: BTreeMap::new(),
            figures: DriverFigures::default(),
            overview: Memory::new(now),
            next_request: 0,
            building: None,
            wanted_table: None,
        })
    }

    /// Leads until the leadership is lost or `shutdown` comes; true for the latter.
    ///
    /// # Errors
    /// Why it is lost.
    pub async fn run(
        mut self,
        asked: &mut mpsc::Receiver<Ask>,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.settle().await?;
        loop {
            tokio::select! {
                biased;
                _ = shutdown.changed() => {
                    // Whoever comes next needn't wait for the lease's end.
                    return self.leadership.resign().await;
                }
                reason = self.leadership.lost() => {
                    let term = self.leadership.term();
                    return Err(Error::LeadershipOver { term, reason });
                }
                Some(ask) = asked.recv() => {
                    self.timed(|lead| lead.take_in(ask));
                    for _ in 1..MOST_AT_ONCE {
                        match asked.try_recv() {
                            Ok(ask) => self.timed(|lead| lead.take_in(ask)),
                            Err(_) => break,
                        }
                    }
                }
                _ = tick.tick() => {
                    let now = self.now();
                    self.timed(|lead| lead.brain.tick(now));
                    self.overview.tick(now, &self.brain);
                    self.end_waiting_for_logs();
                }
            }
            self.settle().await?;
        }
    }

    /// Does something, and notes how long that took if it led to a plan.
    fn timed(&mut self, what: impl FnOnce(&mut Self)) {
        let plans = |lead: &Self| lead.brain.plans().values().sum::<u64>();
        let (before, clock) = (plans(self), Instant::now());
        what(self);
        if plans(self) > before {
            self.figures.replanning.note(clock.elapsed().as_secs_f64());
        }
    }

    fn now(&self) -> Now {
        Now { s: self.began.elapsed().as_secs_f64(), wall_ms: wall_ms() }
    }

    fn take_in(&mut self, ask: Ask) {
        let now = self.now();
        match ask {
            Ask::Attend { hello, session, reply } => self.attend(now, &hello, session, reply),
            Ask::Said { node, session, message } => self.said(now, node, session, message),
            Ask::Left { node, session } => {
                if self.sessions.get(&node).is_some_and(|known| known.id == session) {
                    self.sessions.remove(&node);
                }
                self.brain.left(now, node, session);
            }
            Ask::Submit(toml, reply) => {
                let result = TaskFile::parse(&toml, Path::new("task file"))
                    .map_err(|error| error.to_string())
                    .and_then(|file| {
                        let name = file.name.clone();
                        self.brain.submit(now, file, toml).map(|()| name)
                    });
                self.reply_once_stored(reply, result);
            }
            Ask::Stop(task, reply) => {
                let result = self.brain.stop(now, &task);
                self.reply_once_stored(reply, result);
            }
            Ask::Drain(node, reply) => {
                let result = self.brain.drain(now, &node);
                self.reply_once_stored(reply, result);
            }
            Ask::Undrain(node, reply) => {
                let result = self.brain.undrain(now, &node);
                self.reply_once_stored(reply, result);
            }
            Ask::Replan(reply) => {
                self.brain.replan(now);
                self.reply_once_stored(reply, ());
            }
            Ask::Tasks(reply) => {
                let tasks = self.brain.tasks_reply(now);
                self.reply_once_stored(reply, tasks);
            }
            Ask::Figures(reply) => {
                let figures = Figures::of(&self.brain, now, self.figures);
                self.reply_once_stored(reply, figures);
            }
            Ask::Nodes(reply) => {
                let nodes = self.brain.nodes_reply(now);
                self.reply_once_stored(reply, nodes);
            }
            Ask::Overview(reply) => {
                if self.overview.wants_reasons(now, self.brain.core().epoch()) {
                    self.work_out_reasons();
                }
                let last_event = *self.events.borrow();
                let overview = self.overview.overview(now, &self.brain, last_event);
                self.reply_once_stored(reply, overview);
            }
            Ask::Reasons(epoch, texts) => self.overview.take_reasons(epoch, texts),
            Ask::Logs(task, lines, reply) => self.ask_for_logs(&task, lines, reply),
            Ask::Table(epoch, table) => {
                self.building = None;
                self.brain.table_built(now, epoch, table);
                if let Some(epoch) = self.wanted_table.take() {
                    self.build_table(epoch);
                }
            }
        }
    }

    fn reply_once_stored<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, result: T) {
        self.replies.push(Box::new(move || {
            // Whoever asked may have gone.
            let _ = reply.send(result);
        }));
    }

    fn attend(
        &mut self,
        now: Now,
        hello: &v1::Hello,
        session: Session,
        reply: oneshot::Sender<Result<usize, String>>,
    ) {
        let checked = super::limits::check(&from_agent::Message::Hello(hello.clone()));
        match checked.and_then(|()| self.brain.attend(now, session.id, hello)) {
            Ok((node, welcome)) => {
                session.send(to_agent::Message::Welcome(welcome));
                self.sessions.insert(node, session);
                self.reply_once_stored(reply, Ok(node));
            }
            Err(reason) => {
                // Whoever asked may have gone.
                let _ = reply.send(Err(reason));
            }
        }
    }

    fn said(&mut self, now: Now, node: usize, session: u64, message: from_agent::Message) {
        if self.sessions.get(&node).is_none_or(|known| known.id != session) {
            return;
        }
        if let Err(reason) = super::limits::check(&message) {
            // Whoever says such things isn't listened to any more; its lease decides what comes of it.
            if let Some(known) = self.sessions.remove(&node) {
                known.send(to_agent::Message::Refused(v1::Refused { reason }));
            }
            return self.brain.left(now, node, session);
        }
        match message {
            from_agent::Message::Heartbeat(heartbeat) => {
                let counts = self.brain.heartbeat(now, node, session);
                match (counts, self.sessions.get(&node)) {
                    (true, Some(known)) => known.send(to_agent::Message::Heartbeat(heartbeat)),
                    // Its lease has ended, so it has stopped its workers: it has to greet anew.
                    _ => {
                        self.sessions.remove(&node);
                    }
                }
            }
            from_agent::Message::LogTail(tail) => self.log_told(tail),
            message => self.brain.said(now, node, message),
        }
    }

    /// Stores, then sends.
    async fn settle(&mut self) -> Result<()> {
        let outbox = self.brain.take();
        self.overview.note(&outbox.events);
        if let Some(sequence) = self.store(&outbox).await? {
            self.events.send_replace(sequence);
        }
        for (node, state) in self.brain.tell(&outbox.pushes) {
            if let Some(session) = self.sessions.get(&node) {
                let has_replaced = session.push(state);
                self.figures.pushes += 1;
                self.figures.coalesced += u64::from(has_replaced);
            }
        }
        for (node, message) in outbox.sends {
            if let Some(session) = self.sessions.get(&node) {
                session.send(message);
            }
        }
        for reply in self.replies.drain(..) {
            reply();
        }
        if let Some(epoch) = outbox.table {
            match self.building {
                None => self.build_table(epoch),
                Some(_) => self.wanted_table = Some(epoch),
            }
        }
        Ok(())
    }

    /// The number of the log's last event, if anything was stored.
    async fn store(&self, outbox: &Outbox) -> Result<Option<u64>> {
        let mut changes = Changes::default();
        for &node in &outbox.nodes {
            let (key, value) = self.brain.node_record(node);
            changes.put(key, value);
        }
        for &task in &outbox.tasks {
            let (key, value) = self.brain.task_record(task);
            changes.put(key, value);
        }
        for event in &outbox.events {
            changes.append(serde_json::to_vec(event).unwrap_or_default());
        }
        let mut last = None;
        for change in changes.all {
            last = Some(self.leadership.commit(change).await?);
        }
        Ok(last)
    }

    fn build_table(&mut self, epoch: u64) {
        self.building = Some(epoch);
        let (core, now, asks) = (self.brain.core().clone(), self.now(), self.asks.clone());
        tokio::task::spawn_blocking(move || {
            let table = core.build_table(now.s);
            // Nobody listens when the coordinator ends.
            let _ = asks.blocking_send(Ask::Table(epoch, table));
        });
    }

    fn work_out_reasons(&self) {
        let (core, now, asks) = (self.brain.core().clone(), self.now(), self.asks.clone());
        tokio::task::spawn_blocking(move || {
            let reasons = core.reasons(now.s).into_iter();
            let texts = reasons.map(|(task, reason)| (task, reason.to_text())).collect();
            // Nobody listens when the coordinator ends.
            let _ = asks.blocking_send(Ask::Reasons(core.epoch(), texts));
        });
    }

    fn ask_for_logs(
        &mut self,
        task: &str,
        lines: u32,
        reply: oneshot::Sender<Result<v1::LogsReply, String>>,
    ) {
        if !self.brain.knows(task) {
            let problem = format!("there is no task {task:?}; `unicron tasks` lists them");
            // Whoever asked may have gone.
            let _ = reply.send(Err(problem));
            return;
        }
        self.next_request += 1;
        let request = self.next_request;
        let asked = v1::LogRequest { request, task: task.to_owned(), lines };
        let sessions = self.brain.nodes_of(task);
        let sessions = sessions.iter().filter_map(|node| self.sessions.get(node));
        let missing = sessions
            .map(|session| session.send(to_agent::Message::LogRequest(asked.clone())))
            .count();
        let until = Instant::now() + LOG_PATIENCE;
        let pending = PendingLogs { missing, logs: Vec::new(), reply, until };
        self.logs.insert(request, pending);
        self.end_waiting_for_logs();
    }

    fn log_told(&mut self, tail: v1::LogTail) {
        if let Some(pending) = self.logs.get_mut(&tail.request) {
            pending.logs.extend(tail.logs);
            pending.missing = pending.missing.saturating_sub(1);
        }
        self.end_waiting_for_logs();
    }

    fn end_waiting_for_logs(&mut self) {
        let now = Instant::now();
        let is_over =
            |_: &u64, pending: &mut PendingLogs| pending.missing == 0 || pending.until <= now;
        let over: Vec<(u64, PendingLogs)> = self.logs.extract_if(.., is_over).collect();
        for (_, mut pending) in over {
            pending.logs.sort_by_key(|log| log.worker);
            // Whoever asked may have gone.
            let _ = pending.reply.send(Ok(v1::LogsReply { logs: pending.logs }));
        }
    }
}

/// Changes of a size that every store takes. State goes first: what an event tells is so.
#[derive(Default)]
struct Changes {
    all: Vec<Change>,
    parts: usize,
}

impl Changes {
    fn put(&mut self, key: String, value: Vec<u8>) {
        self.room_for(key.len() + value.len()).put(key, value);
    }

    fn append(&mut self, event: Vec<u8>) {
        self.room_for(event.len()).append(event);
    }

    fn room_for(&mut self, bytes: usize) -> &mut Change {
        let is_full = self.all.last().is_none_or(|change| {
            self.parts == MOST_CHANGE_PARTS || change.bytes() + bytes > MOST_CHANGE_BYTES
        });
        if is_full {
            self.all.push(Change::new());
            self.parts = 0;
        }
        self.parts += 1;
        self.all.last_mut().expect("one was pushed if there was none")
    }
}
