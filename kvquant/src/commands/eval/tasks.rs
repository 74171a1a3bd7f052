//! `kvquant eval truthfulqa`, `gsm8k` and `leval`

use crate::commands::options::{ModelOptions, PlanOptions, read_text};
use clap::Args;
use common::command::{print, print_json};
use common::journal::Journal;
use common::progress::{Progress, Unit};
use kvquant::eval::gsm8k::Gsm8k;
use kvquant::eval::leval::TopicRetrieval;
use kvquant::eval::score::Score;
use kvquant::eval::task::{self, Task};
use kvquant::eval::truthfulqa::TruthfulQa;
use kvquant::model::Llama;
use kvquant::model::tokenizer::Tokenizer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::path::PathBuf;

/// What all of them take.
#[derive(Debug, Args)]
pub struct TaskOptions {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    plan: PlanOptions,
    /// The data set's file; the published one if absent
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Questions that are asked, from the first on; all if absent
    #[arg(long)]
    questions: Option<usize>,
    /// Keeps what is finished in this file
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl TaskOptions {
    /// TruthfulQA, multiple choice by log-probability.
    pub fn truthfulqa(self) -> anyhow::Result<()> {
        let (name, data) = read_text(self.data.as_deref(), "truthfulqa")?;
        let (model, tokenizer) = self.model.load()?;
        self.run("truthfulqa", &name, &TruthfulQa::new(&data)?, &model, &tokenizer)
    }

    /// GSM8K, exact match after solved examples.
    pub fn gsm8k(self, examples: usize) -> anyhow::Result<()> {
        let (name, data) = read_text(self.data.as_deref(), "gsm8k-test")?;
        let (_, solved) = read_text(None, "gsm8k-train-head64")?;
        let task = Gsm8k::new(&data, &solved, examples)?;
        let (model, tokenizer) = self.model.load()?;
        self.run("gsm8k", &format!("{name}, {examples} examples"), &task, &model, &tokenizer)
    }

    /// L-Eval's topic retrieval, of the conversations that the model's context holds.
    pub fn leval(self) -> anyhow::Result<()> {
        let (name, data) = read_text(self.data.as_deref(), "leval-topic-retrieval-longchat")?;
        let (model, tokenizer) = self.model.load()?;
        let task = TopicRetrieval::new(&data, &tokenizer, model.config().context_len)?;
        self.run("leval", &name, &task, &model, &tokenizer)
    }

    fn run<T: Task>(
        &self,
        name: &str,
        data: &str,
        task: &T,
        model: &Llama,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<()>
    where
        T::Outcome: Serialize + DeserializeOwned,
    {
        let plan = self.plan.plan(&self.model, model, tokenizer)?;
        let described = json!({
            "eval": name,
            "model": self.model.model,
            "weights": self.model.weights.to_string(),
            "plan": format!("{plan:?}"),
            "data": data,
        });
        let mut journal = Journal::open(self.journal.as_deref(), &described)?;
        let n = self.questions.unwrap_or(usize::MAX).min(task.n_questions());
        let bar = Progress::stderr().bar(name, Some(n as u64), Unit::Items("questions"));
        let scores = task::run(task, model, tokenizer, &plan, n, |at, ask| {
            let outcome = journal.outcome(&format!("question {at}"), || Ok(ask()?));
            bar.advance(1);
            outcome
        })?;
        bar.finish();
        self.print(name, &plan.to_string(), &scores)
    }

    fn print(&self, task: &str, plan: &str, scores: &[(&str, Score)]) -> anyhow::Result<()> {
        if self.json {
            let by_name: serde_json::Map<_, _> = scores
                .iter()
                .map(|(name, score)| {
                    let mut json = json!(score);
                    json["has_signal"] = json!(score.has_signal());
                    (name.to_lowercase().replace(' ', "_"), json)
                })
                .collect();
            return print_json(&json!({
                "task": task,
                "model": self.model.model,
                "weights": self.model.weights.to_string(),
                "plan": plan,
                "scores": by_name,
            }));
        }
        let line = |(name, score): &(&str, Score)| {
            let signal = if score.has_signal() { "" } else { ", no signal" };
            format!(
                "{name:<14} {:.1} % ± {:.1} of {} (chance {:.1} %){signal}\n",
                100.0 * score.mean,
                100.0 * score.standard_error,
                score.n,
                100.0 * score.chance,
            )
        };
        print(&scores.iter().map(line).collect::<String>())
    }
}
