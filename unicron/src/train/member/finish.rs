//! The end of a run: the stages' weights come together in one file.

use super::Member;
use crate::Result;
use crate::train::mesh::{Message, Values};
use crate::train::model::Layout;
use crate::train::weights;
use crate::transition::regroup::Worker;
use crate::worker::protocol::FromWorker;
use std::collections::{BTreeMap, BTreeSet};

/// How far the end is, in this group.
#[derive(Debug, Default)]
pub(super) struct End {
    /// By stage, at the leader.
    weights: BTreeMap<u32, Values>,
    has_sent: bool,
    /// The weights are written.
    pub is_over: bool,
}

impl Member {
    /// Whether all iterations are done.
    pub(super) fn is_at_end(&self) -> bool {
        let applied = self.state.as_ref().map(|state| state.iteration);
        applied.is_some_and(|applied| applied >= self.config.settings.iterations)
    }

    /// Sends the own stage's weights to the leader; the leader writes them when it has all.
    pub(super) fn finish(&mut self) -> Result<bool> {
        let me = self.config.worker;
        if self.end.is_over {
            return Ok(false);
        }
        if !self.end.has_sent && self.chief(self.stage) == Some(me) {
            self.end.has_sent = true;
            if let (Some(state), Some(leader)) = (&self.state, self.leader()) {
                let values = Values::part(&state.values, 0..state.values.len() / 3);
                if leader == me {
                    self.receive_weights(self.stage, values);
                } else {
                    let message = Message::Weights(self.stage, values);
                    self.mesh.send(leader, self.config.settings.iterations, message);
                }
            }
            return Ok(true);
        }
        if self.end.weights.len() < self.config.settings.stages as usize {
            return Ok(false);
        }
        let stages: Vec<&[f32]> = self.end.weights.values().map(|values| &**values).collect();
        let path = &self.config.weights_file;
        let sha256 = weights::write(path, &self.config.settings, &stages)?;
        let path = path.display().to_string();
        self.mesh.broadcast(self.config.settings.iterations, &Message::Over);
        self.is_over(Some((path, sha256)))?;
        Ok(true)
    }

    pub(super) fn receive_weights(&mut self, stage: u32, values: Values) {
        let is_stage = stage < self.config.settings.stages;
        if is_stage && Layout::new(&self.config.settings, stage).len() == values.len() {
            self.end.weights.insert(stage, values);
        }
    }

    /// The work is done; whoever has written the file says where.
    pub(super) fn is_over(&mut self, file: Option<(String, String)>) -> Result<()> {
        self.end.is_over = true;
        let (weights_file, weights_sha256) = file.unzip();
        let (epoch, iteration) = (self.epoch, self.config.settings.iterations);
        self.client.send(&FromWorker::Done { epoch, iteration, weights_file, weights_sha256 })
    }

    /// For whom the end waits.
    pub(super) fn end_waits_for(&self) -> BTreeSet<Worker> {
        if self.leader() != Some(self.config.worker) {
            return self.leader().into_iter().collect();
        }
        let missing =
            (0..self.config.settings.stages).filter(|stage| !self.end.weights.contains_key(stage));
        missing.filter_map(|stage| self.chief(stage)).collect()
    }
}
