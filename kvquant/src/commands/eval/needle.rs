//! `kvquant eval needle`

use crate::commands::journal::Journal;
use crate::commands::options::{ModelOptions, PlanOptions};
use anyhow::Context;
use clap::Args;
use common::command::{InputContext, print, print_json};
use common::progress::{Progress, Unit};
use common::report::{Align, Table};
use kvquant::eval::needle::{Haystack, Needle};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Whether a sentence that is hidden in a long text is found, by the text's length and the sentence's depth
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  kvquant eval needle --kv plan.toml --text essays --lengths 1024,2048,4096,8192
  kvquant eval needle --kv f16 --text book.txt --lengths 2048 --needles 10 --json")]
pub struct NeedleTask {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    plan: PlanOptions,
    /// The haystack: a text file, or a folder whose .txt files are read in the order of their names
    #[arg(long, value_name = "PATH")]
    text: PathBuf,
    /// Tokens of whole prompts
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "1024,2048,4096,8192"
    )]
    lengths: Vec<usize>,
    /// Depths, evenly from the start to the end of the text
    #[arg(long, default_value_t = 5)]
    depths: usize,
    /// Needles at each length and depth
    #[arg(long, default_value_t = 5)]
    needles: u64,
    /// For the needles
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keeps what is finished in this file
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How many needles were found.
struct Cell {
    length: usize,
    depth: f64,
    found: u64,
}

impl NeedleTask {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(self.depths > 0 && self.needles > 0, "no depths or no needles, no result");
        let plan = self.plan.plan();
        let text = read_all(&self.text)?;
        let (model, tokenizer) = self.model.load()?;
        let tokens = tokenizer.encode(&text, tokenizer.adds_bos())?;
        let run = json!({
            "eval": "needle",
            "model": self.model.model,
            "weights": self.model.weights.to_string(),
            "plan": format!("{plan:?}"),
            "text": tokens.len(),
            "seed": self.seed,
        });
        let mut journal = Journal::open(self.journal.as_deref(), &run)?;
        let n_prompts = (self.lengths.len() * self.depths) as u64 * self.needles;
        let bar = Progress::stderr().bar("needle", Some(n_prompts), Unit::Items("prompts"));
        let mut cells = Vec::new();
        for &length in &self.lengths {
            let mut haystack = Haystack::new(&model, &tokenizer, &tokens, length, &plan)?;
            for depth in self.depths() {
                let mut found = 0;
                for trial in 0..self.needles {
                    let needle = Needle::from_seed(self.seed.wrapping_add(trial));
                    let part = format!("{length} tokens, depth {depth:.3}, needle {trial}");
                    let is_found =
                        journal.outcome(&part, || Ok(haystack.finds(&needle, depth)?))?;
                    found += u64::from(is_found);
                    bar.advance(1);
                }
                cells.push(Cell { length, depth, found });
            }
        }
        bar.finish();
        self.print(&plan.to_string(), &cells)
    }

    fn depths(&self) -> impl Iterator<Item = f64> {
        let last = (self.depths - 1).max(1) as f64;
        (0..self.depths).map(move |at| at as f64 / last)
    }

    fn print(&self, plan: &str, cells: &[Cell]) -> anyhow::Result<()> {
        let found: u64 = cells.iter().map(|cell| cell.found).sum();
        let prompts = cells.len() as u64 * self.needles;
        if self.json {
            let cells: Vec<_> = cells
                .iter()
                .map(|Cell { length, depth, found }| {
                    json!({ "length": length, "depth": depth, "found": found, "of": self.needles })
                })
                .collect();
            return print_json(&json!({
                "model": self.model.model,
                "weights": self.model.weights.to_string(),
                "plan": plan,
                "prompts": prompts,
                "found": found,
                "cells": cells,
            }));
        }
        let mut columns = vec![("depth".to_owned(), Align::Right)];
        columns.extend(self.lengths.iter().map(|length| (length.to_string(), Align::Right)));
        let columns: Vec<(&str, Align)> =
            columns.iter().map(|(name, align)| (name.as_str(), *align)).collect();
        let mut table = Table::new(&columns);
        for depth in self.depths() {
            let of_depth = cells.iter().filter(|cell| cell.depth == depth);
            let found = of_depth.map(|cell| format!("{}/{}", cell.found, self.needles));
            table.row(std::iter::once(format!("{:.0} %", 100.0 * depth)).chain(found));
        }
        print(&format!("{}\n{found} of {prompts} needles found\n", table.to_text()))
    }
}

/// A text file, or all of a folder.
fn read_all(path: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("the text {} can't be read", path.display());
    if !path.is_dir() {
        return std::fs::read_to_string(path).bad_input(unreadable());
    }
    let entries = std::fs::read_dir(path).bad_input(unreadable())?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.bad_input(unreadable())?.path();
        if file.extension().is_some_and(|extension| extension == "txt") {
            files.push(file);
        }
    }
    files.sort();
    anyhow::ensure!(!files.is_empty(), "{} has no .txt files", path.display());
    let texts: Vec<String> = files
        .iter()
        .map(|file| std::fs::read_to_string(file).with_context(|| file.display().to_string()))
        .collect::<anyhow::Result<_>>()?;
    Ok(texts.join("\n\n"))
}
