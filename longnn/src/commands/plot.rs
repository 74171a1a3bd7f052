//! `longnn plot`

use crate::experiment::RunRecord;
use crate::plot::TerminalStyle;
use crate::train::Outcome;
use anyhow::Context;
use clap::Args;
use common::command::{print, print_json};
use common::files::replace;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Show a run's learned filters over the density of the graph's frequencies
#[derive(Debug, Args)]
#[command(after_help = "\
One curve a class, the mean over seeds unless one is named. The graph isn't needed.

Examples:
  longnn plot runs/longnn/cora-lon
  longnn plot runs/longnn/cora-lon/run.json --seed 3 --output cora.svg")]
pub struct Plot {
    /// What longnn train left: run.json or its folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the picture goes [default: filters.svg beside run.json]
    #[arg(long, value_name = "FILE.svg")]
    output: Option<PathBuf>,
    /// Only this seed
    #[arg(long)]
    seed: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Plot {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let path = match self.run.is_dir() {
            true => self.run.join("run.json"),
            false => self.run,
        };
        let record = RunRecord::read(&path)?;
        let plot = record.filter_plot(self.seed).with_context(|| path.display().to_string())?;
        let picture = self.output.unwrap_or_else(|| path.with_file_name("filters.svg"));
        let svg = plot.to_svg()?;
        replace(&picture, |file| file.write_all(svg.as_str().as_bytes()))
            .with_context(|| format!("can't write {}", picture.display()))?;
        let outcomes = record.outcomes.iter();
        let shown = outcomes.filter(|o| self.seed.is_none_or(|seed| o.seed == seed));
        if self.json {
            let seeds: Vec<Value> = shown.filter_map(of_seed).collect();
            return print_json(&json!({ "picture": picture, "plot": plot, "seeds": seeds }));
        }
        let colour = std::io::stdout().is_terminal();
        let terminal = plot.to_terminal(TerminalStyle { colour, ..TerminalStyle::default() })?;
        print(&format!("{terminal}{}{}\n", exponents(shown), saved(&picture)))
    }
}

/// What belongs to a seed's filters beside their coefficients.
fn of_seed(outcome: &Outcome) -> Option<Value> {
    let filter = outcome.filter.as_ref()?;
    Some(json!({
        "seed": outcome.seed,
        "exponents": filter.exponents,
        "squared_coefficients": filter.squared_coefficients,
        "over_passing": filter.over_passing,
    }))
}

/// A line on the learned basis, if it is one and the same for all classes.
fn exponents<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> String {
    let pair = |outcome: &Outcome| match outcome.filter.as_ref()?.exponents[..] {
        [(a, b)] => Some(format!("({a:.2}, {b:.2})")),
        _ => None,
    };
    let pairs: Vec<String> = outcomes.filter_map(pair).collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("exponents (a, b) by seed: {}\n", pairs.join(" ")),
    }
}

fn saved(picture: &Path) -> String {
    format!("as a picture: {}", picture.display())
}
