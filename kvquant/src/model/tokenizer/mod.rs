//! Text to tokens and back, by the vocabulary that a GGUF file carries.
//!
//! Two families: byte-level BPE ("gpt2": GPT-2, Llama 3, Qwen 2, SmolLM), through the crate
//! `tokenizers`, and SentencePiece BPE by scores ("llama"), our own (`sentencepiece.rs` says why).
//!
//! **Text from a user is text.** [`Tokenizer::encode`] never makes a control token of it: a message
//! that spells out `<|im_end|>` must not end its turn. Only [`Tokenizer::encode_with_special`]
//! recognises control tokens, for text that a program wrote. Tokens that the vocabulary's makers
//! *defined by hand but not as control tokens* (token type 4, such as runs of spaces) are matched
//! in any text, as the models were trained with.

mod byte_level;
mod sentencepiece;
mod special;
mod stream;
mod vocabulary;

use self::byte_level::ByteLevel;
use self::sentencepiece::SentencePiece;
use self::special::{Finder, Fragment};
use self::vocabulary::{Kind, Vocabulary};
use super::gguf::Gguf;
use crate::{Error, Result};

pub use self::stream::DecodeStream;

const MODEL_KEY: &str = "tokenizer.ggml.model";

/// Control tokens that end a turn in the chat formats in use, for files that don't say which does.
const END_OF_TURN: [&str; 4] = ["<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>"];

/// A model's tokenizer.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    model: Model,
    /// Finds user-defined tokens: in any text.
    user_defined: Finder,
    /// Finds user-defined and control tokens: in text that asks for it.
    special: Finder,
    bos: Option<u32>,
    eos: Option<u32>,
    eot: Option<u32>,
    adds_bos: bool,
    /// Whether text is given a space in front, as SentencePiece does to treat all words alike.
    adds_space: bool,
}

#[derive(Debug)]
enum Model {
    ByteLevel(Box<ByteLevel>),
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    /// Builds the tokenizer that a file's metadata describes.
    ///
    /// # Errors
    /// [`Error::Gguf`] when the metadata is incomplete or inconsistent,
    /// [`Error::UnsupportedModel`] when it describes a tokenizer of another kind.
    pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer> {
        let vocabulary = Vocabulary::from_gguf(gguf)?;
        // SentencePiece models start every text with BOS, and with a space, unless the file says
        // no.
        let (model, adds_bos, adds_space) = match gguf.str(MODEL_KEY)? {
            "gpt2" => {
                let (model, adds_bos) = ByteLevel::from_gguf(gguf, &vocabulary)?;
                (Model::ByteLevel(Box::new(model)), adds_bos, false)
            }
            "llama" => {
                let adds_space = gguf.opt_bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
                let model = SentencePiece::from_gguf(gguf, &vocabulary)?;
                (Model::SentencePiece(Box::new(model)), true, adds_space)
            }
            other => {
                let problem = format!(
                    "its tokenizer ({MODEL_KEY}) is \"{}\"; known are \"gpt2\" (byte-level BPE) and \
                     \"llama\" (SentencePiece)",
                    other.escape_debug()
                );
                return Err(Error::UnsupportedModel { path: gguf.path().to_owned(), problem });
            }
        };
        let adds_bos = gguf.opt_bool("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos);
        let eot = match vocabulary.id_at(gguf, "tokenizer.ggml.eot_token_id")? {
            Some(eot) => Some(eot),
            None => END_OF_TURN.iter().find_map(|text| vocabulary.control(text)),
        };
        Ok(Tokenizer {
            user_defined: Finder::new(gguf, &vocabulary, |kind| kind == Kind::UserDefined)?,
            special: Finder::new(gguf, &vocabulary, |kind| {
                matches!(kind, Kind::UserDefined | Kind::Control)
            })?,
            bos: vocabulary.id_at(gguf, "tokenizer.ggml.bos_token_id")?,
            eos: vocabulary.id_at(gguf, "tokenizer.ggml.eos_token_id")?,
            eot,
            adds_bos,
            adds_space,
            model,
            vocabulary,
        })
    }

    /// Encodes plain text. What looks like a control token in it stays text.
    ///
    /// `add_bos` puts the beginning-of-sequence token in front; [`Tokenizer::adds_bos`] is what the
    /// model was trained with. Byte-level vocabularies without a token for some byte (SmolLM2's
    /// lacks 21 rare ones) drop that byte, as the reference implementations do.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when BOS is asked for and there is none, or when the vocabulary can't
    /// express the text.
    pub fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<u32>> {
        let mut ids = self.first(add_bos)?;
        self.extend(&mut ids, text, &self.user_defined, None, true)?;
        Ok(ids)
    }

    /// Encodes text in which control tokens are recognised: only for text that no user wrote. For a
    /// conversation use [`ChatTemplate::encode`](super::chat::ChatTemplate::encode).
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_with_special(&self, text: &str, add_bos: bool) -> Result<Vec<u32>> {
        let mut ids = self.first(add_bos)?;
        self.extend(&mut ids, text, &self.special, None, true)?;
        Ok(ids)
    }

    /// As [`Tokenizer::encode_with_special`], of text in which `guard` keeps apart the characters
    /// of control tokens that are none (see [`Tokenizer::guarded`]).
    pub(crate) fn encode_guarded(&self, text: &str, guard: char) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.extend(&mut ids, text, &self.special, Some(guard), true)?;
        Ok(ids)
    }

