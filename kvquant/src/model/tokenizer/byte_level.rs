//! Byte-level BPE: text is cut into words by a regular expression, each byte of a word becomes a
//! character, and the characters are merged by rank.
//!
//! How text is cut is not in the file but in code, by the name in `tokenizer.ggml.pre`. A wrong
//! rule still gives tokens that decode to the text, and a model that is worse for no visible
//! reason, so an unknown name is refused.

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel as Bytes;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use super::vocabulary::{Kind, Vocabulary};
use crate::model::gguf::Gguf;
use crate::{Error, Result};

const PRE_KEY: &str = "tokenizer.ggml.pre";
const MERGES_KEY: &str = "tokenizer.ggml.merges";

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How text is cut before merging, and what else goes with the name.
struct Rule {
    pre_tokenizer: PreTokenizerWrapper,
    /// Characters are composed first (U+0065 U+0301 becomes U+00E9).
    composes: bool,
    /// A word that is a token as it stands is that token, whatever the merges would make of it.
    whole_words: bool,
    /// The default of `add_bos_token`.
    adds_bos: bool,
}

/// The rule of a name in `tokenizer.ggml.pre`; `None` when the name is not known.
fn rule(pre: &str) -> Result<Option<Rule>> {
    // No prefix space: candle's default of one turns "user" after <|im_start|> into " user".
    let gpt2 = Bytes::new(false, false, true);
    let plain = |pre_tokenizer| Rule {
        pre_tokenizer,
        composes: false,
        whole_words: false,
        adds_bos: false,
    };
    Ok(Some(match pre {
        "gpt-2" | "default" => plain(gpt2.into()),
        "smollm" => plain(Sequence::new(vec![Digits::new(true).into(), gpt2.into()]).into()),
        "qwen2" => Rule { composes: true, ..plain(split(QWEN2)?) },
        "llama-bpe" | "llama3" | "llama-v3" => {
            Rule { whole_words: true, adds_bos: true, ..plain(split(LLAMA3)?) }
        }
        _ => return Ok(None),
    }))
}

fn split(regex: &str) -> Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(regex.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?;
    Ok(Sequence::new(vec![split.into(), Bytes::new(false, false, false).into()]).into())
}

/// A byte-level BPE model with its rule for words. It knows no control or user-defined tokens:
/// these are cut out of the text before.
#[derive(Debug)]
pub(super) struct ByteLevel {
    tokenizer: Tokenizer,
}

impl ByteLevel {
    /// The model in a file, and whether it expects BOS where the file doesn't say.
    pub(super) fn from_gguf(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<(ByteLevel, bool)> {
        let pre = gguf.opt_str(PRE_KEY)?.unwrap_or("default");
        let Some(rule) = rule(pre)? else {
            let problem = format!(
                "its rule for words ({PRE_KEY}) is \"{}\"; known are gpt-2, default, smollm, qwen2, \
                 llama-bpe, llama3 and llama-v3",
                pre.escape_debug()
            );
            return Err(Error::UnsupportedModel { path: gguf.path().to_owned(), problem });
        };
        // Merging must not reach a control token, so the model doesn't know them.
        let pieces = vocabulary.iter().filter(|(_, token)| token.kind == Kind::Normal);
        let pieces: Vocab = pieces.map(|(id, token)| (token.text.to_string(), id)).collect();
        // The crate's cache of words is kept by the thread, beyond the tokenizer's life, and gains
        // nothing measurable: 0.6 s for the 1.3 MB of WikiText-2 test either way.
        let bpe = BPE::builder()
            .vocab_and_merges(pieces, merges(gguf, vocabulary)?)
            .ignore_merges(rule.whole_words)
            .cache_capacity(0)
            .build()
            .map_err(|error| gguf.fault(MERGES_KEY, error.to_string()))?;
        let mut tokenizer = Tokenizer::new(bpe);
        tokenizer.with_pre_tokenizer(Some(rule.pre_tokenizer));
        if rule.composes {
            tokenizer.with_normalizer(Some(NFC)).map_err(failed)?;
        }
        Ok((ByteLevel { tokenizer }, rule.adds_bos))
    }

    pub(super) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(failed)?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }
}

