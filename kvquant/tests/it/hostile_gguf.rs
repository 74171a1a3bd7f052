//! A GGUF file comes from strangers: whatever its bytes, opening it gives a model or an error that
//! names the file and the field, never a panic and never an allocation that the file can't back.

use std::path::Path;

use kvquant::Error;
use kvquant::model::gguf::{Gguf, Value};
use kvquant::model::tokenizer::Tokenizer;
use proptest::prelude::*;

use crate::gguf_writer::{Meta, Tensor, Written, byte_level, sentencepiece};

const PATH: &str = "models/tiny.gguf";

/// Uses everything that a file offers; what it returns is whether the file was sound.
fn touch(bytes: &[u8]) -> Result<(), Error> {
    let gguf = Gguf::parse(PATH, bytes)?;
    let mut keys: Vec<_> = gguf.keys().map(str::to_owned).collect();
    keys.sort();
    for key in &keys {
        let _ = gguf.opt_u32(key);
        let _ = gguf.opt_f32(key);
        let _ = gguf.opt_bool(key);
        let _ = gguf.opt_str(key);
        let _ = gguf.opt_str_array(key);
        let _ = gguf.opt_f32_array(key);
        let _ = gguf.opt_i32_array(key);
        let _ = gguf.opt_u32_array(key);
    }
    for name in gguf.tensor_names() {
        let tensor = gguf.tensor(name).unwrap();
        tensor.to_qtensor().unwrap();
        tensor.dequantize_row(tensor.rows() - 1).unwrap();
        assert!(tensor.dequantize_row(tensor.rows()).is_err());
    }
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
        let ids = tokenizer.encode("ab \u{2581}<s>é", false).unwrap_or_default();
        tokenizer.decode(&ids).unwrap();
    }
    Ok(())
}

/// Asserts that `bytes` are refused with a message that names the file, `field` and `problem`.
#[track_caller]
fn refused(bytes: &[u8], field: &str, problem: &str) {
    let error = touch(bytes).expect_err("the file is not sound");
    let Error::Gguf { path, field: found, .. } = &error else { panic!("{error}") };
    assert_eq!(path, Path::new(PATH));
    let message = error.to_string();
    assert_eq!(found, field, "{message}");
    assert!(message.starts_with(PATH) && message.contains(problem), "{message}");
}

fn written() -> Written {
    sentencepiece(3).write()
}

#[test]
fn the_sound_file_is_read_in_all_versions() {
    for version in 1..=3 {
        let gguf = Gguf::parse(PATH, &sentencepiece(version).write().bytes).unwrap();
        assert_eq!(gguf.version(), version);
        assert_eq!(gguf.str("general.architecture").unwrap(), "llama");
        assert_eq!(gguf.u32("test.u8").unwrap(), 1);
        assert_eq!(gguf.get("test.u64"), Some(&Value::U64(u64::MAX)));
        assert_eq!(gguf.get("test.i64"), Some(&Value::I64(i64::MIN)));
        assert_eq!(gguf.f32("test.f64").unwrap(), 0.25);
        assert!(gguf.bool("test.bool").unwrap());
        assert_eq!(gguf.str_array("tokenizer.ggml.tokens").unwrap()[8], "\u{2581}ab");
        assert_eq!(gguf.i32_array("tokenizer.ggml.token_type").unwrap()[3], 6);
        assert_eq!(gguf.u32_array("tokenizer.ggml.token_type").unwrap()[3], 6);
        assert_eq!(gguf.f32_array("tokenizer.ggml.scores").unwrap()[7], -1.0);
        let names: Vec<_> = gguf.tensor_names().collect();
        assert_eq!(names, ["token_embd.weight", "output_norm.weight"]);
        let embedding = gguf.tensor("token_embd.weight").unwrap();
        assert_eq!((embedding.shape, embedding.rows(), embedding.columns()), (&[2, 32][..], 2, 32));
        let whole = embedding.to_qtensor().unwrap().dequantize(&candle_core::Device::Cpu).unwrap();
        let whole = whole.to_vec2::<f32>().unwrap();
        assert_eq!(embedding.dequantize_row(1).unwrap(), whole[1]);
        touch(&sentencepiece(version).write().bytes).unwrap();
    }
}

#[test]
fn absent_and_mistyped_keys_are_named() {
    let gguf = Gguf::parse(PATH, &written().bytes).unwrap();
    assert_eq!(gguf.opt_u32("no.such.key").unwrap(), None);
    let error = gguf.u32("no.such.key").unwrap_err().to_string();
    assert!(error.contains(PATH) && error.contains("no.such.key"), "{error}");
    let error = gguf.opt_u32("test.i8").unwrap_err().to_string();
    assert!(error.contains("test.i8: is I8(-1), not an integer from 0"), "{error}");
    assert!(gguf.u32("test.u64").is_err(), "does not fit");
    assert!(gguf.str_array("test.nested").is_err());
    assert!(gguf.i32_array("test.bools").is_err(), "a bool is no integer");
    let error = gguf.tensor("blk.0.attn_q.weight").unwrap_err().to_string();
    assert!(error.contains(PATH) && error.contains("blk.0.attn_q.weight"), "{error}");
}

