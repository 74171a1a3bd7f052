//! From one group to the next: leave the old one at once, say what is there, go on as is decided.

use super::{Member, finish};
use crate::train::adam::State;
use crate::train::checkpoint;
use crate::train::mesh::{Message, Values};
use crate::train::model::Layout;
use crate::train::round::{Frame, Round};
use crate::transition::regroup::{Decision, Peer, Source, Status, Worker, regroup};
use crate::worker::protocol::{FromWorker, Group};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn unusable(what: &str, problem: impl Into<String>) -> Error {
    Error::Network { what: what.to_owned(), problem: problem.into() }
}

impl Member {
    /// Leaves the present group for a new one. What is finished stays.
    pub(super) fn switch(&mut self, group: Group) -> Result<()> {
        if group.epoch <= self.epoch {
            return Ok(());
        }
        self.check(&group)?;
        self.epoch = group.epoch;
        self.has_decided = false;
        self.statuses.clear();
        self.stash.clear();
        self.lost.clear();
        self.end = finish::End::default();
        self.disk_writer.forget();
        self.disk = group.checkpoint;
        let mut members = group.members;
        members.sort_by_key(|member| member.worker);
        let me = members.iter().find(|member| member.worker == self.config.worker);
        let Some(stage) = me.map(|member| member.stage) else {
            // Others work without this one; it keeps what it has, and waits.
            self.members.clear();
            self.mesh.leave(self.epoch);
            return Ok(());
        };
        let others = members.iter().filter(|member| member.worker != self.config.worker);
        let others: Vec<(u64, String)> =
            others.map(|member| (member.worker, member.address.clone())).collect();
        self.members = members
            .into_iter()
            .map(|member| Peer { worker: member.worker, stage: member.stage, node: member.node })
            .collect();
        self.take_stage(stage);
        self.mesh.switch(self.epoch, &others)?;
        self.say_status()
    }

    fn check(&self, group: &Group) -> Result<()> {
        let stages: BTreeSet<u32> = group.members.iter().map(|member| member.stage).collect();
        let expected: BTreeSet<u32> = (0..self.config.settings.stages).collect();
        match stages == expected || group.members.is_empty() {
            true => Ok(()),
            false => Err(unusable(
                &format!("group of epoch {}", group.epoch),
                format!("it has the stages {stages:?}, not {expected:?}"),
            )),
        }
    }

    /// Another stage than before is a new beginning, but for what lies in memory.
    fn take_stage(&mut self, stage: u32) {
        if self.layout.is_none() || self.stage != stage {
            self.layout = Some(Layout::new(&self.config.settings, stage));
            self.stage = stage;
            self.state = None;
            self.model = None;
            self.round = None;
        }
    }

    fn say_status(&mut self) -> Result<()> {
        let applied = self.state.as_ref().map(|state| state.iteration);
        let round = self.round.as_ref();
        let round = round.filter(|round| Some(round.iteration()) == applied.map(|it| it + 1));
        let status = Status {
            applied,
            progress: round.map(Round::progress).unwrap_or_default(),
            memory: self.memory.keys().copied().collect(),
            highest: self.highest,
        };
        match self.leader() {
            Some(leader) if leader != self.config.worker => {
                let json = serde_json::to_vec(&status).map_err(std::io::Error::from);
                let json = json.map_err(|error| unusable("status", error.to_string()))?;
                self.mesh.send(leader, 0, Message::Status(json));
                Ok(())
            }
            _ => {
                self.statuses.insert(self.config.worker, status);
                self.decide_when_all_have_spoken()
            }
        }
    }

    pub(super) fn hear_status(&mut self, from: Worker, json: &[u8]) -> Result<()> {
        if self.leader() != Some(self.config.worker) || self.has_decided {
            return Ok(());
        }
        let status = serde_json::from_slice(json)
            .map_err(|error| unusable(&format!("status of worker {from}"), error.to_string()))?;
        self.statuses.insert(from, status);
        self.decide_when_all_have_spoken()
    }

    /// Members that have not said what they have.
    pub(super) fn without_status(&self) -> BTreeSet<Worker> {
        let members = self.members.iter().map(|member| member.worker);
        members.filter(|worker| !self.statuses.contains_key(worker)).collect()
    }

    fn decide_when_all_have_spoken(&mut self) -> Result<()> {
        if !self.without_status().is_empty() {
            return Ok(());
        }
        let disk = self.disk.as_ref().map(|checkpoint| checkpoint.iteration);
        let decision = regroup(&self.batch(), &self.members, &self.statuses, disk);
        let json = serde_json::to_vec(&decision);
        let json = json.map_err(|error| unusable("decision", error.to_string()))?;
        self.mesh.broadcast(0, &Message::Decision(json));
        self.adopt(decision)
    }

