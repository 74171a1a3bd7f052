//! The tokens of a file: their spelling, their kind, and the bytes that they stand for.

use std::collections::HashMap;

use super::MODEL_KEY;
use super::byte_level::bytes_of;
use crate::Result;
use crate::model::gguf::Gguf;

pub(super) const TOKENS_KEY: &str = "tokenizer.ggml.tokens";
const KINDS_KEY: &str = "tokenizer.ggml.token_type";

/// Keys of the ids that have a role. A user-defined token with a role is a control token.
const ROLE_KEYS: [&str; 4] = [
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.padding_token_id",
];

/// SentencePiece's space, U+2581.
pub(super) const SPACE: char = '\u{2581}';

/// Kind of a token, `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Byte,
}

/// A token of the vocabulary.
#[derive(Debug)]
pub(super) struct Token {
    /// As the file spells it.
    pub(super) text: Box<str>,
    pub(super) kind: Kind,
    /// The bytes that it stands for, where they are not those of `text`.
    bytes: Option<Box<[u8]>>,
}

impl Token {
    /// What the token adds to decoded text.
    pub(super) fn output(&self) -> &[u8] {
        match (self.kind, &self.bytes) {
            (Kind::Control, _) => &[],
            (Kind::Unknown, _) => "\u{fffd}".as_bytes(),
            (_, Some(bytes)) => bytes,
            (_, None) => self.text.as_bytes(),
        }
    }
}

/// All tokens, by id and by spelling.
#[derive(Debug)]
pub(super) struct Vocabulary {
    tokens: Vec<Token>,
    ids: HashMap<Box<str>, u32>,
}

impl Vocabulary {
    pub(super) fn from_gguf(gguf: &Gguf) -> Result<Vocabulary> {
        let texts = gguf.str_array(TOKENS_KEY)?;
        if texts.is_empty() {
            return Err(gguf.fault(TOKENS_KEY, "the vocabulary is empty"));
        }
        let kinds = gguf.opt_i32_array(KINDS_KEY)?;
        if kinds.as_ref().is_some_and(|kinds| kinds.len() != texts.len()) {
            let problem = format!("has not one entry for each of the {} tokens", texts.len());
            return Err(gguf.fault(KINDS_KEY, problem));
        }
        let byte_level = gguf.str(MODEL_KEY)? == "gpt2";
        let mut ids = HashMap::new();
        let mut tokens = Vec::new();
        for (idx, text) in texts.into_iter().enumerate() {
            let id = u32::try_from(idx)
                .map_err(|_| gguf.fault(TOKENS_KEY, "has more tokens than ids of 32 bits"))?;
            // Some vocabularies have an empty token; it can neither be found in text nor be spelt.
            if !text.is_empty()
                && let Some(first) = ids.insert(Box::from(text), id)
            {
                let problem = format!("tokens {first} and {id} are the same");
                return Err(gguf.fault(TOKENS_KEY, problem));
            }
            let kind = match &kinds {
                Some(kinds) => kind(gguf, kinds[idx], text)?,
                None => Kind::Normal,
            };
            let bytes = bytes(gguf, text, kind, byte_level)?;
            tokens.push(Token { text: text.into(), kind, bytes });
        }
        let mut vocabulary = Vocabulary { tokens, ids };
        vocabulary.mark_roles(gguf, kinds.is_some())?;
        Ok(vocabulary)
    }

    /// Tokens with a role are control tokens even where the file calls them user-defined, or,
    /// lacking kinds, nothing at all: text must not be able to spell them.
    fn mark_roles(&mut self, gguf: &Gguf, has_kinds: bool) -> Result<()> {
        for key in ROLE_KEYS {
            let Some(id) = self.id_at(gguf, key)? else { continue };
            let token = &mut self.tokens[id as usize];
            if token.kind == Kind::UserDefined || !has_kinds {
                token.kind = Kind::Control;
            }
        }
        Ok(())
    }

    /// The token id in the metadata at `key`, which must be in the vocabulary.
    pub(super) fn id_at(&self, gguf: &Gguf, key: &str) -> Result<Option<u32>> {
        match gguf.opt_u32(key)? {
            Some(id) if self.get(id).is_none() => {
                let problem = format!("token {id} is not in the vocabulary of {}", self.len());
                Err(gguf.fault(key, problem))
            }
            id => Ok(id),
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&Token> {
        self.tokens.get(usize::try_from(id).ok()?)
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    /// The id of a control token.
    pub(super) fn control(&self, text: &str) -> Option<u32> {
        self.id(text).filter(|&id| self.get(id).is_some_and(|token| token.kind == Kind::Control))
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// All tokens with their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Token)> {
        (0..).zip(&self.tokens)
    }
}

fn kind(gguf: &Gguf, number: i32, text: &str) -> Result<Kind> {
    Ok(match number {
        // 0 is "undefined", 5 "unused": both are ordinary pieces to llama.cpp.
        0 | 1 | 5 => Kind::Normal,
        2 => Kind::Unknown,
        3 => Kind::Control,
        // Some converters call every added token user-defined; these names are never text.
        4 if text.starts_with("<|") && text.ends_with("|>") => Kind::Control,
        4 => Kind::UserDefined,
        6 => Kind::Byte,
        other => {
            let problem = format!("has the unknown token type {other} (known: 0 to 6)");
            return Err(gguf.fault(KINDS_KEY, problem));
        }
    })
}

/// The bytes that a token stands for, where its spelling is in code.
fn bytes(gguf: &Gguf, text: &str, kind: Kind, byte_level: bool) -> Result<Option<Box<[u8]>>> {
    Ok(match kind {
        Kind::Byte => {
            let hex = text.strip_prefix("<0x").and_then(|text| text.strip_suffix('>'));
            let hex =
                hex.filter(|hex| hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
            let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            let Some(byte) = byte else {
                let text = text.escape_debug();
                let problem = format!("the byte token \"{text}\" is not of the form <0x0A>");
                return Err(gguf.fault(TOKENS_KEY, problem));
            };
            Some(Box::new([byte]))
        }
        Kind::Normal if byte_level => bytes_of(text),
        Kind::Normal if text.contains(SPACE) => Some(text.replace(SPACE, " ").into_bytes().into()),
        _ => None,
    })
}
