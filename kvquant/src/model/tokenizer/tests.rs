//! Tests of the tokenizer on real vocabularies: stories260k's, which lies in the shared data, and
//! SmolLM2's where the model is to be had.

use std::collections::HashMap;

use common::testing;
use proptest::prelude::*;

use super::Tokenizer;
use crate::model::chat::{ChatTemplate, Message};
use crate::model::gguf::Gguf;
use crate::model::gguf_writer::{Meta, Writer, byte_level, sentencepiece};

/// WikiText-2 test, raw form, with SmolLM2: the first ids and the count, measured with llama.cpp.
const RAW: (usize, [u32; 24]) = (
    303_415,
    [
        3717, 446, 6356, 389, 9226, 352, 446, 3717, 3717, 6356, 389, 9226, 352, 314, 354, 2321,
        4771, 3297, 8552, 284, 16984, 17523, 1673, 909,
    ],
);
/// The same of the tokenised form.
const TOKENISED: (usize, [u32; 24]) = (
    312_144,
    [
        3717, 446, 6356, 2067, 5131, 46, 446, 3717, 3717, 6356, 2067, 5131, 46, 314, 354, 2321,
        4771, 3297, 8552, 284, 16984, 17523, 1673, 909,
    ],
);

fn tokenizer(file: &Writer) -> crate::Result<Tokenizer> {
    Tokenizer::from_gguf(&Gguf::parse("tiny.gguf", &file.write().bytes).unwrap())
}

fn spelled(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|&id| tokenizer.token(id).unwrap().to_owned()).collect()
}

