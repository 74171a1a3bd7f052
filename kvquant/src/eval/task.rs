//! Tasks: questions that are asked one by one, and a score of all of them.

use super::reader::Reader;
use super::score::Score;
use crate::Result;
use crate::model::Llama;
use crate::model::tokenizer::Tokenizer;
use crate::policy::Plan;

/// Questions to a model.
pub trait Task {
    /// What comes of a question.
    type Outcome;

    /// What the model reads before each question; may be nothing.
    fn primer(&self) -> String;

    /// How many questions there are.
    fn n_questions(&self) -> usize;

    /// Asks one of them of a reader of the primer.
    ///
    /// # Errors
    /// If the model fails.
    fn ask(&self, at: usize, primed: &Reader<'_>, tokenizer: &Tokenizer) -> Result<Self::Outcome>;

    /// The scores of these outcomes, by their names.
    fn scores(&self, outcomes: &[Self::Outcome]) -> Vec<(&'static str, Score)>;
}

/// Asks the first `n` questions under a plan. `keep` is given each question's index and what asks it, and gives the
/// outcome: it may have it from an earlier run.
///
/// # Errors
/// If the plan doesn't fit the model, the model fails, or `keep` does.
pub fn run<T: Task, E: From<crate::Error>>(
    task: &T,
    model: &Llama,
    tokenizer: &Tokenizer,
    plan: &Plan,
    n: usize,
    mut keep: impl FnMut(usize, &dyn Fn() -> Result<T::Outcome>) -> Result<T::Outcome, E>,
) -> Result<Vec<(&'static str, Score)>, E> {
    let mut primed = Reader::new(model, plan)?;
    let primer = task.primer();
    if !primer.is_empty() {
        primed.read(&tokenizer.encode(&primer, tokenizer.adds_bos())?)?;
    }
    let outcomes = (0..n.min(task.n_questions()))
        .map(|at| keep(at, &|| task.ask(at, &primed, tokenizer)))
        .collect::<Result<Vec<T::Outcome>, E>>()?;
    Ok(task.scores(&outcomes))
}
