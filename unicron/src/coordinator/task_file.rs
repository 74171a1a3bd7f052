//! The file that describes a task, `task.toml`.
//!
//! ```toml
#![doc = include_str!("../../examples/task.toml")]
//! ```
//!
//! A `command` is started as torchrun starts it, once for each worker, and again as a whole whenever a worker
//! fails or the plan gives the task others; with `recovery = "keep-iteration"` its workers are started one
//! by one, and join the others while these run, which takes the Python package.

use super::name;
use crate::plan::{Present, Task, Unit};
use crate::throughput::Throughput;
use crate::train::settings::{self, MICRO_BATCHES, Shape};
use crate::transition::duration::{Durations, Restart};
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A task as its owner describes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// The name, unique among tasks: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Its priority `w(t)`, above 0.
    #[serde(default = "one")]
    pub weight: f64,
    /// Workers that it wants.
    pub workers: usize,
    /// With fewer it counts as not running: the paper's `T_necessary(t)`.
    #[serde(default)]
    pub min_workers: usize,
    /// What it keeps however low its worth; the fewest that it can run on where absent.
    pub guaranteed_workers: Option<usize>,
    /// FLOP/s that each worker achieves: what makes tasks comparable.
    #[serde(default = "usual_flops")]
    pub flops_per_worker: f64,
    /// Runs the reference trainer.
    pub train: Option<Train>,
    /// Runs a program, once for each worker.
    pub command: Option<Vec<String>>,
    /// Set for the program.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// A folder for its checkpoints that all nodes see; one of the coordinator's where absent.
    pub checkpoints: Option<String>,
    /// What happens to its other workers when one fails; see [`Self::recovery`].
    recovery: Option<Recovery>,
    /// Workers that a node has of it, if any: torchrun's `--nproc-per-node`.
    pub nproc_per_node: Option<usize>,
    /// Failures after which it is started again: torchrun's `--max-restarts`, which counts planned changes,
    /// too. Without it, the same failure again and again without progress ends the task.
    pub max_restarts: Option<u64>,
    /// Seconds without output and without use of the processor after which a worker hangs; without it,
    /// silence is none.
    pub hang_after_s: Option<f64>,
    /// Seconds that its workers may take to end after SIGTERM, for a checkpoint; the agents' own without it.
    pub grace_s: Option<f64>,
    /// The exit code by which a worker asks that the task is not started again; NVRx's 93.
    #[serde(default = "no_restart")]
    pub no_restart_exit_code: i32,
    /// Seconds that further workers are waited for before it starts at all, once `min_workers` are there.
    #[serde(default = "usual_last_call_s")]
    pub last_call_s: f64,
    /// Seconds from a restart to the first step, for the plan.
    #[serde(default = "usual_restart_s")]
    pub restart_s: f64,
    /// Seconds between the checkpoints that it writes by itself, for the plan.
    #[serde(default)]
    pub checkpoint_interval_s: f64,
    /// Samples that each worker adds to a global batch, to announce what a new world size means for it.
    pub batch_per_worker: Option<u64>,
}

/// What happens to a task's other workers when one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recovery {
    /// They go on with what they have computed.
    #[default]
    KeepIteration,
    /// All end, and all start again from the last checkpoint on disk, as torchrun does it: to compare.
    RestartAll,
}

/// Settings of the reference trainer; what is absent is left to it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Train {
    /// Sizes of the model.
    pub preset: String,
    /// Iterations until it is done.
    pub iterations: u64,
    /// Decides everything that is random.
    #[serde(default)]
    pub seed: u64,
    /// A file of text; the trainer's own where absent.
    pub text: Option<String>,
    /// Pipeline stages.
    #[serde(default = "one_stage")]
    pub stages: usize,
    /// Micro-batches of an iteration.
    pub micro_batches: Option<usize>,
    /// Iterations between checkpoints on disk.
    pub checkpoint_every: Option<u64>,
    /// The least that an iteration takes, in milliseconds: for demonstrations.
    pub pace_ms: Option<u64>,
    /// Further arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
}

impl Train {
    /// What the trainer would refuse, long after the task was accepted.
    fn problem(&self) -> Option<(&'static str, String)> {
        let Some(shape) = Shape::preset(&self.preset) else {
            let presets = Shape::PRESETS.join(", ");
            return Some(("preset", format!("{:?} is none of {presets}", self.preset)));
        };
        let usual = settings::Settings::of(shape);
        let count = |given: usize| u32::try_from(given).unwrap_or(u32::MAX);
        let settings = settings::Settings {
            stages: count(self.stages),
            micro_batches: self.micro_batches.map_or(usual.micro_batches, count),
            ..usual
        };
        match settings.check() {
            Err(Error::Setting { setting, problem }) if setting == "stages" => {
                Some(("stages", problem))
            }
            Err(Error::Setting { problem, .. }) => Some(("micro_batches", problem)),
            _ => None,
        }
    }
}

