//! A worker: a member of a group, one after the other, until its agent says stop.
//!
//! One thread decides and computes; all that comes, from the agent and from peers, comes through one
//! channel. So whatever happens is handled between two passes, and a new group is switched to at once.
//!
//! | what | file |
//! |---|---|
//! | from one group to the next | `group.rs` |
//! | passes, reduction, vote, step | `iteration.rs` |
//! | checkpoints in memory and on disk | `checkpoints.rs` |
//! | the end | `finish.rs` |

mod checkpoints;
mod finish;
mod group;
mod iteration;

use super::adam::State;
use super::checkpoint::StageFile;
use super::mesh::{Envelope, Mesh, MeshEvent, Message};
use super::model::{Forward, Layout, Model};
use super::moment::Moment;
use super::round::Round;
use super::settings::Settings;
use super::text::Text;
use crate::transition::regroup::{Batch, Peer, Status, Worker};
use crate::worker::protocol::{Checkpoint, FromWorker, PROTOCOL, ToWorker};
use crate::worker::{Client, Heard, Lease};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// After so long without anything to do a worker says for whom it waits, and again.
const WAITING_AFTER: Duration = Duration::from_secs(1);

/// What a worker is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The run.
    pub settings: Settings,
    /// Its text.
    pub text: Text,
    /// The worker's number.
    pub worker: u64,
    /// Its agent's socket.
    pub socket: PathBuf,
    /// The address that other workers reach.
    pub host: String,
    /// Where checkpoints go; none are written without it.
    pub checkpoints: Option<PathBuf>,
    /// Where the weights go.
    pub weights_file: PathBuf,
}

/// What a worker asks of its command.
pub struct Hooks {
    /// Called at each moment of an iteration; may fail, or not return.
    pub at: Box<dyn FnMut(Moment, u64) -> Result<()>>,
    /// Something for people.
    pub log: Box<dyn Fn(&str)>,
    /// Called from another thread when the lease has run out: ends the process.
    pub lease_has_run_out: Box<dyn FnOnce() + Send>,
}

/// What happens to a worker.
enum Event {
    Agent(Heard),
    Mesh(MeshEvent),
    /// A stage's part of a checkpoint: epoch, iteration, result.
    Stored(u64, u64, Result<StageFile>),
}

/// A worker.
pub struct Member {
    config: Config,
    hooks: Hooks,
    client: Arc<Client>,
    mesh: Mesh,
    events: Receiver<Event>,
    /// For threads that write checkpoints.
    sender: Sender<Event>,
    epoch: u64,
    /// Of the present group, in order; none while this worker is in no group.
    members: Vec<Peer>,
    /// The newest checkpoint on disk that counts.
    disk: Option<Checkpoint>,
    layout: Option<Layout>,
    stage: u32,
    state: Option<State>,
    /// Whoever is to send the state.
    state_from: Option<Worker>,
    model: Option<Model>,
    /// Checkpoints by stage and iteration.
    memory: BTreeMap<(u32, u64), State>,
    highest: u64,
    round: Option<Round<Forward>>,
    began: Instant,
    has_warmed_up: bool,
    /// What was said of this group's members, for the one who decides.
    statuses: BTreeMap<Worker, Status>,
    has_decided: bool,
    /// What came before it could be understood.
    stash: Vec<(Worker, Envelope)>,
    lost: BTreeSet<Worker>,
    end: finish::End,
    disk_writer: checkpoints::DiskWriter,
}

impl Member {
    /// Connects to the agent, and says that it is ready.
    ///
    /// # Errors
    /// Settings out of range, no agent, no network, or a model that can't compute.
    pub fn start(config: Config, hooks: Hooks) -> Result<(Self, Arc<Client>)> {
        config.settings.check()?;
        let (sender, events) = mpsc::channel();
        let mut hooks = hooks;
        let run_out = std::mem::replace(&mut hooks.lease_has_run_out, Box::new(|| ()));
        let lease = Lease::watch(run_out)?;
        let to_events = sender.clone();
        let client = Client::connect(&config.socket, config.worker, move |heard| {
            // Not in the main thread: a lease is renewed while a long pass is computed, too.
            match &heard {
                Heard::Message(ToWorker::Welcome { lease_s, .. }) => lease.renew(Some(*lease_s)),
                Heard::Message(ToWorker::Lease { seconds }) => lease.renew(*seconds),
                _ => {}
            }
            // After the member's end nobody listens, and nothing is to be said.
            let _ = to_events.send(Event::Agent(heard));
        })?;
        let layouts = (0..config.settings.stages).map(|stage| Layout::new(&config.settings, stage));
        let largest = layouts.map(|layout| layout.gradient_len()).max().unwrap_or(0);
        let most_numbers = (3 * largest).max(config.settings.shape.boundary());
        let to_events = sender.clone();
        let sink = Arc::new(move |event| drop(to_events.send(Event::Mesh(event))));
        let mesh = Mesh::listen(&config.host, config.worker, most_numbers, sink)?;
        let fingerprint = super::fingerprint::fingerprint(&config.settings, &config.text)?;
        let client = Arc::new(client);
        client.send(&FromWorker::Ready { address: mesh.address().to_string(), fingerprint })?;
        let member = Self {
            config,
            hooks,
            client: client.clone(),
            mesh,
            events,
            sender,
            epoch: 0,
            members: Vec::new(),
            disk: None,
            layout: None,
            stage: 0,
            state: None,
            state_from: None,
            model: None,
            memory: BTreeMap::new(),
            highest: 0,
            round: None,
            began: Instant::now(),
            has_warmed_up: false,
            statuses: BTreeMap::new(),
            has_decided: false,
            stash: Vec::new(),
            lost: BTreeSet::new(),
            end: finish::End::default(),
            disk_writer: checkpoints::DiskWriter::default(),
        };
        Ok((member, client))
    }

