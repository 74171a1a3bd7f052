//! L-Eval's topic retrieval: which topic of a long conversation was the first, the second, … (An et al. 2023;
//! conversations of LongChat).

use super::json_lines;
use super::reader::Reader;
use super::score::Score;
use super::task::Task;
use crate::model::tokenizer::Tokenizer;
use crate::{Error, Result};
use serde::Deserialize;

/// Tokens of an answer at most.
const MOST_TOKENS: usize = 24;

/// The conversations that a model's context holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRetrieval {
    held: Vec<(Conversation, Vec<u32>)>,
}

/// A conversation, and questions for its topics.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Conversation {
    input: String,
    instructions: Vec<String>,
    outputs: Vec<String>,
}

impl TopicRetrieval {
    /// The conversations of a file of JSON lines that a context of so many tokens holds.
    ///
    /// # Errors
    /// If a line isn't one, or none is held.
    pub fn new(lines: &str, tokenizer: &Tokenizer, context_len: usize) -> Result<TopicRetrieval> {
        let conversations = conversations(lines)?;
        let n = conversations.len();
        let mut held = Vec::new();
        for conversation in conversations {
            let tokens = tokenizer.encode(&conversation.input, tokenizer.adds_bos())?;
            let mut longest = 0;
            for question in &conversation.instructions {
                longest = longest.max(tokenizer.encode(&asked(question), false)?.len());
            }
            if tokens.len() + longest + MOST_TOKENS <= context_len {
                held.push((conversation, tokens));
            }
        }
        if held.is_empty() {
            return Err(Error::DataSet(format!(
                "L-Eval: none of the {n} conversations fits into the model's context of {context_len} tokens"
            )));
        }
        Ok(TopicRetrieval { held })
    }
}

impl Task for TopicRetrieval {
    /// For each question of a conversation, whether the topic is named.
    type Outcome = Vec<bool>;

    fn primer(&self) -> String {
        String::new()
    }

    fn n_questions(&self) -> usize {
        self.held.len()
    }

    fn ask(&self, at: usize, primed: &Reader<'_>, tokenizer: &Tokenizer) -> Result<Vec<bool>> {
        let (conversation, tokens) = &self.held[at];
        let mut read = primed.clone();
        read.read(tokens)?;
        conversation.ask(&read, tokenizer)
    }

    fn scores(&self, outcomes: &[Vec<bool>]) -> Vec<(&'static str, Score)> {
        vec![("topics named", Score::of_right(&outcomes.concat()))]
    }
}

fn conversations(lines: &str) -> Result<Vec<Conversation>> {
    json_lines("L-Eval", lines, |read: &Conversation| {
        match read.instructions.len() == read.outputs.len() {
            true => Ok(()),
            false => Err("there is not one answer for each question".to_owned()),
        }
    })
}

impl Conversation {
    /// For each question, whether a reader of the conversation names the topic.
    fn ask(&self, read: &Reader<'_>, tokenizer: &Tokenizer) -> Result<Vec<bool>> {
        let named = |(question, topic): (&String, &String)| {
            let mut reader = read.clone();
            reader.read(&tokenizer.encode(&asked(question), false)?)?;
            let answer = reader.go_on(tokenizer, MOST_TOKENS, |text| text.contains('\n'))?;
            Ok(names(&answer, topic))
        };
        self.instructions.iter().zip(&self.outputs).map(named).collect()
    }
}

fn asked(question: &str) -> String {
    format!("\n USER: {question}\n ASSISTANT: The topic is")
}

/// Whether an answer has the topic's words, articles and marks aside.
fn names(answer: &str, topic: &str) -> bool {
    let words = |text: &str| -> String {
        let text = text.to_lowercase();
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let words = words.filter(|word| !matches!(*word, "the" | "a" | "an"));
        words.collect::<Vec<_>>().join(" ")
    };
    let (answer, topic) = (words(answer), words(topic));
    !topic.is_empty() && format!(" {answer} ").contains(&format!(" {topic} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_recognised() {
        assert!(names(" \"the role of art in society.\"", "The role of art in society"));
        assert!(!names("the role of sports", "The role of art in society"));
        assert!(!names("the role of martial arts", "art") && !names("anything", "the"));
    }

    #[test]
    fn lines_are_checked() {
        let line = r#"{"input": "x", "instructions": ["a", "b"], "outputs": ["c"], "source": ""}"#;
        let error = conversations(line).unwrap_err().to_string();
        assert!(error.contains("line 1: there is not one answer"), "{error}");
    }
}
