//! Checkpoints: after each step in the memory of a worker on another node, now and then on disk.

use super::{Event, Member};
use crate::Result;
use crate::detect::Status;
use crate::train::adam::State;
use crate::train::checkpoint::{self, Manifest, StageFile};
use crate::train::mesh::{Message, Values};
use crate::worker::protocol::FromWorker;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Checkpoints of a stage that are kept in memory. A worker that dies has always let its buddy know the
/// iteration before the one that it last voted for: two are enough to go back to that.
const KEPT_IN_MEMORY: usize = 2;

/// What is under way to disk.
#[derive(Debug, Default)]
pub(super) struct DiskWriter {
    thread: Option<JoinHandle<()>>,
    /// By iteration: what the stages of this group have written. Of the leader.
    stored: BTreeMap<u64, BTreeMap<u32, StageFile>>,
    /// Iterations that were offered to the coordinator, with their epochs.
    offered: BTreeMap<u64, u64>,
}

impl DiskWriter {
    /// What the last group had begun to write doesn't count in this one.
    pub(super) fn forget(&mut self) {
        self.stored.clear();
    }

    /// Waits until nothing is written.
    pub(super) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has written nothing that counts.
            let _ = thread.join();
        }
    }
}

/// What a stage says to the leader.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    iteration: u64,
    stage: u32,
    file: StageFile,
}

impl Member {
    /// Keeps the own state. The state is shared, not copied: a step writes a new one.
    pub(super) fn keep_own(&mut self, state: State) {
        let every = self.config.settings.memory_checkpoint_every;
        if every > 0 && state.iteration.is_multiple_of(every) {
            self.keep(self.stage, state);
        }
    }

    fn keep(&mut self, stage: u32, state: State) {
        self.memory.insert((stage, state.iteration), state);
        let of_stage: Vec<(u32, u64)> =
            self.memory.keys().copied().filter(|&(of, _)| of == stage).collect();
        for old in of_stage.iter().rev().skip(KEPT_IN_MEMORY) {
            self.memory.remove(old);
        }
    }

    /// Keeps what a peer has sent.
    pub(super) fn keep_in_memory(&mut self, stage: u32, iteration: u64, values: &Values) {
        let is_stage = stage < self.config.settings.stages;
        if is_stage && values.len() == self.numbers(stage) {
            self.keep(stage, State { iteration, values: Arc::new(values.to_vec()) });
        }
    }

    /// Sends the newest own checkpoint to the buddy: the next member on another node, else the next.
    pub(super) fn send_memory(&mut self) {
        let me = self.config.worker;
        let Some(place) = self.members.iter().position(|member| member.worker == me) else {
            return;
        };
        let next = self.members.iter().cycle().skip(place + 1).take(self.members.len() - 1);
        let node = &self.members[place].node;
        let elsewhere = next.clone().find(|member| member.node != *node);
        let buddy = elsewhere.or_else(|| next.clone().next()).map(|member| member.worker);
        let newest = self.memory.iter().rev().find(|((stage, _), _)| *stage == self.stage);
        if let (Some(buddy), Some((_, state))) = (buddy, newest) {
            let values = Values::part(&state.values, 0..state.values.len());
            self.mesh.send(buddy, state.iteration, Message::Memory(self.stage, values));
        }
    }

    /// Begins to write a checkpoint to disk after the iterations that are to have one, while training
    /// goes on; one member a stage does.
    pub(super) fn store_when_due(&mut self) {
        let every = self.config.settings.disk_checkpoint_every;
        let Some(state) = self.state.clone() else { return };
        let is_due = every > 0
            && state.iteration.is_multiple_of(every)
            && state.iteration < self.config.settings.iterations
            && self.chief(self.stage) == Some(self.config.worker);
        let (true, Some(folder)) = (is_due, self.checkpoints()) else { return };
        let (folder, epoch, stage) = (folder.to_owned(), self.epoch, self.stage);
        self.disk_writer.join();
        let done = self.sender.clone();
        let writer = thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            let written = checkpoint::write_stage(&folder, epoch, stage, &state);
            // A member that has ended needs no checkpoint.
            let _ = done.send(Event::Stored(epoch, state.iteration, written));
        });
        match writer {
            Ok(thread) => self.disk_writer.thread = Some(thread),
            Err(error) => (self.hooks.log)(&format!("no checkpoint: {error}")),
        }
    }

    /// The own part of a checkpoint is on disk, or can't be.
    pub(super) fn is_stored(
        &mut self,
        epoch: u64,
        iteration: u64,
        result: Result<StageFile>,
    ) -> Result<()> {
        if epoch != self.epoch {
            return Ok(());
        }
        match result {
            Err(error) => self.say_not_stored(&error),
            Ok(file) => {
                let stored = Stored { iteration, stage: self.stage, file };
                match self.leader() {
                    Some(leader) if leader != self.config.worker => {
                        let json = serde_json::to_vec(&stored).unwrap_or_default();
                        self.mesh.send(leader, iteration, Message::Stored(json));
                        Ok(())
                    }
                    _ => self.note_stored(stored),
                }
            }
        }
    }

    /// Training goes on: a checkpoint that is missing costs nothing yet.
    fn say_not_stored(&mut self, error: &crate::Error) -> Result<()> {
        let message = format!("a checkpoint is not written: {error}");
        (self.hooks.log)(&message);
        let (status, traceback) = (Some(Status::StorageError), String::new());
        self.client.send(&FromWorker::Exception { status, message, traceback })
    }

    pub(super) fn hear_stored(&mut self, json: &[u8]) -> Result<()> {
        match serde_json::from_slice(json) {
            Ok(stored) if self.leader() == Some(self.config.worker) => self.note_stored(stored),
            _ => Ok(()),
        }
    }

    /// Once all stages are on disk, offers the checkpoint to the coordinator.
    fn note_stored(&mut self, stored: Stored) -> Result<()> {
        let Stored { iteration, stage, file } = stored;
        let stages = self.disk_writer.stored.entry(iteration).or_default();
        stages.insert(stage, file);
        if stages.len() < self.config.settings.stages as usize {
            return Ok(());
        }
        let stages = self.disk_writer.stored.remove(&iteration).unwrap_or_default();
        let Some(folder) = self.checkpoints() else { return Ok(()) };
        let manifest = Manifest { iteration, epoch: self.epoch, stages };
        match checkpoint::write_manifest(folder, &manifest) {
            Err(error) => self.say_not_stored(&error),
            Ok(path) => {
                self.disk_writer.offered.insert(iteration, self.epoch);
                let path = path.display().to_string();
                self.client.send(&FromWorker::Checkpoint { epoch: self.epoch, iteration, path })
            }
        }
    }

    /// A checkpoint counts: older ones are of no use.
    pub(super) fn is_committed_on_disk(&mut self, iteration: u64) {
        if let (Some(epoch), Some(folder)) =
            (self.disk_writer.offered.remove(&iteration), self.checkpoints())
        {
            checkpoint::clean(folder, iteration, epoch);
        }
    }
}
