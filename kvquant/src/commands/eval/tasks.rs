//! `kvquant eval truthfulqa`, `gsm8k` and `leval`

use crate::commands::options::{ModelOptions, PlanOptions, read_text};
use crate::eval::gsm8k::Gsm8k;
use crate::eval::leval::TopicRetrieval;
use crate::eval::score::Score;
use crate::eval::task::{self, Task};
use crate::eval::truthfulqa::TruthfulQa;
use crate::model::tokenizer::Tokenizer;
use crate::model::{Llama, fingerprint};
use crate::policy::Plan;
use clap::Args;
use common::assets::sha256;
use common::command::{print, print_json};
use common::journal::Journal;
use common::progress::{Progress, Unit};
use common::report::{Align, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
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
        let (_, data) = read_text(self.data.as_deref(), "truthfulqa")?;
        let task = TruthfulQa::new(&data)?;
        let (model, tokenizer) = self.model.load()?;
        self.run("truthfulqa", &data, &task, &model, &tokenizer)
    }

    /// GSM8K, exact match after solved examples.
    pub fn gsm8k(self, examples: usize) -> anyhow::Result<()> {
        let (_, data) = read_text(self.data.as_deref(), "gsm8k-test")?;
        let (_, solved) = read_text(None, "gsm8k-train-head64")?;
        let task = Gsm8k::new(&data, &solved, examples)?;
        let (model, tokenizer) = self.model.load()?;
        self.run("gsm8k", &format!("{examples} {solved} {data}"), &task, &model, &tokenizer)
    }

    /// L-Eval's topic retrieval, of the conversations that the model's context holds.
    pub fn leval(self) -> anyhow::Result<()> {
        let (_, data) = read_text(self.data.as_deref(), "leval-topic-retrieval-longchat")?;
        let (model, tokenizer) = self.model.load()?;
        let task = TopicRetrieval::new(&data, &tokenizer, model.config().context_len)?;
        self.run("leval", &data, &task, &model, &tokenizer)
    }

    fn run<T: Task>(
        &self,
        name: &'static str,
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
            "model": fingerprint(model.gguf())?,
            "weights": self.model.weights.to_string(),
            "plan": format!("{plan:?}"),
            "data": sha256([data.as_bytes()]),
        });
        let mut journal = Journal::open(self.journal.as_deref(), &described)?;
        let n = self.questions.unwrap_or(usize::MAX).min(task.n_questions());
        let mut scores = |name: &str, plan: &Plan| {
            let bar = Progress::stderr().bar(name, Some(n as u64), Unit::Items("questions"));
            let scores = task::run(task, model, tokenizer, plan, n, |at, ask| {
                let outcome = journal.outcome(&format!("{name}, question {at}"), || Ok(ask()?));
                bar.advance(1);
                outcome
            });
            bar.finish();
            scores
        };
        // Half precision first: where it has no skill, a plan has none to cost.
        let exact = scores("half precision", &Plan::f16())?;
        let has_signal = exact.iter().any(|(_, score)| score.has_signal());
        let stored = match has_signal && plan.rule != Plan::f16().rule {
            true => Some(scores("plan", &plan)?),
            false => None,
        };
        self.print(name, &plan.to_string(), &exact, stored.as_deref())
    }

    fn print(
        &self,
        task: &str,
        plan: &str,
        exact: &[(&str, Score)],
        stored: Option<&[(&str, Score)]>,
    ) -> anyhow::Result<()> {
        if self.json {
            let by_name = |scores: &[(&str, Score)]| -> Value {
                let score = |(name, score): &(&str, Score)| {
                    let mut json = json!(score);
                    json["has_signal"] = json!(score.has_signal());
                    (name.to_lowercase().replace(' ', "_"), json)
                };
                scores.iter().map(score).collect::<serde_json::Map<_, _>>().into()
            };
            return print_json(&json!({
                "task": task,
                "model": self.model.model,
                "weights": self.model.weights.to_string(),
                "plan": plan,
                "half_precision": by_name(exact),
                "scores": stored.map(by_name),
            }));
        }
        let mut table = Table::new(&[
            ("", Align::Left),
            ("chance, %", Align::Right),
            ("half precision, %", Align::Right),
            (plan, Align::Right),
        ]);
        let shown = |score: &Score| {
            format!(
                "{:.1} ± {:.1} of {}",
                100.0 * score.mean,
                100.0 * score.standard_error,
                score.n
            )
        };
        for (at, (name, score)) in exact.iter().enumerate() {
            let other = match (score.has_signal(), stored) {
                (false, _) => "no signal".to_owned(),
                (true, Some(stored)) => shown(&stored[at].1),
                (true, None) => "the same".to_owned(),
            };
            let chance = format!("{:.1}", 100.0 * score.chance);
            table.row([(*name).to_owned(), chance, shown(score), other]);
        }
        print(&table.to_text())
    }
}
