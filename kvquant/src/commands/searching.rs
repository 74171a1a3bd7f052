//! A search with its progress, and the folder that keeps what has been measured and found.
//!
//! ```text
//! <cache folder>/plans/<model>/measured-<what it was measured on>.jsonl
//! <cache folder>/plans/<model>/balanced.toml
//! ```
//!
//! A search for another budget measures nothing again, and an interrupted one goes on where it was.

use super::options::{digest, read_text};
use crate::model::tokenizer::Tokenizer;
use crate::model::{Llama, WeightFormat};
use crate::search::sensitivity::{Measurement, Part};
use crate::search::{Budget, Found, Search};
use common::assets::sha256;
use common::command::InputContext;
use common::files;
use common::journal::Journal;
use common::progress::{Progress, Unit};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Tokens of the text that a search measures on if nobody says how many.
pub const TOKENS: usize = 1024;
/// The seed of the plans changed at random if nobody says another.
pub const SEED: u64 = 1;

/// Parts that are measured side by side: one fills the gaps that another's single threads leave.
const SIDE_BY_SIDE: usize = 2;

/// What a search measures on.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The model's.
    pub fingerprint: &'a str,
    pub weights: WeightFormat,
    /// WikiText-2's validation set if there is none.
    pub text: Option<&'a Path>,
    pub tokens: usize,
}

/// A search that has measured all parts.
#[derive(Debug)]
pub struct Searched<'a> {
    model: &'a Llama,
    search: Search<'a>,
    journal: Journal,
    text: String,
    tokens: usize,
    /// Of measuring, in this run and those before.
    seconds: f64,
}

impl<'a> Searched<'a> {
    /// Measures what has not been measured yet.
    pub fn run(
        model: &'a Llama,
        tokenizer: &Tokenizer,
        source: &Source<'_>,
    ) -> anyhow::Result<Searched<'a>> {
        let (text, content) = read_text(source.text, "wikitext-2-valid")?;
        let mut tokens = tokenizer.encode(&content, tokenizer.adds_bos())?;
        tokens.truncate(source.tokens.min(model.config().context_len));
        let start = Instant::now();
        let mut search = Search::new(model, &tokens)?;
        let run = json!({
            "search": source.fingerprint,
            "weights": source.weights.to_string(),
            "text": digest(&tokens),
            "tokens": tokens.len(),
            "formats": search.formats(),
        });
        let folder = folder(source.fingerprint);
        std::fs::create_dir_all(&folder)
            .bad_input(format!("{} can't be made", folder.display()))?;
        let path = folder.join(format!("measured-{}.jsonl", short(&run)));
        let mut journal = Journal::open(Some(&path), &run)?;
        let mut before = 0.0;
        for (part, bits) in search.missing() {
            let known: Option<(Measurement, f64)> = journal.finished(&name(part, bits))?;
            if let Some((measurement, seconds)) = known {
                search.sensitivities.add(measurement);
                before += seconds / SIDE_BY_SIDE as f64;
            }
        }
        for measurement in measure_missing(&search, &mut journal)? {
            search.sensitivities.add(measurement);
        }
        let seconds = before + start.elapsed().as_secs_f64();
        Ok(Searched { model, search, journal, text, tokens: tokens.len(), seconds })
    }

    /// Finds the plan for a budget and writes it, as made by `command`.
    pub fn find(
        &mut self,
        budget: &Budget,
        seed: u64,
        name: Option<String>,
        command: &str,
        path: &Path,
    ) -> anyhow::Result<Found> {
        let start = Instant::now();
        let bar = Progress::stderr().bar("whole plans", None, Unit::Items("plans"));
        let journal = &mut self.journal;
        let mut found = self.search.find(budget, seed, |name, run| {
            bar.message(name.to_owned());
            let divergence = journal.outcome(name, || Ok(run()?));
            bar.advance(1);
            divergence
        })?;
        bar.finish();
        found.plan.name = name;
        let seconds = self.seconds + start.elapsed().as_secs_f64();
        let mut evidence = toml::Table::try_from(&found)?;
        evidence.extend([
            ("command".to_owned(), command.into()),
            ("text".to_owned(), self.text.clone().into()),
            ("tokens".to_owned(), (self.tokens as i64).into()),
            ("context".to_owned(), (budget.context as i64).into()),
            ("seconds".to_owned(), seconds.round().into()),
            ("processor".to_owned(), common::device::discover().cpu.model.into()),
        ]);
        let toml = found.plan.to_toml(self.model.config().n_layers, &evidence)?;
        files::replace(path, |file| file.write_all(toml.as_bytes()))
            .bad_input(format!("{} can't be written", path.display()))?;
        Ok(found)
    }
}

/// The part's name in the journal.
fn name(part: Part, bits: f64) -> String {
    format!("{part:?} {bits}")
}

/// Measures what a search lacks, [`SIDE_BY_SIDE`].
fn measure_missing(search: &Search<'_>, journal: &mut Journal) -> anyhow::Result<Vec<Measurement>> {
    let missing = search.missing();
    let n_layers = missing.iter().map(|&(part, _)| search.n_layers_from(part) as u64).sum();
    let bar = Progress::stderr().bar("search", Some(n_layers), Unit::Items("layers"));
    let queue = Mutex::new(missing.into_iter());
    let journal = Mutex::new(journal);
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut measurements = Vec::new();
        while let Some((part, bits)) = take() {
            let start = Instant::now();
            let measurement = search.measure(part, bits)?;
            let outcome = (measurement, start.elapsed().as_secs_f64());
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.finish(&name(part, bits), &outcome)?;
            measurements.push(measurement);
            bar.advance(search.n_layers_from(part) as u64);
        }
        Ok(measurements)
    };
    let measured = thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        let join = |worker: thread::ScopedJoinHandle<'_, anyhow::Result<Vec<Measurement>>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    })?;
    bar.finish();
    Ok(measured.concat())
}

/// Where what belongs to the model with this fingerprint is kept.
pub fn folder(fingerprint: &str) -> PathBuf {
    let store = common::command::store(None);
    store.search_path().cache.join("plans").join(&fingerprint[..SHORT])
}

/// Digits that tell models and texts apart.
const SHORT: usize = 16;

fn short(run: &Value) -> String {
    sha256([run.to_string().as_bytes()])[..SHORT].to_owned()
}