#[test]
fn plain_text_can_not_spell_control_tokens() {
    for pre in ["gpt-2", "smollm", "qwen2", "llama-bpe"] {
        let tokenizer = tokenizer(&byte_level(pre)).unwrap();
        for text in ["<|im_end|>", "a<|im_start|>b", "stop", "<|odd|>", "<|im_end|>\n"] {
            let ids = tokenizer.encode(text, false).unwrap();
            assert!(ids.iter().all(|&id| !tokenizer.is_control(id)), "{pre}: {text:?}");
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
        // The longest control token wins, and only where it is asked for.
        let ids = tokenizer.encode_with_special("<|im_end|>\nhello<tool>", false).unwrap();
        let whole = if pre == "llama-bpe" { &["hello"][..] } else { &["hell", "o"] };
        let wanted = [&["<|im_end|>\n"][..], whole, &["<tool>"]].concat();
        assert_eq!(spelled(&tokenizer, &ids), wanted, "{pre}");
        // A user-defined token is matched in any text.
        let ids = tokenizer.encode("<tool>", false).unwrap();
        assert_eq!(spelled(&tokenizer, &ids), ["<tool>"]);
    }
}

/// Guards keep control tokens apart, and leave nothing behind.
#[test]
fn guarded_text_is_text_again() {
    const GUARD: char = '\u{fdd0}';
    let tokenizer = tokenizer(&byte_level("gpt-2")).unwrap();
    let text = "x<|im_end|>hello<tool>stop";
    let rendered = format!("<|im_start|>{}<|im_end|>", tokenizer.guarded(text, GUARD));
    let ids = tokenizer.encode_guarded(&rendered, GUARD).unwrap();
    let start = tokenizer.id("<|im_start|>").unwrap();
    let end = tokenizer.id("<|im_end|>").unwrap();
    assert_eq!(ids[0], start);
    assert_eq!(ids[1..ids.len() - 1], tokenizer.encode(text, false).unwrap());
    assert_eq!(ids[ids.len() - 1], end);
}

#[test]
fn bos_and_end_of_turn_come_from_the_file() {
    let file = byte_level("gpt-2");
    let without = tokenizer(&file).unwrap();
    assert_eq!((without.bos(), without.adds_bos()), (None, false));
    assert!(without.encode("a", true).is_err());
    let end = without.id("<|im_end|>").unwrap();
    assert_eq!(without.eot(), Some(end), "found by its name");
    assert!(without.ends_generation(end));

    let bos = without.id("<|im_start|>").unwrap();
    let file = file
        .meta("tokenizer.ggml.bos_token_id", Meta::U32(bos))
        .meta("tokenizer.ggml.add_bos_token", Meta::Bool(true));
    let with = tokenizer(&file).unwrap();
    assert!(with.adds_bos());
    assert_eq!(with.encode("", true).unwrap(), [bos]);

    // Llama 3's files don't always say that it wants BOS.
    let llama3 = byte_level("llama-bpe").meta("tokenizer.ggml.bos_token_id", Meta::U32(bos));
    assert!(tokenizer(&llama3).unwrap().adds_bos());
}

/// Checks that a file with one value changed is refused with the given words.
#[track_caller]
fn refused(mut file: Writer, key: &str, value: Meta, wanted: &str) {
    match file.metadata.iter_mut().find(|(name, _)| name == key) {
        Some(entry) => entry.1 = value,
        None => file.metadata.push((key.to_owned(), value)),
    }
    let message = tokenizer(&file).unwrap_err().to_string();
    assert!(message.starts_with("tiny.gguf: ") && message.contains(wanted), "{message}");
}

#[test]
fn unsound_byte_level_vocabularies_are_refused() {
    let check = |key: &str, value, wanted: &str| refused(byte_level("gpt-2"), key, value, wanted);
    let text = |text: &str| Meta::Str(text.to_owned());
    check("tokenizer.ggml.model", text("bert"), "\"bert\"; known are");
    check("tokenizer.ggml.pre", text("deepseek"), "\"deepseek\"; known are gpt-2");
    check("tokenizer.ggml.pre", Meta::U32(0), "pre: is U32(0), not a string");
    check(
        "tokenizer.ggml.tokens",
        Meta::i32s(&[1]),
        "tokens: is an array of I32, not an array of s",
    );
    check("tokenizer.ggml.tokens", Meta::strs::<&str>(&[]), "tokens: the vocabulary is empty");
    let twice = Meta::Array(8, vec![text("a"); 266]);
    check("tokenizer.ggml.tokens", twice, "tokens: tokens 0 and 1 are the same");
    check("tokenizer.ggml.token_type", Meta::i32s(&[1]), "token_type: has not one entry");
    check("tokenizer.ggml.token_type", Meta::i32s(&[7; 266]), "unknown token type 7");
    check(
        "tokenizer.ggml.eos_token_id",
        Meta::U32(1 << 20),
        "eos_token_id: token 1048576 is not in",
    );
    // The last two make a token longer than any: `tokenizers` would panic.
    for merge in ["he", "he o", "zz z", "a ", " a", "hello hello", "<|im_end|> hello"] {
        check("tokenizer.ggml.merges", Meta::strs(&["h e", merge]), "merges: merge 1");
    }
}

#[test]
fn unsound_sentencepiece_vocabularies_are_refused() {
    let check = |key: &str, value, wanted: &str| refused(sentencepiece(3), key, value, wanted);
    check("tokenizer.ggml.scores", Meta::f32s(&[0.0]), "scores: has not one score");
    check(
        "tokenizer.ggml.scores",
        Meta::f32s(&[f32::NAN; 9]),
        "the score of token 0 is not a number",
    );
    check("tokenizer.ggml.add_space_prefix", Meta::U8(1), "add_space_prefix: is U8(1), not a bool");
    for byte in ["<0x0>", "<0x+A>", "0x0A", "<0x00a>"] {
        let tokens = ["<unk>", "<s>", "</s>", byte, "\u{2581}", "a", "b", "ab", "\u{2581}ab"];
        check("tokenizer.ggml.tokens", Meta::strs(&tokens), "tokens: the byte token");
    }
    let long = "x".repeat(513);
    let tokens = ["<unk>", long.as_str(), "", "<0x0A>", "\u{2581}", "a", "b", "ab", "c"];
    check("tokenizer.ggml.tokens", Meta::strs(&tokens), "tokens: has a special token of 513 bytes");
}

/// SentencePiece's rule, told as plainly as it can be: join the best pair until there is none.
struct OneByOne {
    pieces: HashMap<String, (u32, f32)>,
    byte_ids: HashMap<String, u32>,
}

impl OneByOne {
    fn new(gguf: &Gguf) -> OneByOne {
        let tokens = gguf.str_array("tokenizer.ggml.tokens").unwrap();
        let scores = gguf.f32_array("tokenizer.ggml.scores").unwrap();
        let kinds = gguf.i32_array("tokenizer.ggml.token_type").unwrap();
        let mut reference = OneByOne { pieces: HashMap::new(), byte_ids: HashMap::new() };
        for (id, token) in tokens.iter().enumerate() {
            match kinds[id] {
                1 => _ = reference.pieces.insert((*token).to_owned(), (id as u32, scores[id])),
                6 => _ = reference.byte_ids.insert((*token).to_owned(), id as u32),
                _ => {}
            }
        }
        reference
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let text = if text.is_empty() { String::new() } else { format!(" {text}") };
        let mut parts: Vec<String> =
            text.replace(' ', "\u{2581}").chars().map(String::from).collect();
        loop {
            let mut best: Option<(f32, usize)> = None;
            for idx in 1..parts.len() {
                if let Some(&(_, score)) = self.pieces.get(&(parts[idx - 1].clone() + &parts[idx]))
                    && best.is_none_or(|(highest, _)| score > highest)
                {
                    best = Some((score, idx));
                }
            }
            let Some((_, idx)) = best else { break };
            let right = parts.remove(idx);
            parts[idx - 1].push_str(&right);
        }
        let ids = |part: &String| match self.pieces.get(part) {
            Some(&(id, _)) => vec![id],
            None => part.bytes().map(|b| self.byte_ids[&format!("<0x{b:02X}>")]).collect(),
        };
        parts.iter().flat_map(ids).collect()
    }
}

fn stories() -> Option<(Tokenizer, OneByOne)> {
    let gguf = Gguf::open(&testing::shared_data("models/stories260k-f32.gguf")?).unwrap();
    Some((Tokenizer::from_gguf(&gguf).unwrap(), OneByOne::new(&gguf)))
}

#[test]
fn sentencepiece_joins_as_the_plain_rule_does() {
    let Some((tokenizer, reference)) = stories() else { return };
    assert_eq!(tokenizer.vocab_size(), 512);
    assert!(tokenizer.adds_bos());
    let story = testing::shared_data("text/wikitext-2/valid.txt").unwrap();
    let story = std::fs::read_to_string(story).unwrap();
    let fixed = [
        "",
        " ",
        "  two  spaces ",
        "Once upon a time",
        "naïve 東京 🦀\r\n\t",
        "<s></s><0x0A>",
        "\u{2581}\u{0}",
    ];
    for text in fixed.into_iter().chain(story.lines().take(200)) {
        let ids = tokenizer.encode(text, false).unwrap();
        assert_eq!(ids, reference.encode(text), "{text:?}");
        // U+2581 in text can't be told from a space: SentencePiece's own loss.
        assert_eq!(tokenizer.decode(&ids).unwrap(), text.replace('\u{2581}', " "));
    }
    let ids = tokenizer.encode("Once upon a time", true).unwrap();
    assert_eq!(spelled(&tokenizer, &ids), ["<s>", "▁Once", "▁upon", "▁a", "▁time"]);
    let ids = tokenizer.encode_with_special("a</s>b", false).unwrap();
    assert_eq!(spelled(&tokenizer, &ids), ["▁a", "</s>", "▁b"]);
}

/// Ties go to the left, a joined piece may hold a character that is no piece, and what no piece and
/// no byte token covers is unknown: where a list of merges would do otherwise.
#[test]
fn sentencepiece_handles_ties_and_strangers() {
    let tokens = ["<unk>", "a", "b", "c", "ab", "bc", "né"];
    let file = Writer::new(3)
        .meta("tokenizer.ggml.model", Meta::Str("llama".to_owned()))
        .meta("tokenizer.ggml.add_space_prefix", Meta::Bool(false))
        .meta("tokenizer.ggml.tokens", Meta::strs(&tokens))
        .meta("tokenizer.ggml.token_type", Meta::i32s(&[2, 1, 1, 1, 1, 1, 1]))
        .meta("tokenizer.ggml.scores", Meta::f32s(&[0.0, -9.0, -9.0, -9.0, -0.0, 0.0, -1.0]));
    let tokenizer = tokenizer(&file).unwrap();
    let encode = |text: &str| spelled(&tokenizer, &tokenizer.encode(text, false).unwrap());
    assert_eq!(encode("abc"), ["ab", "c"]);
    assert_eq!(encode("cbc"), ["c", "bc"]);
    assert_eq!(encode("néa"), ["né", "a"]);
    assert_eq!(encode("aé"), ["a", "<unk>"]);
    assert_eq!(tokenizer.decode(&[1, 0]).unwrap(), "a\u{fffd}");
    assert!(tokenizer.decode(&[7]).unwrap_err().to_string().contains("token 7 is not in"));
}

/// A run of spaces beyond the regular expressions' limit for backtracking, 10^6 steps.
#[test]
fn a_long_run_of_spaces_survives() {
    let text = format!("a{} b\n", " ".repeat(1_200_000));
    for pre in ["gpt-2", "qwen2"] {
        let tokenizer = tokenizer(&byte_level(pre)).unwrap();
        let ids = tokenizer.encode(&text, false).unwrap();
        assert!(tokenizer.decode(&ids).unwrap() == text, "{pre}");
    }
}

proptest! {
    #[test]
    fn sentencepiece_is_the_plain_rule_on_any_text(text in "[ a-eLmot\u{e9}\u{4e16}\n]{0,40}") {
        if let Some((tokenizer, reference)) = stories() {
            let ids = tokenizer.encode(&text, false).unwrap();
            prop_assert_eq!(&ids, &reference.encode(&text));
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        }
    }

    /// Any text survives, and a stream gives what decoding the whole gives.
    #[test]
    fn byte_level_text_survives_and_streams(text in any::<String>(), pre in 0..3usize) {
        let tokenizer = tokenizer(&byte_level(["gpt-2", "smollm", "llama-bpe"][pre])).unwrap();
        let ids = tokenizer.encode(&text, false).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_str());
        let mut stream = tokenizer.decode_stream();
        let mut streamed = String::new();
        for id in ids {
            streamed += &stream.push(id).unwrap();
        }
        prop_assert_eq!(streamed + &stream.finish(), text);
    }
}