    /// Works until the agent says stop.
    ///
    /// # Errors
    /// What makes going on impossible: no agent, a checkpoint that can't be read, a failed computation.
    pub fn run(mut self) -> Result<()> {
        let mut idle_since = Instant::now();
        loop {
            while let Ok(event) = self.events.try_recv() {
                if self.handle(event)? {
                    return Ok(());
                }
            }
            if self.advance()? {
                idle_since = Instant::now();
                continue;
            }
            match self.events.recv_timeout(self.patience(idle_since)) {
                Ok(event) => {
                    // A message is progress; a lease or a lost peer isn't.
                    if matches!(event, Event::Mesh(MeshEvent::Message(..))) {
                        idle_since = Instant::now();
                    }
                    if self.handle(event)? {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if idle_since.elapsed() >= WAITING_AFTER {
                        self.say_waiting()?;
                        idle_since = Instant::now();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// How long nothing needs to be done if nothing comes.
    fn patience(&self, idle_since: Instant) -> Duration {
        let waiting = WAITING_AFTER.saturating_sub(idle_since.elapsed());
        self.pace_left().map_or(waiting, |left| left.min(waiting)).max(Duration::from_millis(1))
    }

    /// Handles what has come; true at the end.
    fn handle(&mut self, event: Event) -> Result<bool> {
        match event {
            Event::Agent(Heard::Message(message)) => return self.hear_agent(message),
            Event::Agent(Heard::End(_)) if self.end.is_over => return Ok(true),
            Event::Agent(Heard::End(why)) => {
                return Err(Error::Network { what: "agent".to_owned(), problem: why });
            }
            Event::Mesh(MeshEvent::Message(from, envelope)) if envelope.epoch == self.epoch => {
                self.hear(from, envelope)?;
            }
            Event::Mesh(MeshEvent::Lost(epoch, worker, error)) if epoch == self.epoch => {
                self.lose(worker, error)?;
            }
            // Of a group that was left.
            Event::Mesh(_) => {}
            Event::Stored(epoch, iteration, result) => self.is_stored(epoch, iteration, result)?,
        }
        Ok(false)
    }

    fn hear_agent(&mut self, message: ToWorker) -> Result<bool> {
        match message {
            ToWorker::Welcome { protocol, .. } if protocol != PROTOCOL => {
                let problem = format!("it speaks version {protocol}, this worker {PROTOCOL}");
                return Err(Error::Network { what: "agent".to_owned(), problem });
            }
            ToWorker::Welcome { .. } | ToWorker::Lease { .. } => {}
            ToWorker::Group(group) => self.switch(group)?,
            ToWorker::CheckpointCommitted { iteration } => self.is_committed_on_disk(iteration),
            ToWorker::Refused { what, reason } => (self.hooks.log)(&format!("{what}: {reason}")),
            ToWorker::Stop { reason } => {
                (self.hooks.log)(&format!("stop: {reason}"));
                self.disk_writer.join();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hears a peer of this group.
    fn hear(&mut self, from: Worker, envelope: Envelope) -> Result<()> {
        match envelope.message {
            Message::Status(json) => self.hear_status(from, &json),
            Message::Decision(json) => self.hear_decision(from, &json),
            Message::Memory(stage, values) => {
                self.keep_in_memory(stage, envelope.iteration, &values);
                Ok(())
            }
            Message::Stored(json) => self.hear_stored(&json),
            _ if !self.has_decided => {
                self.stash.push((from, envelope));
                Ok(())
            }
            Message::State(values) => {
                self.receive_state(from, envelope.iteration, &values);
                Ok(())
            }
            Message::Weights(stage, values) => {
                self.receive_weights(stage, values);
                Ok(())
            }
            Message::Over => self.is_over(None),
            _ => self.hear_of_iteration(from, envelope),
        }
    }

    /// Understands what came too early.
    fn replay(&mut self) -> Result<()> {
        for (from, envelope) in std::mem::take(&mut self.stash) {
            self.hear(from, envelope)?;
        }
        Ok(())
    }

    fn lose(&mut self, worker: Worker, error: String) -> Result<()> {
        let is_news = !self.end.is_over && self.lost.insert(worker);
        match is_news {
            true => self.client.send(&FromWorker::LostPeer { epoch: self.epoch, worker, error }),
            false => Ok(()),
        }
    }

    fn say_waiting(&mut self) -> Result<()> {
        let mut workers = match (self.has_decided, self.leader() == Some(self.config.worker)) {
            (false, true) => self.without_status(),
            (false, false) => self.leader().into_iter().collect(),
            _ if self.state.is_none() => self.state_from.into_iter().collect(),
            _ if self.is_at_end() => self.end_waits_for(),
            _ => self.round.as_ref().map(Round::waits_for).unwrap_or_default(),
        };
        workers.remove(&self.config.worker);
        if workers.is_empty() || self.end.is_over {
            return Ok(());
        }
        let workers = workers.into_iter().collect();
        self.client.send(&FromWorker::Waiting { epoch: self.epoch, workers })
    }

    fn batch(&self) -> Batch {
        let Settings { stages, micro_batches, segments, .. } = self.config.settings;
        Batch { stages, micro_batches, segments }
    }

    /// The member with the lowest number decides, and writes what is the group's.
    fn leader(&self) -> Option<Worker> {
        self.members.first().map(|member| member.worker)
    }

    /// The member of a stage with the lowest number stands for it.
    fn chief(&self, stage: u32) -> Option<Worker> {
        let of_stage = self.members.iter().find(|member| member.stage == stage);
        of_stage.map(|member| member.worker)
    }

    fn checkpoints(&self) -> Option<&Path> {
        self.config.checkpoints.as_deref()
    }
}