    /// `text` with `guard` between the characters of everything in it that spells a control token.
    /// `guard` must not occur in the text.
    pub(crate) fn guarded(&self, text: &str, guard: char) -> String {
        let mut guarded = String::with_capacity(text.len());
        for fragment in self.special.fragments(text) {
            match fragment {
                Fragment::Text(text) => guarded.push_str(text),
                Fragment::Token(_, text) => {
                    guarded.push(guard);
                    text.chars().for_each(|c| guarded.extend([c, guard]));
                }
            }
        }
        guarded
    }

    /// Whether `text` could become a part of a control token by what stands before or after it.
    pub(crate) fn could_join(&self, text: &str) -> bool {
        let controls = self.vocabulary.iter().filter(|(_, token)| token.kind == Kind::Control);
        controls.map(|(_, token)| token.text.as_ref()).any(|control| {
            let mut cuts = control.char_indices().skip(1).map(|(at, _)| control.split_at(at));
            control.contains(text)
                || cuts.any(|(head, tail)| text.ends_with(head) || text.starts_with(tail))
        })
    }

    fn first(&self, add_bos: bool) -> Result<Vec<u32>> {
        match (add_bos, self.bos) {
            (false, _) => Ok(Vec::new()),
            (true, Some(bos)) => Ok(vec![bos]),
            (true, None) => Err(Error::Tokenizer("the vocabulary has no BOS to add".to_owned())),
        }
    }

    /// Appends the tokens of `text`, cut at the tokens that `finder` finds.
    ///
    /// `at_start` tells that the text follows a special token or nothing, where a SentencePiece
    /// model puts its space (llama.cpp's rule).
    fn extend(
        &self,
        ids: &mut Vec<u32>,
        text: &str,
        finder: &Finder,
        guard: Option<char>,
        mut at_start: bool,
    ) -> Result<()> {
        for fragment in finder.fragments(text) {
            match fragment {
                Fragment::Token(id, _) => ids.push(id),
                Fragment::Text(text) => match guard {
                    Some(guard) if text.contains(guard) => {
                        // Now that it is known to be text, the guards have done their work.
                        let text: String = text.chars().filter(|&c| c != guard).collect();
                        self.extend(ids, &text, &self.user_defined, None, at_start)?;
                    }
                    _ => self.encode_text(ids, text, at_start)?,
                },
            }
            at_start = matches!(fragment, Fragment::Token(..));
        }
        Ok(())
    }

    fn encode_text(&self, ids: &mut Vec<u32>, text: &str, at_start: bool) -> Result<()> {
        match &self.model {
            Model::ByteLevel(model) => model.encode(text, ids),
            Model::SentencePiece(model) => model.encode(text, at_start && self.adds_space, ids),
        }
    }

    /// The text of a whole sequence: control tokens are left out, the space that encoding put in
    /// front is taken away, and bytes that are not UTF-8 become U+FFFD. For a continuation, whose
    /// first space counts, use [`Tokenizer::decode_stream`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when an id is not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let mut bytes = Vec::new();
        for &id in ids {
            bytes.extend_from_slice(self.output_bytes(id)?);
        }
        let from = usize::from(self.adds_space && bytes.first() == Some(&b' '));
        Ok(String::from_utf8_lossy(&bytes[from..]).into_owned())
    }

    /// A decoder for tokens as they are generated.
    pub fn decode_stream(&self) -> DecodeStream<'_> {
        DecodeStream::new(self)
    }

    /// What a token adds to decoded text: bytes, of which several tokens may make one character.
    /// Control tokens add none.
    fn output_bytes(&self, id: u32) -> Result<&[u8]> {
        let token = self.vocabulary.get(id).ok_or_else(|| {
            let size = self.vocab_size();
            Error::Tokenizer(format!("token {id} is not in the vocabulary of {size}"))
        })?;
        Ok(token.output())
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// A token as the file spells it: `Ġthe` or `▁the` for " the", `<|im_end|>`, `<0x0A>`.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.vocabulary.get(id).map(|token| token.text.as_ref())
    }

    /// The id of a token by the file's spelling.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.vocabulary.id(token)
    }

    /// Whether the token steers the model instead of standing for text.
    pub fn is_control(&self, id: u32) -> bool {
        self.vocabulary.get(id).is_some_and(|token| token.kind == Kind::Control)
    }

    /// How many tokens there are.
    pub fn n_tokens(&self) -> usize {
        self.vocabulary.len()
    }

    /// The token that begins a sequence.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a sequence.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The token that ends a turn of a conversation.
    pub fn eot(&self) -> Option<u32> {
        self.eot
    }

    /// Whether generation stops at this token.
    pub fn ends_generation(&self, id: u32) -> bool {
        Some(id) == self.eos || Some(id) == self.eot
    }

    /// Whether the file asks for BOS before every text.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos && self.bos.is_some()
    }
}

#[cfg(test)]
mod tests;
