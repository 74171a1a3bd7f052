//! `kvquant analyze`

use super::options::{ModelOptions, PlanOptions, read_text};
use crate::Error;
use crate::analysis::figures::{self, STEPS, mean};
use crate::analysis::{HeadAnalysis, analyze};
use clap::Args;
use common::command::{InputContext, print, print_json};
use common::progress::{Progress, Unit};
use common::report::{Align, Plot, Table};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Show what becomes of errors in keys and in values on their way through attention
///
/// The paper's section 3 on any model: for each layer, the squared error over the square of what is exact, of
/// keys and values as they are stored, of the logits, of the weights after softmax, and of the output; and
/// how far theorem 1 is from what is computed.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  kvquant analyze --kv kivi-2 --plots figures
  kvquant analyze --kv asymkv-16/0 --text book.txt --json")]
pub struct Analyze {
    #[command(flatten)]
    model: ModelOptions,
    #[command(flatten)]
    plan: PlanOptions,
    /// A text file; WikiText-2's validation set if absent
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens of the text that are used
    #[arg(long, value_name = "TOKENS", default_value_t = 1024)]
    tokens: usize,
    /// Draw the errors by layer (figure 1) and their spread in three heads (figure 2) into this folder
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Print one JSON object, with every head
    #[arg(long)]
    json: bool,
}

impl Analyze {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let (name, text) = read_text(self.text.as_deref(), "wikitext-2-valid")?;
        let (model, tokenizer) = self.model.load()?;
        let plan = self.plan.plan(&self.model, &model, &tokenizer)?;
        let mut tokens = tokenizer.encode(&text, tokenizer.adds_bos())?;
        tokens.truncate(self.tokens);
        if tokens.len() < 2 {
            return Err(Error::TextTooShort { n_tokens: tokens.len(), context: 2 }.into());
        }
        let bar = Progress::stderr().bar(
            "analyze",
            Some(model.config().n_layers as u64),
            Unit::Items("layers"),
        );
        let heads = analyze(&model, &tokens, &plan, |_| bar.advance(1))?;
        bar.finish();
        let theorem = heads.iter().map(|head| head.errors.theorem).fold(0.0, f64::max);
        if let Some(folder) = &self.plots {
            draw(folder, &heads)?;
        }
        if self.json {
            return print_json(&json!({
                "model": self.model.model,
                "plan": plan.to_string(),
                "text": name,
                "tokens": tokens.len(),
                "theorem_1_largest_difference": theorem,
                "heads": heads,
            }));
        }
        print(&format!(
            "{}\ntheorem 1 is met to {theorem:.1e} of the largest element of each output\n",
            table(&heads, model.config().n_layers).to_text()
        ))
    }
}

fn table(heads: &[HeadAnalysis], n_layers: usize) -> Table {
    let mut columns = vec![("layer", Align::Right)];
    columns.extend(STEPS.map(|(name, _)| (name, Align::Right)));
    let mut table = Table::new(&columns);
    for layer in 0..n_layers {
        let errors = STEPS.map(|(_, error)| format!("{:.4}", mean(heads, layer, error)));
        table.row(std::iter::once(layer.to_string()).chain(errors));
    }
    table
}

fn draw(folder: &Path, heads: &[HeadAnalysis]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).bad_input(format!("{} can't be made", folder.display()))?;
    let write = |name: &str, plot: &Plot| -> anyhow::Result<()> {
        let path = folder.join(name);
        std::fs::write(&path, plot.to_svg()?.as_str())
            .bad_input(format!("{} can't be written", path.display()))
    };
    write("errors-by-layer.svg", &figures::by_layer(heads))?;
    for (at, plot) in figures::spreads(heads).iter().enumerate() {
        write(&format!("spread-{}.svg", at + 1), plot)?;
    }
    Ok(())
}
