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

/// The paper's tables 1, 3 and 4 (5 has 13B's rows again): our plan, the paper's for 7B, TruthfulQA and CoQA there,
/// the one for 13B, and the same there.
pub type ShortRow = (&'static str, &'static str, [f64; 2], Option<(&'static str, [f64; 2])>);
pub const PAPER_SHORT: [ShortRow; 9] = [
    ("f16", "float", [30.76, 63.88], Some(("float", [29.53, 66.37]))),
    ("kivi-2", "KIVI-2", [33.95, 63.05], Some(("KIVI-2", [29.84, 66.23]))),
    ("asymkv-0/6", "0/6", [4.11, 26.90], Some(("0/5", [4.81, 37.53]))),
    ("asymkv-0/15", "0/16", [12.81, 34.18], Some(("0/20", [9.52, 43.13]))),
    ("asymkv-6/0", "6/0", [7.64, 36.00], Some(("5/0", [15.35, 41.25]))),
    ("asymkv-15/0", "16/0", [38.77, 58.12], Some(("20/0", [28.44, 61.42]))),
    ("asymkv-30/0", "22/0", [40.14, 59.83], Some(("30/0", [29.50, 64.92]))),
    ("asymkv-4/1-0/15", "4/1-0/16", [8.72, 32.67], None),
    ("asymkv-4/1-15/0", "4/1-16/0", [41.63, 56.32], None),
];

/// Tables 2 and 6: our plan, the paper's for 7B, TriviaQA, TREC, SAMSum, RepoBench-P and Qasper there, and for 13B.
pub type LongRow = (&'static str, [(&'static str, [f64; 5]); 2]);
pub const PAPER_LONG: [LongRow; 6] = [
    (
        "f16",
        [
            ("float", [87.72, 66.0, 41.69, 59.82, 9.52]),
            ("float", [87.87, 70.00, 43.55, 56.42, 9.32]),
        ],
    ),
    (
        "kivi-2:window=512",
        [
            ("KIVI-2", [87.64, 66.0, 41.62, 56.81, 9.73]),
            ("KIVI-2", [87.31, 69.50, 43.52, 53.66, 8.27]),
        ],
    ),
    (
        "asymkv-0/30:window=512",
        [("0/32", [11.6, 25.0, 3.79, 23.9, 3.18]), ("0/40", [24.57, 28.5, 5.25, 25.33, 3.33])],
    ),
    (
        "asymkv-30/0:window=512",
        [
            ("32/0", [85.27, 65.50, 38.28, 43.35, 8.96]),
            ("40/0", [86.70, 67.50, 41.90, 46.92, 8.78]),
        ],
    ),
    (
        "asymkv-30/6:window=512",
        [
            ("32/6", [86.36, 66.50, 39.75, 49.93, 9.04]),
            ("40/10", [86.80, 69.00, 42.23, 50.68, 7.56]),
        ],
    ),
    (
        "asymkv-30/11:window=512",
        [
            ("32/12", [86.62, 66.00, 40.93, 52.46, 9.64]),
            ("40/15", [87.39, 69.00, 42.45, 50.25, 8.58]),
        ],
    ),
];

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
    /// Whether f16's score is more than two standard errors from chance. The other plans are run if any score of
    /// the task's has a signal.
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
        for NamedPlan { name: of_plan, plan, .. } in plans {
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
        let setting = Setting::load(SMOLLM2, WeightFormat::Auto, progress)?;
        let presets = [Preset::Balanced, Preset::Small, Preset::Tiny];
        let with = |plans: &[&str]| -> anyhow::Result<Vec<NamedPlan>> {
            let named = plans.iter().map(|plan| NamedPlan::parse(plan));
            named.chain(presets.map(|preset| setting.preset(preset))).collect()
        };
        let (questions, problems, conversations) = match size {
            Size::Full => (150, 100, usize::MAX),
            Size::Quick => (4, 0, 0),
        };
        let configuration = json!({
            "model": SMOLLM2,
            "weights": WeightFormat::Auto.to_string(),
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
                "asymkv-0/6",
                "asymkv-0/15",
                "asymkv-6/0",
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
                "asymkv-30/6:window=512",
                "asymkv-30/11:window=512",
            ];
            tasks.extend(run.task("L-Eval, topics", &retrieval, conversations, &with(&long)?)?);
        }
        run.journal.remove();
        Ok((TaskMetrics { tasks }, configuration))
    }

    fn judged(&self, metrics: &TaskMetrics) -> Vec<Claim> {
        let mut claims = self.claims();
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

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::of_paper(
            SYSTEM,
            "l/0 beats 0/l with l half the layers (table 1, TruthfulQA; here MC2)",
            "38.8 against 12.8",
        )]
    }
}
