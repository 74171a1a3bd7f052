//! Writes small GGUF files for tests, sound or not: it checks nothing, and remembers where each
//! field lies so that a test can overwrite it. The two sound files that most tests start from are
//! here too.
#![allow(missing_docs, dead_code)] // Each test target uses its part.

use std::ops::Range;

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// A metadata value to write.
#[derive(Clone, Debug)]
pub enum Meta {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(String),
    U64(u64),
    I64(i64),
    F64(f64),
    Array(u32, Vec<Meta>),
}

impl Meta {
    /// An array of strings.
    pub fn strs<S: AsRef<str>>(texts: &[S]) -> Meta {
        Meta::Array(8, texts.iter().map(|s| Meta::Str(s.as_ref().to_owned())).collect())
    }

    /// An array of signed integers.
    pub fn i32s(values: &[i32]) -> Meta {
        Meta::Array(5, values.iter().map(|&v| Meta::I32(v)).collect())
    }

    /// An array of floats.
    pub fn f32s(values: &[f32]) -> Meta {
        Meta::Array(6, values.iter().map(|&v| Meta::F32(v)).collect())
    }

    fn number(&self) -> u32 {
        match self {
            Meta::U8(_) => 0,
            Meta::I8(_) => 1,
            Meta::U16(_) => 2,
            Meta::I16(_) => 3,
            Meta::U32(_) => 4,
            Meta::I32(_) => 5,
            Meta::F32(_) => 6,
            Meta::Bool(_) => 7,
            Meta::Str(_) => 8,
            Meta::Array(..) => 9,
            Meta::U64(_) => 10,
            Meta::I64(_) => 11,
            Meta::F64(_) => 12,
        }
    }
}

/// A tensor to write.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Innermost first, as in the file.
    pub dims: Vec<u64>,
    /// The type's number.
    pub dtype: u32,
    /// Where its data lies, from the start of the data section.
    pub offset: u64,
}

/// What to write. The fields are public: a test makes what it likes of them.
#[derive(Clone, Debug)]
pub struct Writer {
    pub version: u32,
    pub metadata: Vec<(String, Meta)>,
    pub tensors: Vec<Tensor>,
    /// The data section, from the first aligned byte after the directory.
    pub data: Vec<u8>,
    pub alignment: usize,
}

/// A written file, and where its fields lie.
#[derive(Clone, Debug)]
pub struct Written {
    pub bytes: Vec<u8>,
    marks: Vec<(String, Range<usize>)>,
}

impl Writer {
    /// An empty file.
    pub fn new(version: u32) -> Writer {
        Writer { version, metadata: vec![], tensors: vec![], data: vec![], alignment: 32 }
    }

    /// Adds a metadata value.
    pub fn meta(mut self, key: &str, value: Meta) -> Writer {
        self.metadata.push((key.to_owned(), value));
        self
    }

    /// The same without its tensors.
    pub fn without_tensors(mut self) -> Writer {
        self.tensors.clear();
        self.data.clear();
        self
    }

    /// The same with another value of `key`, which is added where there is none.
    pub fn replace(mut self, key: &str, value: Meta) -> Writer {
        self.metadata.retain(|(name, _)| name != key);
        self.meta(key, value)
    }

    /// Adds a tensor and its data, aligned.
    pub fn tensor(mut self, name: &str, dims: &[u64], dtype: u32, data: &[u8]) -> Writer {
        self.data.resize(self.data.len().next_multiple_of(self.alignment), 0);
        let offset = self.data.len() as u64;
        self.tensors.push(Tensor { name: name.to_owned(), dims: dims.to_vec(), dtype, offset });
        self.data.extend_from_slice(data);
        self
    }

    /// Writes the file.
    pub fn write(&self) -> Written {
        let mut out = Out { bytes: vec![], marks: vec![], wide: self.version != 1 };
        out.mark("magic", |out| out.bytes.extend(b"GGUF"));
        out.mark("version", |out| out.u32(self.version));
        out.mark("tensor count", |out| out.length(self.tensors.len()));
        out.mark("metadata count", |out| out.length(self.metadata.len()));
        for (key, value) in &self.metadata {
            out.string(key);
            out.mark(&format!("{key}: type"), |out| out.u32(value.number()));
            out.mark(&format!("{key}: value"), |out| out.value(value));
        }
        for tensor in &self.tensors {
            let name = &tensor.name;
            out.string(name);
            out.mark(&format!("{name}: n_dims"), |out| out.u32(tensor.dims.len() as u32));
            for (idx, &dim) in tensor.dims.iter().enumerate() {
                out.mark(&format!("{name}: dim {idx}"), |out| out.length(dim as usize));
            }
            out.mark(&format!("{name}: type"), |out| out.u32(tensor.dtype));
            out.mark(&format!("{name}: offset"), |out| {
                out.bytes.extend(tensor.offset.to_le_bytes())
            });
        }
        out.bytes.resize(out.bytes.len().next_multiple_of(self.alignment), 0);
        out.bytes.extend_from_slice(&self.data);
        Written { bytes: out.bytes, marks: out.marks }
    }
}