/// Wherever a file is cut, it is refused with the name of a field that it has.
#[test]
fn a_file_cut_anywhere_is_refused() {
    for version in 1..=3 {
        let file = sentencepiece(version);
        let keys = file.metadata.iter().map(|(key, _)| key.clone());
        let names = file.tensors.iter().map(|tensor| tensor.name.clone());
        let mut fields: Vec<String> = keys.chain(names).collect();
        fields.extend((0..file.metadata.len()).map(|idx| format!("metadata entry {idx}")));
        fields.extend((0..file.tensors.len()).map(|idx| format!("tensor entry {idx}")));
        fields.extend(["tensor count", "metadata count"].map(str::to_owned));

        let whole = file.write().bytes;
        for end in 0..whole.len() {
            let error = touch(&whole[..end]).expect_err("cut");
            let Error::Gguf { path, field, .. } = &error else { panic!("{error}") };
            assert_eq!(path, Path::new(PATH));
            match end {
                0..4 => assert_eq!(field, "magic"),
                4..8 => assert_eq!(field, "version"),
                _ => assert!(fields.contains(field), "{end}: {error}"),
            }
        }
    }
}

#[test]
fn absurd_header_fields_are_refused() {
    let file = written();
    refused(&file.with("magic", b"GGML"), "magic", "not a GGUF file");
    refused(&file.with("magic", b"FUGG"), "magic", "big-endian");
    refused(&file.with("version", &0u32.to_le_bytes()), "version", "0 is not known");
    refused(&file.with("version", &4u32.to_le_bytes()), "version", "4 is not known");
    refused(&file.with("version", &3u32.to_be_bytes()), "version", "big-endian");
    for count in [u64::MAX, 1 << 40, 1000] {
        let bytes = count.to_le_bytes();
        refused(&file.with("tensor count", &bytes), "tensor count", "can hold at most");
        refused(&file.with("metadata count", &bytes), "metadata count", "can hold at most");
    }
}

#[test]
fn absurd_metadata_is_refused() {
    let file = written();
    let key = "general.architecture";
    for length in [u64::MAX, i64::MAX as u64, file.bytes.len() as u64] {
        let bytes = length.to_le_bytes();
        refused(&file.with(&format!("{key}: length"), &bytes), "metadata entry 0", "left");
        refused(&file.with(&format!("{key}: value"), &bytes), key, "left");
    }
    refused(&file.with(&format!("{key}: text"), &[0xff]), "metadata entry 0", "UTF-8");
    refused(&file.with(&format!("{key}: type"), &13u32.to_le_bytes()), key, "value type 13");
    refused(&file.with("test.bool: value", &[2]), "test.bool", "neither 0 nor 1");
    refused(&file.with("test.bools: value", &[13]), "test.bools", "value type 13");

    let tokens = "tokenizer.ggml.tokens";
    let array =
        |element: u32, count: u64| [&element.to_le_bytes()[..], &count.to_le_bytes()].concat();
    for count in [u64::MAX, 1 << 61, 1 << 32] {
        for element in 0..13 {
            let bytes = file.with(&format!("{tokens}: value"), &array(element, count));
            refused(&bytes, tokens, "can hold at most");
        }
    }
    refused(
        &sentencepiece(3).meta("test.u8", Meta::U8(1)).write().bytes,
        "test.u8",
        "occurs twice",
    );
    refused(&sentencepiece(3).meta("", Meta::U8(1)).write().bytes, "metadata entry 20", "empty");
    let long = "k".repeat(65_536);
    refused(
        &sentencepiece(3).meta(&long, Meta::U8(1)).write().bytes,
        "metadata entry 20",
        "65536 bytes",
    );
    let deep = (0..6).fold(Meta::i32s(&[1]), |inner, _| Meta::Array(9, vec![inner]));
    refused(&sentencepiece(3).meta("deep", deep).write().bytes, "deep", "deeper than 4");
    for alignment in [0u32, 4, 24, 33] {
        let bytes = file.with("general.alignment: value", &alignment.to_le_bytes());
        refused(&bytes, "general.alignment", "power of two");
    }
}

