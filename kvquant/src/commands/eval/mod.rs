//! `kvquant eval`

mod divergence;
mod needle;
mod tasks;

use clap::{Args, Subcommand};

/// Measure what a plan costs a model, beside half precision
///
/// Long runs show progress; with --journal FILE an interrupted run goes on where it was.
#[derive(Debug, Args)]
pub struct Eval {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Divergence(divergence::DivergenceTask),
    Needle(needle::NeedleTask),
    /// TruthfulQA: multiple choice by log-probability
    Truthfulqa(tasks::TaskOptions),
    /// GSM8K: exact match after solved examples
    Gsm8k {
        #[command(flatten)]
        options: tasks::TaskOptions,
        /// Solved examples, of the training set
        #[arg(long, default_value_t = 4)]
        examples: usize,
    },
    /// L-Eval's topic retrieval, where the model's context holds a conversation
    Leval(tasks::TaskOptions),
}

impl Eval {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.task {
            Task::Divergence(task) => task.run(),
            Task::Needle(task) => task.run(),
            Task::Truthfulqa(options) => options.truthfulqa(),
            Task::Gsm8k { options, examples } => options.gsm8k(examples),
            Task::Leval(options) => options.leval(),
        }
    }
}
