//! A search with its progress, and the folder that keeps what has been measured and found.
//!
//! ```text
//! <cache folder>/plans/<model>/measured-<what it was measured on>.jsonl
//! <cache folder>/plans/<model>/balanced.toml
//! ```
//!
//! A search for another budget measures nothing again, and an interrupted one goes on where it was.

use super::options::read_text;
use common::command::InputContext;
use common::files;
use common::journal::Journal;
use common::progress::{Progress, Unit};
use kvquant::checksum::{digest, hex};
use kvquant::model::tokenizer::Tokenizer;
use kvquant::model::{Llama, WeightFormat, fingerprint};
use kvquant::search::sensitivity::Measurement;
use kvquant::search::{Budget, Found, Search};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Tokens of the text that a search measures on if nobody says how many.
pub const TOKENS: usize = 1024;
/// The seed of the plans drawn at random if nobody says another.
pub const SEED: u64 = 1;

/// What a search measures on.
#[derive(Debug, Clone)]
pub struct Source<'a> {
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
        let mut tokens = tokenizer.encode(&content, false)?;
        if let Some(bos) = tokenizer.bos().filter(|_| tokenizer.adds_bos()) {
            tokens.insert(0, bos);
        }
        tokens.truncate(source.tokens.min(model.config().context_len));
        let start = Instant::now();
        let mut search = Search::new(model, &tokens)?;
        let mut seconds = start.elapsed().as_secs_f64();
        let run = json!({
            "search": fingerprint(model.gguf(), model.config())?,
            "weights": source.weights.to_string(),
            "text": digest(&tokens),
            "tokens": tokens.len(),
        });
        let folder = folder(model)?;
        std::fs::create_dir_all(&folder)
            .bad_input(format!("{} can't be made", folder.display()))?;
        let path = folder.join(format!("measured-{}.jsonl", short(&run)));
        let mut journal = Journal::open(Some(&path), &run)?;
        let missing = search.missing();
        let bar =
            Progress::stderr().bar("search", Some(missing.len() as u64), Unit::Items("parts"));
        for (part, bits) in missing {
            let (measurement, took): (Measurement, f64) =
                journal.outcome(&format!("{part:?} {bits}"), || {
                    let start = Instant::now();
                    let measurement = search.measure(part, bits)?;
                    Ok((measurement, start.elapsed().as_secs_f64()))
                })?;
            search.sensitivities.add(measurement);
            seconds += took;
            bar.advance(1);
        }
        bar.finish();
        Ok(Searched { model, search, text, tokens: tokens.len(), seconds })
    }

    /// Finds the plan for a budget and writes it, as made by `command`.
    pub fn find(
        &self,
        budget: &Budget,
        seed: u64,
        name: Option<String>,
        command: &str,
        path: &Path,
    ) -> anyhow::Result<Found> {
        let start = Instant::now();
        let mut found = self.search.find(budget, seed)?;
        found.plan.name = name;
        let seconds = self.seconds + start.elapsed().as_secs_f64();
        let mut evidence = toml::Table::try_from(&found)?;
        evidence.extend([
            ("command".to_owned(), command.into()),
            ("text".to_owned(), self.text.clone().into()),
            ("tokens".to_owned(), (self.tokens as i64).into()),
            ("context".to_owned(), (budget.context as i64).into()),
            ("seconds".to_owned(), seconds.round().into()),
        ]);
        let toml = found.plan.to_toml(self.model.config().n_layers, &evidence)?;
        files::replace(path, |file| file.write_all(toml.as_bytes()))
            .bad_input(format!("{} can't be written", path.display()))?;
        Ok(found)
    }
}

/// Where what belongs to a model is kept.
pub fn folder(model: &Llama) -> anyhow::Result<PathBuf> {
    Ok(folder_of(&fingerprint(model.gguf(), model.config())?))
}

/// The same of the model with this fingerprint.
pub fn folder_of(fingerprint: &str) -> PathBuf {
    let store = common::command::store(None);
    store.search_path().cache.join("plans").join(&fingerprint[..SHORT])
}

/// Digits that tell models and texts apart.
const SHORT: usize = 16;

fn short(run: &Value) -> String {
    hex(&Sha256::digest(run.to_string()))[..SHORT].to_owned()
}