fn failed(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

/// The file's merges, in order. `tokenizers` relies on each naming two tokens that make up a third
/// (it copies them into a buffer of the longest token's size), so that is checked here.
fn merges(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Vec<(String, String)>> {
    let is_piece = |text: &str| {
        let id = vocabulary.id(text)?;
        vocabulary.get(id).map(|token| token.kind == Kind::Normal)
    };
    let mut merges = Vec::new();
    let mut whole = String::new();
    for (rank, merge) in gguf.str_array(MERGES_KEY)?.into_iter().enumerate() {
        let fault = |problem: &str| {
            let merge: String = merge.chars().take(64).collect();
            gguf.fault(MERGES_KEY, format!("merge {rank}, \"{}\", {problem}", merge.escape_debug()))
        };
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(fault("is not two tokens with a space between"));
        };
        whole.clear();
        whole.extend([left, right]);
        match (is_piece(left), is_piece(right), is_piece(&whole)) {
            (Some(true), Some(true), Some(true)) => merges.push((left.into(), right.into())),
            // Merges from or to a control token: some files have such; text must not use them.
            (Some(_), Some(_), Some(_)) => {}
            _ => return Err(fault("is made of, or makes, a token that is not in the vocabulary")),
        }
    }
    Ok(merges)
}

/// The bytes that a token in GPT-2's alphabet stands for; `None` when a character is not of it, for
/// then the token stands for its own text.
///
/// The alphabet gives each byte a printable character: bytes that are printable in Latin-1 stand
/// for themselves, the others are numbered from U+0100 in their order.
pub(super) fn bytes_of(text: &str) -> Option<Box<[u8]>> {
    text.chars().map(byte_of).collect()
}

fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    let byte = match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_alphabet_is_gpt2s() {
        let alphabet = Bytes::alphabet();
        assert_eq!(alphabet.len(), 256);
        let bytes: BTreeSet<u8> = alphabet.iter().map(|&c| byte_of(c).unwrap()).collect();
        assert_eq!(bytes.len(), 256);
        assert_eq!(bytes_of("Ġthe").unwrap().as_ref(), b" the");
        assert_eq!(bytes_of("ĊÃ©").unwrap().as_ref(), "\né".as_bytes());
        assert_eq!(bytes_of("a b"), None);
    }

    /// The words that a rule cuts a text into, through the real pre-tokenizer.
    fn words(pre: &str, text: &str) -> Vec<String> {
        use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};
        let mut cut = PreTokenizedString::from(text);
        rule(pre).unwrap().unwrap().pre_tokenizer.pre_tokenize(&mut cut).unwrap();
        let words = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let decode = |word: &str| String::from_utf8(bytes_of(word).unwrap().into()).unwrap();
        words.into_iter().map(|(word, ..)| decode(word)).collect()
    }

    #[test]
    fn each_rule_cuts_words_its_own_way() {
        let text = "I'LL pay 1234.\n\n  x";
        let gpt2 = ["I", "'", "LL", " pay", " 1234", ".", "\n\n ", " x"];
        assert_eq!(words("gpt-2", text), gpt2);
        assert_eq!(words("default", text), gpt2);
        let smollm = ["I", "'", "LL", " pay", " ", "1", "2", "3", "4", ".", "\n\n ", " x"];
        assert_eq!(words("smollm", text), smollm);
        let qwen2 = ["I", "'LL", " pay", " ", "1", "2", "3", "4", ".\n\n", " ", " x"];
        assert_eq!(words("qwen2", text), qwen2);
        let llama3 = ["I", "'LL", " pay", " ", "123", "4", ".\n\n", " ", " x"];
        assert_eq!(words("llama-bpe", text), llama3);
        assert!(rule("deepseek-v3").unwrap().is_none());
    }
}