/// Every field there is, at its extremes: an error names the file and a field, and nothing panics.
#[test]
fn every_field_at_its_extremes_is_survived() {
    for file in (1..=3).map(sentencepiece).chain([byte_level("llama-bpe")]) {
        let file = file.write();
        let mut n_refused = 0;
        for (_, range) in file.fields() {
            for fill in [0x00, 0x01, 0x20, 0x7f, 0x80, 0xff] {
                let mut bytes = file.bytes.clone();
                bytes[range.clone()].fill(fill);
                if let Err(error) = touch(&bytes) {
                    let Error::Gguf { field, .. } = &error else { panic!("{error}") };
                    assert!(error.to_string().starts_with(PATH) && !field.is_empty(), "{error}");
                    n_refused += 1;
                }
            }
        }
        assert!(n_refused > file.fields().count(), "{n_refused} refusals: is the test alive?");
    }
}

/// Control characters in a name must not reach the terminal of whoever reads the message.
#[test]
fn names_are_escaped_and_shortened() {
    let key = format!("\u{1b}[2J{}", "k".repeat(1000));
    let file = sentencepiece(3).meta(&key, Meta::U8(1)).meta(&key, Meta::U8(1)).write();
    let message = touch(&file.bytes).unwrap_err().to_string();
    assert!(!message.contains('\u{1b}') && message.len() < 300, "{message}");
}

#[test]
fn absurd_tensors_are_refused() {
    let file = written();
    let name = "token_embd.weight";
    let with = |field: &str, bytes: &[u8]| file.with(&format!("{name}: {field}"), bytes);
    refused(&with("length", &u64::MAX.to_le_bytes()), "tensor entry 0", "left");
    refused(&with("text", &[0xc3, 0x28]), "tensor entry 0", "UTF-8");
    for n_dims in [0u32, 5, u32::MAX] {
        refused(&with("n_dims", &n_dims.to_le_bytes()), name, "dimensions");
    }
    refused(&with("dim 0", &33u64.to_le_bytes()), name, "blocks of 32");
    refused(&with("dim 1", &0u64.to_le_bytes()), name, "dimension of 0");
    refused(&with("dim 1", &u64::MAX.to_le_bytes()), name, "overflows");
    refused(&with("dim 1", &(1u64 << 58).to_le_bytes()), name, "is it complete");
    refused(&with("dim 1", &9u64.to_le_bytes()), name, "is it complete");
    refused(&with("type", &16u32.to_le_bytes()), name, "16 (IQ2_XXS)");
    refused(&with("type", &u32::MAX.to_le_bytes()), name, "(unknown)");
    refused(&with("offset", &1u64.to_le_bytes()), name, "not a multiple of 32");
    refused(&with("offset", &4096u64.to_le_bytes()), name, "is it complete");
    refused(&with("offset", &(u64::MAX - 31).to_le_bytes()), name, "is it complete");

    let mut twice = sentencepiece(3);
    twice.tensors[1].name = name.to_owned();
    refused(&twice.write().bytes, name, "two tensors");
    let mut empty = sentencepiece(3);
    empty.tensors.push(Tensor { name: String::new(), dims: vec![1], dtype: 0, offset: 0 });
    refused(&empty.write().bytes, "tensor entry 2", "empty");
}

#[test]
fn an_empty_file_and_a_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.gguf");
    std::fs::write(&empty, b"").unwrap();
    for path in [empty.as_path(), folder.path()] {
        let message = Gguf::open(path).unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
    }
}

const CORPUS: &str = "tests/corpus/gguf";

/// What the fuzzer found once must not come back.
#[test]
fn the_corpus_does_not_panic() {
    for entry in std::fs::read_dir(CORPUS).unwrap() {
        let _ = touch(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}

/// The fuzzer starts from sound files: the writer's own.
#[test]
fn the_corpus_holds_the_sound_files() {
    let versions = (1..=3).map(|v| (format!("sentencepiece-v{v}.gguf"), sentencepiece(v)));
    let template = Meta::Str("{% for m in messages %}{{ m.content }}{% endfor %}".to_owned());
    let rules = ["gpt-2", "smollm", "qwen2", "llama-bpe"].map(|pre| {
        (format!("{pre}.gguf"), byte_level(pre).meta("tokenizer.chat_template", template.clone()))
    });
    let mut changed = Vec::new();
    for (name, file) in versions.chain(rules) {
        let bytes = file.write().bytes;
        touch(&bytes).unwrap();
        let stored = std::fs::read(Path::new(CORPUS).join(&name)).unwrap_or_default();
        if stored != bytes {
            std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name), bytes).unwrap();
            changed.push(name);
        }
    }
    let written = env!("CARGO_TARGET_TMPDIR");
    assert!(
        changed.is_empty(),
        "{CORPUS} is not what the writer writes: copy {changed:?} from {written}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// Bytes of the header overwritten at random, with a bias to the extremes.
    #[test]
    fn random_bytes_never_panic(
        version in 1u32..=3,
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x7f)]),
            1..6,
        ),
    ) {
        let mut bytes = sentencepiece(version).write().bytes;
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = touch(&bytes);
    }
}
