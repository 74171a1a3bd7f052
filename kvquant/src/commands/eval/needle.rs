//! `kvquant eval needle`

use crate::commands::options::{ModelOptions, PlanOptions, digest};
use crate::eval::needle::{ESSAYS, Haystack, Needle};
use crate::model::fingerprint;
use clap::Args;
use common::command::{BadInput, InputContext, print, print_json};
use common::journal::Journal;
use common::progress::{Progress, Unit};
use common::report::{Align, Table};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Whether sentences that are hidden in a long text are found, by the text's length and their depth
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  kvquant eval needle --kv balanced --lengths 1024,2048,4096,8192
  kvquant eval needle --kv f16 --text book.txt --lengths 2048 --texts 20 --json")]
pub struct NeedleTask {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    plan: PlanOptions,
    /// The haystack: a text file, or a folder whose .txt files are read in the order of their names; Paul Graham's
    /// essays if absent
    #[arg(long, value_name = "PATH")]
    text: Option<PathBuf>,
    /// Tokens of whole prompts
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "1024,2048,4096,8192"
    )]
    lengths: Vec<usize>,
    /// Needles in a text, evenly from its start to its end
    #[arg(long, default_value_t = 5)]
    depths: usize,
    /// Texts of each length, with other needles
    #[arg(long, default_value_t = 5)]
    texts: u64,
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
        let most = Needle::MOST;
        if self.depths == 0 || self.depths > most || self.texts == 0 {
            anyhow::bail!(BadInput(format!("--depths takes 1 to {most}, --texts at least 1")));
        }
        let text = match &self.text {
            Some(path) => read_all(path)?,
            None => common::command::store(None).texts_below(ESSAYS, &Progress::stderr())?,
        };
        let (model, tokenizer) = self.model.load()?;
        let plan = self.plan.plan(&self.model, &model, &tokenizer)?;
        let tokens = tokenizer.encode(&text, tokenizer.adds_bos())?;
        let run = json!({
            "eval": "needle",
            "model": fingerprint(model.gguf())?,
            "weights": self.model.weights.to_string(),
            "plan": format!("{plan:?}"),
            "text": digest(&tokens),
            "seed": self.seed,
        });
        let mut journal = Journal::open(self.journal.as_deref(), &run)?;
        let n_texts = self.lengths.len() as u64 * self.texts;
        let bar = Progress::stderr().bar("needle", Some(n_texts), Unit::Items("texts"));
        let mut cells = Vec::new();
        for &length in &self.lengths {
            let mut found = vec![0; self.depths];
            for trial in 0..self.texts {
                let needles = Needle::from_seed(self.seed.wrapping_add(trial), self.depths);
                let haystack =
                    Haystack::new(&tokenizer, &tokens, trial as usize, length, &needles)?;
                let part = format!("{length} tokens, {} needles, text {trial}", self.depths);
                let outcome: Vec<bool> =
                    journal.outcome(&part, || Ok(haystack.ask(&model, &plan)?))?;
                for (found, is_found) in found.iter_mut().zip(outcome) {
                    *found += u64::from(is_found);
                }
                bar.advance(1);
            }
            let by_depth = Haystack::depths(self.depths).zip(found);
            cells.extend(by_depth.map(|(depth, found)| Cell { length, depth, found }));
        }
        bar.finish();
        self.print(&plan.to_string(), &cells)
    }

    fn print(&self, plan: &str, cells: &[Cell]) -> anyhow::Result<()> {
        let found: u64 = cells.iter().map(|cell| cell.found).sum();
        let prompts = cells.len() as u64 * self.texts;
        if self.json {
            let cells: Vec<_> = cells
                .iter()
                .map(|Cell { length, depth, found }| {
                    json!({ "length": length, "depth": depth, "found": found, "of": self.texts })
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
        for depth in Haystack::depths(self.depths) {
            let of_depth = cells.iter().filter(|cell| cell.depth == depth);
            let found = of_depth.map(|cell| format!("{}/{}", cell.found, self.texts));
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
    if files.is_empty() {
        anyhow::bail!(BadInput(format!("{} has no .txt files", path.display())));
    }
    let texts: Vec<String> = files
        .iter()
        .map(|file| {
            std::fs::read_to_string(file)
                .bad_input(format!("the text {} can't be read", file.display()))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(texts.join("\n\n"))
}