/// Nodes that are started together come together, but not to the second.
fn usual_last_call_s() -> f64 {
    2.0
}

fn no_restart() -> i32 {
    93
}

/// A process's start, its communicators, its first steps: as the planner takes of a task that is unknown.
fn usual_restart_s() -> f64 {
    let Durations { start_s, rebuild_s, warm_up_s, .. } = Durations::default();
    start_s + rebuild_s + warm_up_s
}

fn one() -> f64 {
    1.0
}

fn one_stage() -> usize {
    1
}

/// An A100's peak, roughly halved: what a task counts that says nothing.
fn usual_flops() -> f64 {
    1.5e14
}

/// A task's workers and their group are one record, which has to fit into one change of the store, with
/// as many again while all of them move.
const MAX_WORKERS: usize = 1_500;
/// A week.
const MOST_SECONDS: f64 = 604_800.0;

/// Bytes of the longest file. Every worker is told the command and the environment in it.
pub const MAX_BYTES: usize = 64 * 1024;

impl TaskFile {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// If it can't be read, isn't a task file (with its line), or asks for what can't be.
    pub fn read(path: &Path) -> Result<(Self, String)> {
        let text = crate::text::read(path, MAX_BYTES as u64, "task file")?;
        Ok((Self::parse(&text, path)?, text))
    }

