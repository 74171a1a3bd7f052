//! An iteration: passes, reduction, vote, step.

use super::Member;
use crate::detect::StepKind;
use crate::train::alone::mean_loss;
use crate::train::mesh::{Envelope, Values};
use crate::train::model::Model;
use crate::train::moment::Moment;
use crate::train::round::Work;
use crate::transition::regroup::{Plan, Worker};
use crate::worker::protocol::{FromWorker, Redone};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

fn inconsistent(what: &str) -> Error {
    Error::Tensor(format!("{what} is missing where the plan has it"))
}

impl Member {
    /// Says that an iteration begins, or goes on in another group.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.began = Instant::now();
        let Some(round) = &self.round else { return Ok(()) };
        let (epoch, iteration) = (self.epoch, round.iteration());
        if iteration > self.config.settings.iterations {
            return Ok(());
        }
        let every = self.config.settings.disk_checkpoint_every;
        let kind = match every > 0 && iteration.is_multiple_of(every) {
            _ if !self.has_warmed_up => StepKind::WarmUp,
            true => StepKind::Checkpoint,
            false => StepKind::Train,
        };
        self.client.send(&FromWorker::Iteration { epoch, iteration, kind })
    }

    /// Does one thing, if there is one to do.
    pub(super) fn advance(&mut self) -> Result<bool> {
        self.flush();
        if !self.has_decided || self.state.is_none() {
            return Ok(false);
        }
        if self.is_at_end() {
            return self.finish();
        }
        let Some(round) = &self.round else { return Ok(false) };
        match round.next() {
            Some(Work::Forward(micro_batch)) => self.forward(micro_batch)?,
            Some(Work::Backward(micro_batch)) => self.backward(micro_batch)?,
            None if round.can_vote() && self.pace_left().is_none() => self.vote()?,
            None if round.is_voted() => self.commit()?,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// What is left of the least time of an iteration, if only that is waited for.
    pub(super) fn pace_left(&self) -> Option<Duration> {
        let can_vote = self.round.as_ref().is_some_and(|round| round.can_vote());
        let left = self.config.settings.pace.checked_sub(self.began.elapsed())?;
        (can_vote && self.state.is_some() && !left.is_zero()).then_some(left)
    }

    /// Hands what is to be sent to the mesh.
    fn flush(&mut self) {
        if let Some(round) = &mut self.round {
            let iteration = round.iteration();
            for (to, message) in round.outgoing() {
                self.mesh.send(to, iteration, message);
            }
        }
    }

    /// Hears a message of an iteration: this one, or the next, which others may have begun already.
    pub(super) fn hear_of_iteration(&mut self, from: Worker, envelope: Envelope) -> Result<()> {
        let Some(round) = &mut self.round else { return Ok(()) };
        let (iteration, before) = (round.iteration(), round.reduced().0);
        if envelope.iteration == iteration + 1 {
            self.stash.push((from, envelope));
        } else if envelope.iteration == iteration {
            round.receive(from, envelope.message);
            let (after, segments) = round.reduced();
            if before < after && after < segments {
                self.flush();
                (self.hooks.at)(Moment::Reducing, iteration)?;
            }
        }
        Ok(())
    }

    /// The stage with the present weights.
    fn model(&mut self) -> Result<&Model> {
        if self.model.is_none() {
            let (Some(layout), Some(state)) = (&self.layout, &self.state) else {
                return Err(inconsistent("a state"));
            };
            self.model = Some(Model::new(layout.clone(), state.weights())?);
        }
        self.model.as_ref().ok_or_else(|| inconsistent("a model"))
    }

    fn forward(&mut self, micro_batch: u32) -> Result<()> {
        let seed = self.config.settings.seed;
        let shape = self.config.settings.shape;
        let Some(round) = &self.round else { return Ok(()) };
        let iteration = round.iteration();
        let input = round.input(micro_batch).cloned();
        let samples = self.config.text.samples(&shape, seed, iteration, micro_batch);
        let is_last = self.stage + 1 == self.config.settings.stages;
        let forward = self.model()?.forward(&samples, input.as_deref())?;
        let output = (!is_last).then(|| forward.output()).transpose()?.map(Values::from);
        let Some(round) = &mut self.round else { return Ok(()) };
        round.forward_is_done(micro_batch, forward, output);
        self.flush();
        (self.hooks.at)(Moment::Forward, iteration)
    }

    fn backward(&mut self, micro_batch: u32) -> Result<()> {
        self.model()?;
        let (Some(round), Some(model)) = (&mut self.round, &self.model) else { return Ok(()) };
        let iteration = round.iteration();
        let needs = round.backward_needs(micro_batch);
        let (forward, gradient) = needs.ok_or_else(|| inconsistent("a forward"))?;
        let backward = model.backward(forward, gradient.map(|values| &**values))?;
        let of_input = backward.of_input.map(Values::from);
        let counted = round.backward_is_done(micro_batch, backward.gradient, of_input);
        let is_done = round.next().is_none() && round.has_contributed();
        if let Some(is_redone) = counted {
            let epoch = self.epoch;
            let message = FromWorker::MicroBatch { epoch, iteration, micro_batch, is_redone };
            self.client.send(&message)?;
        }
        // Before anything is sent.
        let moment = if is_done { Moment::Summed } else { Moment::Backward };
        (self.hooks.at)(moment, iteration)?;
        self.flush();
        Ok(())
    }

    fn vote(&mut self) -> Result<()> {
        let Some(round) = &mut self.round else { return Ok(()) };
        (self.hooks.at)(Moment::Reduced, round.iteration())?;
        round.vote();
        self.flush();
        Ok(())
    }

    /// All have voted: takes the step and goes on to the next iteration.
    fn commit(&mut self) -> Result<()> {
        let Some(iteration) = self.round.as_ref().map(|round| round.iteration()) else {
            return Ok(());
        };
        (self.hooks.at)(Moment::Voted, iteration)?;
        self.step()?;
        (self.hooks.at)(Moment::Stepped, iteration)?;
        self.send_memory();
        self.store_when_due();
        let mut round = self.new_round(iteration + 1);
        let plan = Plan::fresh(&self.batch(), &self.members);
        round.adopt(plan, self.members.clone(), BTreeSet::new(), Vec::new());
        self.round = Some(round);
        self.begin()?;
        self.replay()
    }

    /// The optimiser's step by the whole gradient of the round.
    pub(super) fn step(&mut self) -> Result<()> {
        let (Some(round), Some(state)) = (&self.round, &self.state) else {
            return Err(inconsistent("a round"));
        };
        let gradient = round.gradient().ok_or_else(|| inconsistent("a gradient"))?;
        let settings = &self.config.settings;
        let state = state.step(&gradient, settings.micro_batches, settings.shape.learning_rate);
        let iteration = state.iteration;
        let is_last = self.stage + 1 == settings.stages;
        let loss = gradient.last().filter(|_| is_last).map(|&sum| mean_loss(sum, settings));
        let redone = redone(round.redone());
        if let Some(loss) = loss.filter(|_| self.chief(self.stage) == Some(self.config.worker)) {
            (self.hooks.log)(&format!("iteration {iteration}, loss {loss:.4}"));
        }
        self.highest = self.highest.max(iteration);
        self.keep_own(state.clone());
        self.state = Some(state);
        self.model = None;
        self.has_warmed_up = true;
        self.client.send(&FromWorker::Committed { epoch: self.epoch, iteration, loss, redone })
    }
}

/// Passes that were done again, counted.
fn redone(passes: &[(u32, u32)]) -> Redone {
    let micro_batches: BTreeSet<u32> = passes.iter().map(|&(_, micro_batch)| micro_batch).collect();
    Redone { micro_batches: micro_batches.len() as u64, stage_passes: passes.len() as u64 }
}
