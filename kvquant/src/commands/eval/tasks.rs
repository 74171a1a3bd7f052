//! `kvquant eval truthfulqa`, `gsm8k` and `leval`

use crate::commands::options::{ModelOptions, PlanOptions, read_text};
use clap::Args;
use common::command::{print, print_json};
use common::journal::Journal;
use common::progress::{Progress, Unit};
use kvquant::eval::reader::Reader;
use kvquant::eval::score::Score;
use kvquant::eval::{gsm8k, leval, truthfulqa};
use kvquant::model::Llama;
use kvquant::model::tokenizer::Tokenizer;
use kvquant::policy::Plan;
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

/// A run of a task.
struct Run {
    options: TaskOptions,
    task: &'static str,
    plan: Plan,
    data: String,
    model: Llama,
    tokenizer: Tokenizer,
    journal: Journal,
}

impl TaskOptions {
    /// TruthfulQA, multiple choice by log-probability.
    pub fn truthfulqa(self) -> anyhow::Result<()> {
        let mut run = self.start("truthfulqa", "truthfulqa")?;
        let questions = truthfulqa::questions(&run.data)?;
        let mut primed = Reader::new(&run.model, &run.plan)?;
        primed.read(&run.tokenizer.encode(truthfulqa::PRIMER, run.tokenizer.adds_bos())?)?;
        let n = run.n_questions(questions.len());
        let bar = Progress::stderr().bar("TruthfulQA", Some(n as u64), Unit::Items("questions"));
        let mut outcomes = Vec::new();
        for (at, question) in questions.iter().take(n).enumerate() {
            let outcome = run.journal.outcome(&format!("question {at}"), || {
                Ok(question.ask(&primed, &run.tokenizer)?)
            })?;
            outcomes.push(outcome);
            bar.advance(1);
        }
        bar.finish();
        let column =
            |of: fn(&truthfulqa::Outcome) -> f64| outcomes.iter().map(of).collect::<Vec<_>>();
        let mc1 = Score::of(&column(|o| o.mc1), &column(|o| o.mc1_chance));
        let mc2 = Score::of(&column(|o| o.mc2), &column(|o| o.mc2_chance));
        run.print(&[("MC1", mc1), ("MC2", mc2)])
    }

    /// GSM8K, exact match after solved examples.
    pub fn gsm8k(self, examples: usize) -> anyhow::Result<()> {
        let mut run = self.start("gsm8k", "gsm8k-test")?;
        let problems = gsm8k::problems(&run.data)?;
        let (_, solved) = read_text(None, "gsm8k-train-head64")?;
        let solved = gsm8k::problems(&solved)?;
        anyhow::ensure!(examples <= solved.len(), "there are {} examples at most", solved.len());
        let text: String = solved.iter().take(examples).map(gsm8k::Problem::solved).collect();
        let mut primed = Reader::new(&run.model, &run.plan)?;
        primed.read(&run.tokenizer.encode(&text, run.tokenizer.adds_bos())?)?;
        let n = run.n_questions(problems.len());
        let bar = Progress::stderr().bar("GSM8K", Some(n as u64), Unit::Items("problems"));
        let mut scores = Vec::new();
        for (at, problem) in problems.iter().take(n).enumerate() {
            let is_solved: bool = run.journal.outcome(&format!("problem {at}"), || {
                Ok(problem.is_solved(&primed, &run.tokenizer)?)
            })?;
            scores.push(f64::from(is_solved));
            bar.advance(1);
        }
        bar.finish();
        let score = Score::of(&scores, &vec![0.0; scores.len()]);
        run.print(&[("exact match", score)])
    }

    /// L-Eval's topic retrieval, of the conversations that the model's context holds.
    pub fn leval(self) -> anyhow::Result<()> {
        let mut run = self.start("leval", "leval-topic-retrieval-longchat")?;
        let conversations = leval::conversations(&run.data)?;
        let room = run.model.config().context_len.saturating_sub(64);
        let mut held = Vec::new();
        for (at, conversation) in conversations.iter().enumerate() {
            let tokens = conversation.tokens(&run.tokenizer)?;
            if tokens.len() <= room {
                held.push((at, conversation, tokens));
            }
        }
        anyhow::ensure!(
            !held.is_empty(),
            "none of the {} conversations fits into the model's context of {} tokens",
            conversations.len(),
            run.model.config().context_len
        );
        let n = run.n_questions(held.len());
        let bar = Progress::stderr().bar("L-Eval", Some(n as u64), Unit::Items("conversations"));
        let mut scores = Vec::new();
        for (at, conversation, tokens) in held.iter().take(n) {
            let named: Vec<bool> = run.journal.outcome(&format!("conversation {at}"), || {
                let mut reader = Reader::new(&run.model, &run.plan)?;
                reader.read(tokens)?;
                Ok(conversation.ask(&reader, &run.tokenizer)?)
            })?;
            scores.extend(named.into_iter().map(f64::from));
            bar.advance(1);
        }
        bar.finish();
        let score = Score::of(&scores, &vec![0.0; scores.len()]);
        run.print(&[("topics named", score)])
    }

    fn start(self, task: &'static str, data_set: &str) -> anyhow::Result<Run> {
        let (name, data) = read_text(self.data.as_deref(), data_set)?;
        let (model, tokenizer) = self.model.load()?;
        let plan = self.plan.plan(&self.model, &model, &tokenizer)?;
        let described = json!({
            "eval": task,
            "model": self.model.model,
            "weights": self.model.weights.to_string(),
            "plan": format!("{plan:?}"),
            "data": name,
        });
        let journal = Journal::open(self.journal.as_deref(), &described)?;
        Ok(Run { options: self, task, plan, data, model, tokenizer, journal })
    }
}

impl Run {
    fn n_questions(&self, all: usize) -> usize {
        self.options.questions.unwrap_or(all).min(all)
    }

    fn print(&self, scores: &[(&str, Score)]) -> anyhow::Result<()> {
        let plan = self.plan.to_string();
        if self.options.json {
            let by_name: serde_json::Map<_, _> = scores
                .iter()
                .map(|(name, score)| {
                    let mut json = json!(score);
                    json["has_signal"] = json!(score.has_signal());
                    (name.to_lowercase().replace(' ', "_"), json)
                })
                .collect();
            return print_json(&json!({
                "task": self.task,
                "model": self.options.model.model,
                "weights": self.options.model.weights.to_string(),
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