    /// Checks a file's text; `path` is for errors.
    ///
    /// # Errors
    /// If it isn't a task file (with its line), or asks for what can't be.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        if text.len() > MAX_BYTES {
            let problem = format!("{} bytes; a task file has at most {MAX_BYTES}", text.len());
            return Err(Error::line(path, 1, problem));
        }
        let line_at = |offset: usize| {
            1 + text.as_bytes()[..offset.min(text.len())]
                .iter()
                .filter(|&&byte| byte == b'\n')
                .count()
        };
        let file: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_at(span.start));
            Error::line(path, line, error.message())
        })?;
        match file.problem() {
            None => Ok(file),
            Some((key, problem)) => {
                let is_it = |line: &str| {
                    line.split('=').next().is_some_and(|start| start.trim() == key)
                        || line.trim() == format!("[{key}]")
                };
                let line = text.lines().position(is_it).map_or(1, |index| index + 1);
                Err(Error::line(path, line, format!("{key}: {problem}")))
            }
        }
    }

    /// What can't be, by key.
    fn problem(&self) -> Option<(&'static str, String)> {
        if let Err(problem) = name::check(&self.name) {
            return Some(("name", problem));
        }
        if !(self.weight > 0.0 && self.weight.is_finite()) {
            return Some(("weight", format!("{} is not above 0", self.weight)));
        }
        if !(self.flops_per_worker > 0.0 && self.flops_per_worker.is_finite()) {
            return Some(("flops_per_worker", format!("{} is not above 0", self.flops_per_worker)));
        }
        if !(1..=MAX_WORKERS).contains(&self.workers) {
            return Some(("workers", format!("{} is not 1 to {MAX_WORKERS}", self.workers)));
        }
        if self.min_workers > self.workers {
            let problem = format!("{} is more than the {} workers", self.min_workers, self.workers);
            return Some(("min_workers", problem));
        }
        if self.guaranteed_workers.is_some_and(|floor| floor > self.workers) {
            return Some(("guaranteed_workers", "more than workers".to_owned()));
        }
        self.problem_of_numbers().or_else(|| self.problem_of_program())
    }

    /// What can't be among the numbers about a program.
    fn problem_of_numbers(&self) -> Option<(&'static str, String)> {
        let seconds = [
            ("hang_after_s", self.hang_after_s, 1.0),
            ("grace_s", self.grace_s, 0.0),
            ("last_call_s", Some(self.last_call_s), 0.0),
            ("restart_s", Some(self.restart_s), 0.0),
            ("checkpoint_interval_s", Some(self.checkpoint_interval_s), 0.0),
        ];
        let out_of_range = |&(_, seconds, least): &(&str, Option<f64>, f64)| {
            seconds.is_some_and(|seconds| !(least..=MOST_SECONDS).contains(&seconds))
        };
        if let Some((key, Some(seconds), least)) = seconds.into_iter().find(out_of_range) {
            return Some((key, format!("{seconds} is not {least} to {MOST_SECONDS} seconds")));
        }
        if !(1..=255).contains(&self.no_restart_exit_code) {
            let problem = format!("{} is not 1 to 255", self.no_restart_exit_code);
            return Some(("no_restart_exit_code", problem));
        }
        let per_node = self.nproc_per_node.unwrap_or(1);
        if per_node == 0 || !self.workers.is_multiple_of(per_node) {
            let problem = format!("the {} workers are no multiple of {per_node}", self.workers);
            return Some(("nproc_per_node", problem));
        }
        None
    }

    /// What can't be of what is run.
    fn problem_of_program(&self) -> Option<(&'static str, String)> {
        let stages = self.stages();
        match (&self.train, &self.command) {
            (Some(_), Some(_)) => Some(("command", "there is `train` too; one of them".to_owned())),
            (None, None) => {
                Some(("name", "add `[train]` for the reference trainer, or `command`".to_owned()))
            }
            (None, Some(command)) if command.is_empty() || command[0].is_empty() => {
                Some(("command", "no program; as in [\"python3\", \"train.py\"]".to_owned()))
            }
            (Some(train), None) if train.iterations == 0 => {
                Some(("iterations", "0; at least 1".to_owned()))
            }
            (Some(_), None) if self.nproc_per_node.is_some() => Some((
                "nproc_per_node",
                "the reference trainer's workers come one by one".to_owned(),
            )),
            (Some(_), None) if !(1..=self.workers).contains(&stages) => {
                Some(("stages", format!("{stages} is not 1 to the {} workers", self.workers)))
            }
            (Some(train), None) => train.problem(),
            _ => None,
        }
    }

    /// Pipeline stages; a worker belongs to one of them.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.train.as_ref().map_or(1, |train| train.stages)
    }

    /// Passes of a stage over a micro-batch in an iteration.
    #[must_use]
    pub fn stage_passes(&self) -> f64 {
        let micro_batches = self.train.as_ref().and_then(|train| train.micro_batches);
        (micro_batches.unwrap_or(MICRO_BATCHES as usize).max(1) * self.stages()) as f64
    }

    /// What happens to its other workers when one fails: a program is started again as a whole, unless its
    /// owner says that it needn't be.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.recovery.unwrap_or(match self.command {
            Some(_) => Recovery::RestartAll,
            None => Recovery::KeepIteration,
        })
    }

    /// Whether its workers are processes only once their group is known, as torchrun's.
    #[must_use]
    pub fn starts_with_group(&self) -> bool {
        self.command.is_some() && self.recovery() == Recovery::RestartAll
    }

    /// As the plan sees it, without workers. A whole replica more is what makes it faster.
    ///
    /// # Errors
    /// None for a file that was checked.
    pub fn to_task(&self) -> Result<Task> {
        let stages = self.stages();
        let together = self.nproc_per_node.unwrap_or(stages);
        let replicas = 1..=self.workers / together;
        let point = |replica: usize| {
            let workers = replica * together;
            (workers, workers as f64 * self.flops_per_worker)
        };
        let restart = Restart { start_s: self.restart_s, lost_s: self.checkpoint_interval_s / 2.0 };
        let points: Vec<(usize, f64)> = replicas.map(point).collect();
        Ok(Task {
            name: self.name.clone(),
            throughput: Arc::new(Throughput::measured(&points)?),
            weight: self.weight,
            min_workers: self.min_workers,
            guaranteed_workers: self.guaranteed_workers,
            unit: self.nproc_per_node.map_or(Unit::Worker, Unit::OnNode),
            model: None,
            present: Present::default(),
            restart: self.starts_with_group().then_some(restart),
        })
    }

    /// The arguments of `unicron` that run the reference trainer.
    #[must_use]
    pub fn train_arguments(&self) -> Option<Vec<String>> {
        let train = self.train.as_ref()?;
        let mut arguments = vec!["train".to_owned()];
        let mut give = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
        give("preset", train.preset.clone());
        give("iterations", train.iterations.to_string());
        give("seed", train.seed.to_string());
        give("stages", train.stages.to_string());
        let optional = [
            ("text", train.text.clone()),
            ("micro-batches", train.micro_batches.map(|count| count.to_string())),
            ("checkpoint-every", train.checkpoint_every.map(|count| count.to_string())),
            ("pace-ms", train.pace_ms.map(|pace| pace.to_string())),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                give(name, value);
            }
        }
        arguments.extend(train.arguments.iter().cloned());
        Some(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TaskFile> {
        TaskFile::parse(text, Path::new("task.toml"))
    }

    #[test]
    fn the_example_is_read_and_says_every_key() {
        let text = include_str!("../../examples/task.toml");
        let file = parse(text).unwrap();
        assert_eq!((file.workers, file.stages(), file.grace_s), (4, 2, Some(60.0)));
        for unknown in ["no_key = 1", "[train]\nno_key = 1"] {
            let message = parse(unknown).unwrap_err().to_string();
            common::testing::assert_says_expected_keys(text, &message);
        }
    }

    /// What the example says of what is absent.
    #[test]
    fn defaults_are_those_of_the_example() {
        let least = "name = \"gpt\"\nworkers = 4\n[train]\npreset = \"tiny\"\niterations = 100";
        let (file, settings) = (parse(least).unwrap(), settings::Settings::of(Shape::TINY));
        assert_eq!((file.weight, file.min_workers, file.flops_per_worker), (1.0, 0, 1.5e14));
        assert_eq!((file.no_restart_exit_code, file.last_call_s), (93, 2.0));
        assert_eq!((file.checkpoint_interval_s, file.stages()), (0.0, 1));
        assert_eq!((settings.micro_batches, settings.disk_checkpoint_every), (8, 10));
        assert_eq!(file.train.map(|train| train.seed), Some(0));
    }

    #[test]
    fn a_task_of_two_stages_is_faster_by_whole_replicas() {
        let text =
            "name = \"gpt\"\nworkers = 5\n[train]\npreset = \"tiny\"\niterations = 9\nstages = 2\n";
        let file = parse(text).unwrap();
        let steps = file.to_task().unwrap().throughput.steps().to_vec();
        assert_eq!(steps.iter().map(|step| step.workers).collect::<Vec<_>>(), [2, 4]);
        let arguments = file.train_arguments().unwrap().join(" ");
        assert_eq!(arguments, "train --preset tiny --iterations 9 --seed 0 --stages 2");
    }

    #[test]
    fn a_program_is_started_again_as_a_whole_unless_it_says_otherwise() {
        let text = "name = \"ddp\"\nworkers = 4\ncommand = [\"python3\", \"ddp.py\"]\n";
        let file =
            parse(&format!("{text}nproc_per_node = 2\ncheckpoint_interval_s = 60.0\n")).unwrap();
        assert!(file.starts_with_group());
        let task = file.to_task().unwrap();
        assert_eq!(
            task.throughput.steps().iter().map(|step| step.workers).collect::<Vec<_>>(),
            [2, 4]
        );
        assert_eq!(task.unit, Unit::OnNode(2));
        assert_eq!(task.restart, Some(Restart { start_s: 45.0, lost_s: 30.0 }));
        let file = parse(&format!("{text}recovery = \"keep-iteration\"\n")).unwrap();
        assert!(!file.starts_with_group());
        assert_eq!(file.to_task().unwrap().restart, None);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        let train = "[train]\npreset = \"tiny\"\niterations = 9\n";
        assert_eq!(
            error(&format!("name = \"a\"\nworkers = 0\n{train}")),
            "task.toml:2: workers: 0 is not 1 to 1500"
        );
        assert!(
            error("name = \"a b\"\nworkers = 1\ncommand = [\"x\"]")
                .starts_with("task.toml:1: name: \"a b\" is no name")
        );
        assert_eq!(
            error("name = \"a\"\nworkers = 1\n"),
            "task.toml:1: name: add `[train]` for the reference trainer, or `command`"
        );
        assert_eq!(
            error(&format!("name = \"a\"\nworkers = 2\n{train}stages = 3")),
            "task.toml:6: stages: 3 is not 1 to the 2 workers"
        );
        let huge = "[train]\npreset = \"huge\"\niterations = 9\n";
        assert_eq!(
            error(&format!("name = \"a\"\nworkers = 2\n{huge}")),
            "task.toml:4: preset: \"huge\" is none of nano, tiny, small"
        );
        assert_eq!(
            error(&format!("name = \"a\"\nworkers = 9\n{train}stages = 9")),
            "task.toml:6: stages: 9 is not in 1 to 4"
        );
        assert_eq!(
            error(&format!("name = \"a\"\nworkers = 2\n{train}micro_batches = 0")),
            "task.toml:6: micro_batches: 0 is not in 1 to 4096"
        );
        let command = "name = \"a\"\nworkers = 3\ncommand = [\"x\"]\n";
        assert_eq!(
            error(&format!("{command}nproc_per_node = 2")),
            "task.toml:4: nproc_per_node: the 3 workers are no multiple of 2"
        );
        assert_eq!(
            error(&format!("{command}hang_after_s = 0.5")),
            "task.toml:4: hang_after_s: 0.5 is not 1 to 604800 seconds"
        );
        let unknown = error("name = \"a\"\nworkers = 1\nworker = 2\n");
        assert!(unknown.starts_with("task.toml:3: unknown field `worker`"), "{unknown}");
        assert!(error("name = ").starts_with("task.toml:1: "));
    }
}
