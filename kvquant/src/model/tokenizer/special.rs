//! Finding tokens that are matched in text as a whole, before any merging.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::vocabulary::{Kind, TOKENS_KEY, Vocabulary};
use crate::Result;
use crate::model::gguf::Gguf;

/// Real ones have a few dozen bytes; the limit bounds the automaton that a crafted file can ask
/// for.
const MAX_SPECIAL_BYTES: usize = 512;

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment<'t> {
    /// Text to be encoded. Not empty.
    Text(&'t str),
    /// A token, and the text that spells it.
    Token(u32, &'t str),
}

/// Finds a set of tokens: leftmost first, the longest of those that start at one place.
#[derive(Debug)]
pub(super) struct Finder {
    automaton: AhoCorasick,
    /// Ids in the order of the automaton's patterns.
    ids: Vec<u32>,
}

impl Finder {
    /// A finder of the vocabulary's tokens of the kinds that `wanted` picks.
    pub(super) fn new(
        gguf: &Gguf,
        vocabulary: &Vocabulary,
        wanted: impl Fn(Kind) -> bool,
    ) -> Result<Finder> {
        let tokens = vocabulary
            .iter()
            .filter(|(_, token)| wanted(token.kind) && !token.text.is_empty())
            .map(|(id, token)| (id, token.text.as_ref()));
        let (ids, texts): (Vec<u32>, Vec<&str>) = tokens.unzip();
        if let Some(text) = texts.iter().find(|text| text.len() > MAX_SPECIAL_BYTES) {
            let length = text.len();
            let problem =
                format!("has a special token of {length} bytes (at most {MAX_SPECIAL_BYTES})");
            return Err(gguf.fault(TOKENS_KEY, problem));
        }
        // A DFA would be faster, but takes a kilobyte a state: too much in a stranger's hands.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(texts)
            .map_err(|error| gguf.fault(TOKENS_KEY, error.to_string()))?;
        Ok(Finder { automaton, ids })
    }

    /// Cuts a text at the tokens in it.
    pub(super) fn fragments<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Fragment<'t>> {
        let mut matches = self.automaton.find_iter(text);
        let mut done = 0;
        let mut found = None;
        std::iter::from_fn(move || {
            if let Some((id, text)) = found.take() {
                return Some(Fragment::Token(id, text));
            }
            match matches.next() {
                Some(hit) => {
                    let before = &text[done..hit.start()];
                    let token = (self.ids[hit.pattern().as_usize()], &text[hit.span()]);
                    done = hit.end();
                    if before.is_empty() {
                        return Some(Fragment::Token(token.0, token.1));
                    }
                    found = Some(token);
                    Some(Fragment::Text(before))
                }
                None => {
                    let rest = &text[done..];
                    done = text.len();
                    (!rest.is_empty()).then_some(Fragment::Text(rest))
                }
            }
        })
    }
}
