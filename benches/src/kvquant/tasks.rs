//! The paper's tables 1 to 6: tasks under its plans, and under ours.

use super::SYSTEM;
use super::setting::{NamedPlan, SMOLLM2, Setting, read_text};
use crate::experiment::{Experiment, Size};
use common::journal::Journal;
use common::progress::{Progress, Unit};
use common::report::{Claim, Verdict};
use kvquant::eval::gsm8k::Gsm8k;
use kvquant::eval::leval::TopicRetrieval;
use kvquant::eval::score::Score;
use kvquant::eval::task::{self, Task};
use kvquant::eval::truthfulqa::TruthfulQa;
use kvquant::model::WeightFormat;
use kvquant::presets::Preset;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Examples before each problem of GSM8K.
const EXAMPLES: usize = 4;

/// Tasks on a model.
pub struct Tasks;

#[derive(Debug, Serialize, Deserialize)]
pub struct TaskMetrics {
    pub tasks: Vec<TaskScores>,
}

/// A task under plans.
#[derive(Debug, Serialize, Deserialize)]
pub struct TaskScores {
    pub task: String,
    /// Whether f16's score is more than two standard errors from chance; the others are run only then.
    pub has_signal: bool,
    /// Plan and score, f16 first.
    pub scores: Vec<(String, Score)>,
}

impl TaskMetrics {
    /// The scores of a task, if it says anything.
    pub fn task(&self, name: &str) -> Option<&TaskScores> {
        self.tasks.iter().find(|task| task.task == name)
    }
}

impl TaskScores {
    /// The score under a plan.
    pub fn score(&self, plan: &str) -> Option<&Score> {
        self.scores.iter().find(|(name, _)| name == plan).map(|(_, score)| score)
    }
}

/// What a task is run on.
struct Run<'a> {
    setting: &'a Setting,
    journal: Journal,
    progress: &'a Progress,
}

impl Run<'_> {
    /// All scores of a task; of the plans after the first only if that has a signal.
    fn task<T: Task>(
        &mut self,
        name: &str,
        task: &T,
        n: usize,
        plans: &[NamedPlan],
    ) -> anyhow::Result<Vec<TaskScores>>
    where
        T::Outcome: Serialize + DeserializeOwned,
    {
        let n = n.min(task.n_questions());
        let bar = self.progress.bar(name, Some((plans.len() * n) as u64), Unit::Items("questions"));
        let mut all: Vec<TaskScores> = Vec::new();
        for NamedPlan { name: of_plan, plan } in plans {
            bar.message(of_plan.clone());
            let (model, tokenizer) = (&self.setting.model, &self.setting.tokenizer);
            let journal = &mut self.journal;
            let scores = task::run(task, model, tokenizer, plan, n, |at, ask| {
                let part = format!("{name}, {of_plan}, question {at}");
                let outcome = journal.outcome(&part, || Ok(ask()?));
                bar.advance(1);
                outcome
            })?;
            for (score_name, score) in scores {
                let task = format!("{name}, {score_name}");
                match all.iter_mut().find(|scores| scores.task == task) {
                    Some(scores) => scores.scores.push((of_plan.clone(), score)),
                    None => all.push(TaskScores {
                        task,
                        has_signal: score.has_signal(),
                        scores: vec![(of_plan.clone(), score)],
                    }),
                }
            }
            if all.iter().all(|scores| !scores.has_signal) {
                break;
            }
        }
        bar.finish();
        Ok(all)
    }
}

impl Experiment for Tasks {
    type Metrics = TaskMetrics;

    fn name(&self) -> String {
        "kvquant-tasks".to_owned()
    }

    fn run(&self, size: Size, progress: &Progress) -> anyhow::Result<(TaskMetrics, Value)> {
        let setting = Setting::load(SMOLLM2, WeightFormat::F32, progress)?;
        let presets = [Preset::Balanced, Preset::Small, Preset::Tiny];
        let with = |plans: &[&str]| -> anyhow::Result<Vec<NamedPlan>> {
            let named = plans.iter().map(|plan| NamedPlan::parse(plan));
            named.chain(presets.map(|preset| setting.preset(preset))).collect()
        };
        let (questions, problems, conversations) = match size {
            Size::Full => (400, 40, usize::MAX),
            Size::Quick => (4, 0, 0),
        };
        let configuration = json!({
            "model": SMOLLM2,
            "weights": WeightFormat::F32.to_string(),
            "truthfulqa": questions,
            "gsm8k": problems,
            "gsm8k_examples": EXAMPLES,
            "leval": if conversations > 0 { "all conversations that fit" } else { "none" },
        });
        let journal = setting.journal(&Experiment::name(self), &configuration)?;
        let mut run = Run { setting: &setting, journal, progress };
        let table = TruthfulQa::new(&read_text("truthfulqa", progress)?)?;
        let mut short = vec!["f16", "kivi-2"];
        if size == Size::Full {
            short.extend([
                "asymkv-0/8",
                "asymkv-0/15",
                "asymkv-0/30",
                "asymkv-8/0",
                "asymkv-15/0",
                "asymkv-30/0",
                "asymkv-4/1-0/15",
                "asymkv-4/1-15/0",
            ]);
        }
        let mut tasks = run.task("TruthfulQA", &table, questions, &with(&short)?)?;
        if size == Size::Full {
            let problem = read_text("gsm8k-test", progress)?;
            let solved = read_text("gsm8k-train-head64", progress)?;
            let gsm8k = Gsm8k::new(&problem, &solved, EXAMPLES)?;
            tasks.extend(run.task("GSM8K", &gsm8k, problems, &with(&["f16", "kivi-2"])?)?);
            let lines = read_text("leval-topic-retrieval-longchat", progress)?;
            let context = setting.model.config().context_len;
            let retrieval = TopicRetrieval::new(&lines, &setting.tokenizer, context)?;
            // The paper's window for long contexts.
            let long = [
                "f16",
                "kivi-2:window=512",
                "asymkv-0/30:window=512",
                "asymkv-30/0:window=512",
                "asymkv-30/8:window=512",
                "asymkv-30/15:window=512",
            ];
            tasks.extend(run.task("L-Eval, topics", &retrieval, conversations, &with(&long)?)?);
        }
        Ok((TaskMetrics { tasks }, configuration))
    }

    fn claims(&self, metrics: &TaskMetrics) -> Vec<Claim> {
        let mut claims = self.open_claims("");
        let Some(task) = metrics.task("TruthfulQA, MC2") else { return claims };
        if !task.has_signal {
            claims[0].verdict = Verdict::NotReproduced("f16 has no signal".to_owned());
            return claims;
        }
        if let (Some(keys), Some(values)) = (task.score("asymkv-15/0"), task.score("asymkv-0/15")) {
            let shown = |score: &Score| format!("{:.1}", 100.0 * score.mean);
            claims[0].here = format!("{} against {}", shown(keys), shown(values));
            let noise = keys.standard_error.hypot(values.standard_error);
            claims[0].verdict = Verdict::judged(keys.mean - values.mean > 2.0 * noise);
        }
        claims
    }

    fn open_claims(&self, reason: &str) -> Vec<Claim> {
        vec![Claim {
            system: SYSTEM.to_owned(),
            claim: "l/0 beats 0/l with l half the layers (table 1, TruthfulQA; here MC2)"
                .to_owned(),
            paper: "38.8 against 12.8".to_owned(),
            here: String::new(),
            verdict: Verdict::NotReproduced(reason.to_owned()),
        }]
    }
}