    pub(super) fn hear_decision(&mut self, from: Worker, json: &[u8]) -> Result<()> {
        if self.has_decided || Some(from) != self.leader() {
            return Ok(());
        }
        let decision = serde_json::from_slice(json)
            .map_err(|error| unusable(&format!("decision of worker {from}"), error.to_string()))?;
        self.adopt(decision)
    }

    /// Goes on as the group does.
    fn adopt(&mut self, decision: Decision) -> Result<()> {
        self.has_decided = true;
        let source = decision.sources.get(&self.config.worker).copied();
        let source = source.ok_or_else(|| unusable("decision", "it leaves this worker out"))?;
        self.obtain(source, decision.applied)?;
        self.highest = self.highest.max(decision.highest);
        self.say_rolled_back(&decision)?;
        self.serve(&decision);
        let keeps = source == Source::Own
            && self.round.as_ref().is_some_and(|r| r.iteration() == decision.applied + 1);
        if !keeps {
            self.round = Some(self.new_round(decision.applied + 1));
        }
        if let Some(round) = &mut self.round {
            let Decision { plan, begun, redone, .. } = decision;
            round.adopt(plan, self.members.clone(), begun, redone);
        }
        self.send_memory();
        self.begin()?;
        self.replay()
    }

    pub(super) fn new_round(&self, iteration: u64) -> Round<crate::train::model::Forward> {
        let gradient_len = self.layout.as_ref().map_or(0, Layout::gradient_len);
        let frame =
            Frame { me: self.config.worker, stage: self.stage, batch: self.batch(), gradient_len };
        Round::new(frame, iteration, iteration <= self.highest)
    }

    /// Gets the state of an iteration, or lets it come.
    fn obtain(&mut self, source: Source, iteration: u64) -> Result<()> {
        self.state_from = None;
        match source {
            Source::Own => return Ok(()),
            Source::Step => return self.step(),
            Source::Replica(worker) | Source::Memory(worker) => {
                self.state = None;
                self.state_from = Some(worker);
            }
            Source::OwnMemory => self.state = self.memory.get(&(self.stage, iteration)).cloned(),
            Source::Disk => {
                let path = self.disk.as_ref().map(|checkpoint| checkpoint.path.clone());
                let path = path.ok_or_else(|| unusable("decision", "there is no checkpoint"))?;
                let numbers = self.numbers(self.stage);
                let path = Path::new(&path);
                self.state = Some(checkpoint::read_stage(path, iteration, self.stage, numbers)?);
            }
            Source::Initial => {
                let layout = self.layout.as_ref();
                let weights = layout.map(|l| l.initial_weights(self.config.settings.seed));
                self.state = weights.map(State::new);
            }
        }
        self.model = None;
        Ok(())
    }

    /// Numbers of a stage's state.
    pub(super) fn numbers(&self, stage: u32) -> usize {
        3 * Layout::new(&self.config.settings, stage).len()
    }

    /// Says at which iteration the group is, if that isn't simply the one that it was at.
    fn say_rolled_back(&mut self, decision: &Decision) -> Result<()> {
        let goes_on = decision.sources.values().any(|s| matches!(s, Source::Own | Source::Step));
        if goes_on && decision.applied >= decision.highest {
            return Ok(());
        }
        let (epoch, iteration) = (self.epoch, decision.applied);
        self.client.send(&FromWorker::RolledBack { epoch, iteration })
    }

    /// Sends the state to those who get it from this worker.
    fn serve(&mut self, decision: &Decision) {
        let iteration = decision.applied;
        for (&worker, &source) in &decision.sources {
            let stage = self.members.iter().find(|m| m.worker == worker).map(|m| m.stage);
            let state = match source {
                Source::Replica(from) if from == self.config.worker => self.state.as_ref(),
                Source::Memory(from) if from == self.config.worker => {
                    stage.and_then(|stage| self.memory.get(&(stage, iteration)))
                }
                _ => None,
            };
            if let Some(state) = state {
                let values = Values::part(&state.values, 0..state.values.len());
                self.mesh.send(worker, iteration, Message::State(values));
            }
        }
    }

    pub(super) fn receive_state(&mut self, from: Worker, iteration: u64, values: &Values) {
        let is_awaited = self.state.is_none() && self.state_from == Some(from);
        let is_next = self.round.as_ref().is_some_and(|round| round.iteration() == iteration + 1);
        if is_awaited && is_next && values.len() == self.numbers(self.stage) {
            self.state = Some(State { iteration, values: Arc::new(values.to_vec()) });
            self.model = None;
        }
    }
}
