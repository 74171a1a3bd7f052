//! Epochs of many runs at once: their signals stand side by side, and one sparse product serves all.
//!
//! A sparse product is bound by reading the graph, so ten seeds cost far less than ten times one. A
//! run has the same bits alone or beside others: every operation on the joint matrix treats columns
//! independently, and everything else is the run's own.

use super::checkpoint::Checkpoints;
use super::joint::{self, Pass};
use super::outcome::Outcome;
use super::protocol::Protocol;
use super::run::{Job, Run};
use crate::Result;
use crate::autodiff::function::Matrix;
use crate::model::{Architecture, Parameters, Problem};
use burn::module::Module;
use rayon::prelude::*;
use std::time::Instant;

/// Watches training.
pub trait Observer {
    /// An epoch of all runs under way has ended.
    fn epoch(&mut self, status: &Status);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn epoch(&mut self, _: &Status) {}
}

/// How training stands after an epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Status {
    /// Epochs so far of the run that has most.
    pub epochs: usize,
    /// Runs still under way.
    pub n_active: usize,
    /// Runs altogether.
    pub n_runs: usize,
    /// Mean training loss of the runs under way.
    pub loss: f32,
    /// Mean of the metric on their validation nodes, 0 to 1.
    pub validation: f64,
}

/// Trains all jobs, which share graph and model, and returns their outcomes in the jobs' order.
///
/// With checkpoints, runs that have one go on from there, and finished ones aren't run again.
///
/// # Errors
/// If a setting is outside its range, a split doesn't fit the graph, or a checkpoint can't be read
/// or written.
pub fn train(
    problem: &Problem,
    architecture: Architecture,
    jobs: Vec<Job>,
    protocol: &Protocol,
    checkpoints: Option<&Checkpoints>,
    observer: &mut (impl Observer + Send),
) -> Result<Vec<Outcome>> {
    // Inside the thread pool, which every step would have to enter several times otherwise.
    let runs = || finished_runs(problem, architecture, jobs, protocol, checkpoints, observer);
    let (runs, ()) = rayon::join(runs, || ());
    Ok(runs?.into_iter().map(Run::outcome).collect())
}

pub(super) fn finished_runs(
    problem: &Problem,
    architecture: Architecture,
    jobs: Vec<Job>,
    protocol: &Protocol,
    checkpoints: Option<&Checkpoints>,
    observer: &mut impl Observer,
) -> Result<Vec<Run>> {
    let mut runs = Vec::with_capacity(jobs.len());
    for job in jobs {
        let run = Run::new(architecture, problem, job)?;
        runs.push(match checkpoints {
            Some(checkpoints) => checkpoints.restore(run, protocol)?,
            None => run,
        });
    }
    let mut group = Group { problem, protocol, runs };
    while let Some(status) = group.epoch()? {
        observer.epoch(&status);
        if let Some(checkpoints) = checkpoints {
            for run in group.runs.iter_mut().filter(|run| checkpoints.is_due(run)) {
                checkpoints.save(run, protocol)?;
            }
        }
    }
    Ok(group.runs)
}

struct Group<'a> {
    problem: &'a Problem,
    protocol: &'a Protocol,
    runs: Vec<Run>,
}

impl Group<'_> {
    /// One epoch of all runs under way; `None` where there is none.
    fn epoch(&mut self) -> Result<Option<Status>> {
        let n_runs = self.runs.len();
        let (problem, protocol) = (self.problem, self.protocol);
        let mut active: Vec<&mut Run> =
            self.runs.iter_mut().filter(|run| run.end.is_none()).collect();
        if active.is_empty() {
            return Ok(None);
        }
        let clock = Instant::now();
        let losses = training_step(problem, &mut active);
        let measures = evaluate(problem, protocol, &active)?;
        let epoch_ms = clock.elapsed().as_secs_f64() * 1e3 / active.len() as f64;
        for ((run, &loss), &(validation, test)) in active.iter_mut().zip(&losses).zip(&measures) {
            run.observe(loss, validation, test, protocol);
            run.epoch_ms.push(epoch_ms);
        }
        let mean = |sum: f64| sum / active.len() as f64;
        Ok(Some(Status {
            epochs: active.iter().map(|run| run.epoch).max().unwrap_or(0),
            n_active: active.len(),
            n_runs,
            loss: mean(losses.iter().map(|&loss| f64::from(loss)).sum()) as f32,
            validation: mean(measures.iter().map(|(validation, _)| validation).sum()),
        }))
    }
}

/// Forward, backward and a step of each optimiser; returns the losses.
fn training_step(problem: &Problem, runs: &mut [&mut Run]) -> Vec<f32> {
    let passes: Vec<Pass> = runs
        .par_iter()
        .map(|run| Pass {
            signals: run.network.encode(&run.parameters, Some(run.training_noise())),
            weights: run.network.filter_weights(&run.parameters),
        })
        .collect();
    let (losses, gradients) = joint::losses(problem, runs, &passes);
    runs.par_iter_mut().zip(passes).zip(gradients).for_each(|((run, pass), gradients)| {
        run.step(&mut pass.backward(gradients));
    });
    losses
}

/// Validation and test metric of each run.
fn evaluate(problem: &Problem, protocol: &Protocol, runs: &[&mut Run]) -> Result<Vec<(f64, f64)>> {
    let passes: Vec<Pass> = runs
        .par_iter()
        .map(|run| {
            let parameters: Parameters = run.parameters.valid();
            let noise = run.evaluation_noise(protocol.evaluation);
            Pass {
                signals: run.network.encode(&parameters, noise),
                weights: run.network.filter_weights(&parameters),
            }
        })
        .collect();
    let scores = joint::scores(runs, passes);
    let graph = problem.graph();
    let measure = |(run, scores): (&&mut Run, &Matrix)| {
        let of = |nodes: &[u32]| graph.metric().measure(&scores.values, graph.labels(), nodes);
        Ok((of(run.job.split.validation())?, of(run.job.split.test())?))
    };
    runs.par_iter().zip(&scores).map(measure).collect()
}