#[test]
fn smollm2_gives_the_reference_counts_on_wikitext() {
    let Some(path) = testing::model("smollm2") else { return };
    let gguf = Gguf::open(&path).unwrap();
    let tokenizer = Tokenizer::from_gguf(&gguf).unwrap();
    for (rel, (count, first)) in
        [("text/wikitext-2-raw/wiki.test.raw", RAW), ("text/wikitext-2/test.txt", TOKENISED)]
    {
        let Some(path) = testing::shared_data(rel) else { continue };
        let text = std::fs::read_to_string(path).unwrap();
        let ids = tokenizer.encode(&text, tokenizer.adds_bos()).unwrap();
        assert_eq!(ids[..first.len()], first, "{rel}");
        assert_eq!(ids.len(), count, "{rel}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{rel}");
    }
    assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.eot()), (Some(1), Some(2), Some(2)));
    // A byte without a token is dropped, as transformers and llama.cpp do.
    let encode = |text: &str| tokenizer.encode(text, false).unwrap();
    assert_eq!(encode("the\u{4} end"), encode("the end"));
    // The trap of candle's tokenizer: a space in front of the word after a control token.
    let ids = tokenizer.encode_with_special("<|im_start|>user\n", false).unwrap();
    assert_eq!(ids, [1, 4093, 198]);

    let template = ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap();
    let hello = [Message::new("system", "Be brief."), Message::new("user", "<|im_end|>")];
    let ids = template.encode(&tokenizer, &hello, true).unwrap();
    let n_control = ids.iter().filter(|&&id| tokenizer.is_control(id)).count();
    assert_eq!((&ids[..3], n_control), (&[1, 9690, 198][..], 5), "{ids:?}");
}
