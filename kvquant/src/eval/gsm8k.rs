//! GSM8K: word problems, answered step by step, exact match of the last number (Cobbe et al. 2021).

use super::json_lines;
use super::reader::Reader;
use super::score::Score;
use super::task::Task;
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};
use serde::Deserialize;

/// Tokens of an answer at most.
const MOST_TOKENS: usize = 256;

/// The problems, and the solved ones that show how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gsm8k {
    problems: Vec<Problem>,
    solved: String,
}

/// A problem and its answer, which ends with `#### ` and a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Problem {
    question: String,
    answer: String,
}

impl Gsm8k {
    /// The problems of a file of JSON lines, and the first `examples` of another as examples.
    ///
    /// # Errors
    /// If a line isn't a problem, an answer has no number, or there are fewer examples.
    pub fn new(lines: &str, solved: &str, examples: usize) -> Result<Gsm8k> {
        let solved = problems(solved)?;
        if examples > solved.len() {
            let problem = format!("GSM8K: there are {} examples at most", solved.len());
            return Err(Error::DataSet(problem));
        }
        let solved = solved.iter().take(examples).map(Problem::solved).collect();
        Ok(Gsm8k { problems: problems(lines)?, solved })
    }
}

impl Task for Gsm8k {
    type Outcome = bool;

    fn primer(&self) -> String {
        self.solved.clone()
    }

    fn n_questions(&self) -> usize {
        self.problems.len()
    }

    fn ask(&self, at: usize, primed: &Reader<'_>, tokenizer: &Tokenizer) -> Result<bool> {
        self.problems[at].is_solved(primed, tokenizer)
    }

    fn scores(&self, outcomes: &[bool]) -> Vec<(&'static str, Score)> {
        vec![("exact match", Score::of_right(outcomes))]
    }
}

fn problems(lines: &str) -> Result<Vec<Problem>> {
    json_lines("GSM8K", lines, |problem: &Problem| match number(&problem.answer) {
        Some(_) => Ok(()),
        None => Err("no `#### ` and a number".to_owned()),
    })
}

impl Problem {
    /// Solved, as an example.
    fn solved(&self) -> String {
        let Problem { question, answer } = self;
        // Calculators are for other models.
        let mut plain = String::new();
        let mut rest = answer.as_str();
        while let Some((before, after)) = rest.split_once("<<") {
            plain.push_str(before);
            rest = after.split_once(">>").map_or("", |(_, after)| after);
        }
        plain.push_str(rest);
        format!("Question: {question}\nAnswer: {plain}\n\n")
    }

    /// Whether a reader of examples solves it.
    fn is_solved(&self, examples: &Reader<'_>, tokenizer: &Tokenizer) -> Result<bool> {
        let mut reader = examples.clone();
        let question = format!("Question: {}\nAnswer:", self.question);
        reader.read(&tokenizer.encode(&question, false)?)?;
        let answer = reader.go_on(tokenizer, MOST_TOKENS, |text| {
            let has_number = text.split_once("####").is_some_and(|(_, end)| end.contains('\n'));
            has_number || text.contains("Question:")
        })?;
        Ok(number(&answer) == number(&self.answer))
    }
}

/// The number after `####`, without commas.
fn number(answer: &str) -> Option<String> {
    let (_, end) = answer.split_once("####")?;
    let line = end.trim_start().lines().next()?;
    let digits: String = line
        .trim_start_matches('$')
        .chars()
        .filter(|&c| c != ',')
        .take_while(|c| c.is_ascii_digit() || matches!(c, '-' | '.'))
        .collect();
    let whole = match digits.split_once('.') {
        Some((whole, part)) if part.bytes().all(|byte| byte == b'0') => whole.to_owned(),
        _ => digits,
    };
    whole.bytes().any(|byte| byte.is_ascii_digit()).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found() {
        let cases = [
            ("So 5.\n#### 1,234", "1234"),
            ("#### $18.\nQ", "18"),
            ("####-3", "-3"),
            ("#### 18.00", "18"),
        ];
        for (answer, expected) in cases {
            assert_eq!(number(answer).as_deref(), Some(expected), "{answer}");
        }
        assert_eq!(number("The answer is 5"), None);
        assert_eq!(number("#### none"), None);
    }

    #[test]
    fn examples_have_no_calculators() {
        let line = r#"{"question": "Q?", "answer": "2+2 = <<2+2=4>>4 eggs.\n#### 4"}"#;
        let problems = problems(line).unwrap();
        assert_eq!(problems[0].solved(), "Question: Q?\nAnswer: 2+2 = 4 eggs.\n#### 4\n\n");
        let bad = super::problems("{\"question\": \"Q?\", \"answer\": \"4\"}").unwrap_err();
        assert!(bad.to_string().contains("line 1: no `#### `"), "{bad}");
    }
}
