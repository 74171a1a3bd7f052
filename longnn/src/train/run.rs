//! One seed of a model: its network, its optimiser, its best epoch.

use super::optimizer::{learning_rates, optimizer};
use super::outcome::{LearnedFilter, Outcome};
use super::protocol::{EarlyStopping, Evaluation, Protocol, Verdict};
use crate::Result;
use crate::graph::Split;
use crate::model::{Architecture, Initializer, Network, Noise, Parameters, Problem, Settings};
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Gradients};
use common::statistics::median;
use std::sync::Arc;

/// What to train: a seed with its settings and nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The seed of split, start and dropout.
    pub seed: u64,
    /// The model's settings.
    pub settings: Settings,
    /// The nodes.
    pub split: Split,
}

impl Job {
    /// The same settings with each seed's split.
    ///
    /// # Errors
    /// If the graph has no such split.
    pub fn seeds(
        problem: &Problem,
        settings: &Settings,
        protocol: &Protocol,
        seeds: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<Self>> {
        let job = |seed: u64| {
            let split = protocol.splits.split(problem.graph(), seed)?;
            Ok(Self { seed, settings: settings.clone(), split })
        };
        seeds.into_iter().map(job).collect()
    }
}

/// A run under way.
pub(super) struct Run {
    pub job: Job,
    pub network: Network,
    pub parameters: Parameters,
    pub optimizer: ModuleOptimizer,
    rates: ModuleLrScheduler,
    pub train_nodes: Arc<[u32]>,
    pub stopping: EarlyStopping,
    /// What was learned of the filter at the best epoch.
    pub best_filter: Option<Vec<f32>>,
    /// The epoch that comes next.
    pub epoch: usize,
    /// The epoch of its last checkpoint.
    pub saved_epoch: usize,
    pub epoch_ms: Vec<f64>,
    /// Why it ended, if it did.
    pub end: Option<End>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Stopped,
    Diverged,
}

impl Run {
    pub fn new(architecture: Architecture, problem: &Problem, job: Job) -> Result<Self> {
        let network = Network::new(architecture, job.settings.clone(), problem)?;
        let device = Device::flex().autodiff();
        Ok(Self {
            parameters: network.initial(Initializer::new(job.seed, device)),
            optimizer: optimizer(&job.settings),
            rates: learning_rates(&job.settings),
            train_nodes: job.split.train().into(),
            network,
            job,
            stopping: EarlyStopping::new(),
            best_filter: None,
            epoch: 0,
            saved_epoch: 0,
            epoch_ms: Vec::new(),
            end: None,
        })
    }

    /// The dropout of the training pass of this epoch.
    pub fn training_noise(&self) -> Noise {
        Noise { seed: self.job.seed, pass: 2 * self.epoch as u64, hidden_only: false }
    }

    /// The dropout of the evaluation of this epoch, which only the official one has.
    pub fn evaluation_noise(&self, evaluation: Evaluation) -> Option<Noise> {
        (evaluation == Evaluation::Official).then(|| Noise {
            seed: self.job.seed,
            pass: 2 * self.epoch as u64 + 1,
            hidden_only: true,
        })
    }

    /// One step of the optimiser.
    pub fn step(&mut self, gradients: &mut Gradients) {
        let gradients = GradientsParams::from_module(gradients, &self.parameters);
        let parameters = self.parameters.clone();
        let stepped = self.optimizer.step(self.rates.step(), parameters, gradients);
        self.parameters = match self.network.polynomial() {
            Some(form) => form.project(stepped),
            None => stepped,
        };
    }

    /// Takes an epoch's results; the loss is that of the training pass.
    pub fn observe(&mut self, loss: f32, validation: f64, test: f64, protocol: &Protocol) {
        match self.stopping.observe(self.epoch, validation, test, protocol.patience) {
            Verdict::Best => {
                let form = self.network.polynomial();
                let values = form.and_then(|form| form.filter_values(&self.parameters));
                self.best_filter = values.filter(|values| values.iter().all(|x| x.is_finite()));
            }
            Verdict::Wait => {}
            Verdict::Stop => self.end = Some(End::Stopped),
        }
        self.epoch += 1;
        if self.epoch >= protocol.max_epochs {
            self.end = Some(End::Stopped);
        }
        if !loss.is_finite() {
            self.end = Some(End::Diverged);
        }
    }

    pub fn outcome(self) -> Outcome {
        Outcome {
            seed: self.job.seed,
            validation: self.stopping.validation,
            test: self.stopping.test,
            best_epoch: self.stopping.best_epoch,
            epochs: self.epoch,
            diverged: self.end == Some(End::Diverged),
            epoch_ms_median: median(&self.epoch_ms).unwrap_or(0.0),
            filter: self.best_filter.and_then(|values| LearnedFilter::of(&self.network, &values)),
        }
    }
}