/// A sound file with every value type, a SentencePiece vocabulary, and tensors of Q8_0 and F32.
pub fn sentencepiece(version: u32) -> Writer {
    let tokens = ["<unk>", "<s>", "</s>", "<0x61>", "\u{2581}", "a", "b", "ab", "\u{2581}ab"];
    let row: Vec<u8> = (0..34).collect();
    Writer::new(version)
        .meta("general.architecture", Meta::Str("llama".to_owned()))
        .meta("general.alignment", Meta::U32(32))
        .meta("test.u8", Meta::U8(1))
        .meta("test.i8", Meta::I8(-1))
        .meta("test.u16", Meta::U16(2))
        .meta("test.i16", Meta::I16(-2))
        .meta("test.i32", Meta::I32(-3))
        .meta("test.f32", Meta::F32(0.5))
        .meta("test.bool", Meta::Bool(true))
        .meta("test.u64", Meta::U64(u64::MAX))
        .meta("test.i64", Meta::I64(i64::MIN))
        .meta("test.f64", Meta::F64(0.25))
        .meta("test.nested", Meta::Array(9, vec![Meta::i32s(&[1, 2]), Meta::i32s(&[])]))
        .meta("test.bools", Meta::Array(7, vec![Meta::Bool(true), Meta::Bool(false)]))
        .meta("tokenizer.ggml.model", Meta::Str("llama".to_owned()))
        .meta("tokenizer.ggml.tokens", Meta::strs(&tokens))
        .meta(
            "tokenizer.ggml.scores",
            Meta::f32s(&[0.0, 0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -1.0, -2.0]),
        )
        .meta("tokenizer.ggml.token_type", Meta::i32s(&[2, 3, 3, 6, 1, 1, 1, 1, 1]))
        .meta("tokenizer.ggml.bos_token_id", Meta::U32(1))
        .meta("tokenizer.ggml.eos_token_id", Meta::U32(2))
        .tensor("token_embd.weight", &[32, 2], 8, &[row.clone(), row].concat())
        .tensor("output_norm.weight", &[3], 0, &[0; 12])
}

/// A sound file with a byte-level vocabulary: all bytes, a few merges, control and user-defined
/// tokens.
pub fn byte_level(pre: &str) -> Writer {
    let mut tokens: Vec<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
    tokens.sort();
    let mut kinds = vec![1; tokens.len()];
    for (text, kind) in [
        ("he", 1),
        ("ll", 1),
        ("hell", 1),
        ("hello", 1),
        ("<|im_start|>", 3),
        ("<|im_end|>", 3),
        ("stop", 3),
        ("<tool>", 4),
        ("<|odd|>", 4),
        ("<|im_end|>\n", 3),
    ] {
        tokens.push(text.to_owned());
        kinds.push(kind);
    }
    Writer::new(3)
        .meta("tokenizer.ggml.model", Meta::Str("gpt2".to_owned()))
        .meta("tokenizer.ggml.pre", Meta::Str(pre.to_owned()))
        .meta("tokenizer.ggml.tokens", Meta::strs(&tokens))
        .meta("tokenizer.ggml.token_type", Meta::i32s(&kinds))
        .meta("tokenizer.ggml.merges", Meta::strs(&["h e", "l l", "he ll"]))
}

impl Written {
    /// All fields, with where they lie.
    pub fn fields(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        self.marks.iter().map(|(name, range)| (name.as_str(), range.clone()))
    }

    /// Where a field lies.
    pub fn range(&self, mark: &str) -> Range<usize> {
        let found = self.marks.iter().find(|(name, _)| name == mark);
        found.unwrap_or_else(|| panic!("no field {mark:?}")).1.clone()
    }

    /// The file with a field's first bytes replaced.
    pub fn with(&self, mark: &str, bytes: &[u8]) -> Vec<u8> {
        let range = self.range(mark);
        assert!(bytes.len() <= range.len(), "{mark} is too short for the test's value");
        let mut changed = self.bytes.clone();
        changed[range.start..range.start + bytes.len()].copy_from_slice(bytes);
        changed
    }
}

struct Out {
    bytes: Vec<u8>,
    marks: Vec<(String, Range<usize>)>,
    wide: bool,
}

impl Out {
    fn mark(&mut self, name: &str, write: impl FnOnce(&mut Out)) {
        let start = self.bytes.len();
        write(self);
        self.marks.push((name.to_owned(), start..self.bytes.len()));
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn length(&mut self, value: usize) {
        match self.wide {
            true => self.bytes.extend((value as u64).to_le_bytes()),
            false => self.u32(value as u32),
        }
    }

    fn string(&mut self, text: &str) {
        self.mark(&format!("{text}: length"), |out| out.length(text.len()));
        self.mark(&format!("{text}: text"), |out| out.bytes.extend(text.as_bytes()));
    }

    fn value(&mut self, value: &Meta) {
        match value {
            Meta::U8(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::I8(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::U16(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::I16(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::U32(v) => self.u32(*v),
            Meta::I32(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::F32(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::Bool(v) => self.bytes.push(u8::from(*v)),
            Meta::Str(v) => {
                self.length(v.len());
                self.bytes.extend(v.as_bytes());
            }
            Meta::U64(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::I64(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::F64(v) => self.bytes.extend(v.to_le_bytes()),
            Meta::Array(number, elements) => {
                self.u32(*number);
                self.length(elements.len());
                for element in elements {
                    self.value(element);
                }
            }
        }
    }
}
