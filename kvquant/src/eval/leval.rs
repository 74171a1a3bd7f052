//! L-Eval's topic retrieval: which topic of a long conversation was the first, the second, … (An et al. 2023;
//! conversations of LongChat).

use super::json_lines;
use super::reader::Reader;
use crate::Result;
use crate::model::tokenizer::Tokenizer;
use serde::Deserialize;

/// Tokens of an answer at most.
const MOST_TOKENS: usize = 24;

/// A conversation, and questions for its topics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Conversation {
    input: String,
    instructions: Vec<String>,
    outputs: Vec<String>,
}

/// The conversations of a file of JSON lines.
///
/// # Errors
/// If a line isn't one.
pub fn conversations(lines: &str) -> Result<Vec<Conversation>> {
    json_lines("L-Eval", lines, |read: &Conversation| {
        match read.instructions.len() == read.outputs.len() {
            true => Ok(()),
            false => Err("there is not one answer for each question".to_owned()),
        }
    })
}

impl Conversation {
    /// Tokens of the conversation.
    ///
    /// # Errors
    /// If it can't be tokenized.
    pub fn tokens(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        tokenizer.encode(&self.input, tokenizer.adds_bos())
    }

    /// For each question, whether a reader of the conversation names the topic.
    ///
    /// # Errors
    /// If the model fails.
    pub fn ask(&self, read: &Reader<'_>, tokenizer: &Tokenizer) -> Result<Vec<bool>> {
        let named = |(question, topic): (&String, &String)| {
            let mut reader = read.clone();
            let question = format!("\n USER: {question}\n ASSISTANT: The topic is");
            reader.read(&tokenizer.encode(&question, false)?)?;
            let answer = reader.go_on(tokenizer, MOST_TOKENS, |text| text.contains('\n'))?;
            Ok(names(&answer, topic))
        };
        self.instructions.iter().zip(&self.outputs).map(named).collect()
    }
}

/// Whether an answer has the topic's words, articles and marks aside.
fn names(answer: &str, topic: &str) -> bool {
    let words = |text: &str| -> String {
        let text = text.to_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let words = words.filter(|word| !matches!(*word, "the" | "a" | "an"));
        words.collect::<Vec<_>>().join(" ")
    };
    words(answer).contains(&words(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_recognised() {
        assert!(names(" \"the role of art in society.\"", "The role of art in society"));
        assert!(!names("the role of sports", "The role of art in society"));
    }

    #[test]
    fn lines_are_checked() {
        let line = r#"{"input": "x", "instructions": ["a", "b"], "outputs": ["c"], "source": ""}"#;
        let error = conversations(line).unwrap_err().to_string();
        assert!(error.contains("line 1: there is not one answer"), "{error}");
    }
}
