//! SentencePiece's BPE: of all neighbours whose joint text is a piece, the pair with the highest
//! score is joined, the leftmost of equals, until none is left.
//!
//! Why not the crate `tokenizers`: it merges pairs of *ids* by rank, so the file's scores have to
//! be turned into a list of merges first, as transformers' converter does. That is not exact. Two
//! pieces of one score get two ranks, where SentencePiece takes the leftmost, and a piece can't be
//! reached through a character that is not a piece itself. Joining texts by score is shorter than
//! the conversion, and is what SentencePiece and llama.cpp do.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::vocabulary::{Kind, SPACE, Vocabulary};
use crate::model::gguf::Gguf;
use crate::{Error, Result};

const SCORES_KEY: &str = "tokenizer.ggml.scores";

/// No neighbour on that side.
const NONE: usize = usize::MAX;

/// A SentencePiece model.
#[derive(Debug)]
pub(super) struct SentencePiece {
    /// Pieces that text can be made of. Control, unknown and byte tokens are not among them.
    pieces: HashMap<Box<str>, Piece>,
    byte_ids: [Option<u32>; 256],
    unknown: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    id: u32,
    score: f32,
}

/// A run of the text that has been joined; empty once it is part of its left neighbour.
struct Symbol {
    start: usize,
    len: usize,
    prev: usize,
    next: usize,
}

/// Two neighbours that can be joined.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of both when the pair was found: it is stale once they have more.
    len: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl SentencePiece {
    pub(super) fn from_gguf(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<SentencePiece> {
        let scores = gguf.f32_array(SCORES_KEY)?;
        if scores.len() != vocabulary.len() {
            let problem = format!("has not one score for each of the {} tokens", vocabulary.len());
            return Err(gguf.fault(SCORES_KEY, problem));
        }
        if let Some(id) = scores.iter().position(|score| score.is_nan()) {
            return Err(gguf.fault(SCORES_KEY, format!("the score of token {id} is not a number")));
        }
        let mut model =
            SentencePiece { pieces: HashMap::new(), byte_ids: [None; 256], unknown: None };
        for ((id, token), score) in vocabulary.iter().zip(scores) {
            match token.kind {
                Kind::Normal | Kind::UserDefined if !token.text.is_empty() => {
                    // Files have scores of -0, which must rank with 0.
                    let piece = Piece { id, score: score + 0.0 };
                    model.pieces.insert(token.text.clone(), piece);
                }
                Kind::Byte => {
                    let byte = token.output()[0];
                    model.byte_ids[usize::from(byte)].get_or_insert(id);
                }
                Kind::Unknown => model.unknown = model.unknown.or(Some(id)),
                _ => {}
            }
        }
        Ok(model)
    }

    /// Encodes text, with a space in front if asked.
    pub(super) fn encode(&self, text: &str, add_space: bool, ids: &mut Vec<u32>) -> Result<()> {
        let mut escaped = String::with_capacity(text.len() + SPACE.len_utf8());
        if add_space {
            escaped.push(SPACE);
        }
        escaped.extend(text.chars().map(|c| if c == ' ' { SPACE } else { c }));
        for symbol in self.join(&escaped) {
            self.emit(&escaped[symbol.start..symbol.start + symbol.len], ids)?;
        }
        Ok(())
    }

    /// Joins the characters of a text; what is left has no pair that could be joined.
    fn join(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::new();
        for (idx, (start, character)) in text.char_indices().enumerate() {
            let prev = idx.checked_sub(1).unwrap_or(NONE);
            symbols.push(Symbol { start, len: character.len_utf8(), prev, next: idx + 1 });
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        let mut queue = BinaryHeap::new();
        for right in 1..symbols.len() {
            queue.extend(self.pair(text, &symbols, right - 1, right));
        }
        while let Some(Pair { left, right, len, .. }) = queue.pop() {
            let (left_len, right_len) = (symbols[left].len, symbols[right].len);
            if left_len == 0 || right_len == 0 || left_len + right_len != len {
                continue;
            }
            symbols[left].len = len;
            symbols[right].len = 0;
            let next = symbols[right].next;
            symbols[left].next = next;
            if next != NONE {
                symbols[next].prev = left;
                queue.extend(self.pair(text, &symbols, left, next));
            }
            let prev = symbols[left].prev;
            if prev != NONE {
                queue.extend(self.pair(text, &symbols, prev, left));
            }
        }
        symbols.retain(|symbol| symbol.len > 0);
        symbols
    }

    /// The pair of two neighbours, if their joint text is a piece.
    fn pair(&self, text: &str, symbols: &[Symbol], left: usize, right: usize) -> Option<Pair> {
        let start = symbols[left].start;
        let len = symbols[left].len + symbols[right].len;
        let piece = self.pieces.get(&text[start..start + len])?;
        Some(Pair { score: piece.score, left, right, len })
    }

    /// The ids of what is left: a piece, or a character that is none and goes byte by byte.
    fn emit(&self, symbol: &str, ids: &mut Vec<u32>) -> Result<()> {
        if let Some(piece) = self.pieces.get(symbol) {
            ids.push(piece.id);
            return Ok(());
        }
        let bytes = symbol.bytes().map(|byte| self.byte_ids[usize::from(byte)]);
        if let Some(bytes) = bytes.collect::<Option<Vec<u32>>>() {
            ids.extend(bytes);
            return Ok(());
        }
        let unknown = self.unknown.ok_or_else(|| {
            let symbol = symbol.escape_debug();
            Error::Tokenizer(format!("the vocabulary has no token for \"{symbol}\""))
        })?;
        ids.push(unknown);
        Ok(())
    }
}
