//! A hardened reader of GGUF files, the format in which llama.cpp's models are shared.
//!
//! Why not candle's: version 0.11 does bound lengths by the file's size, but each byte of an array
//! becomes a tree node of 32 bytes, an alignment of 0 divides by zero, a product of dimensions may
//! wrap around, a second key or tensor of a name silently replaces the first, and a tensor past the
//! end is found only when it is loaded. Its errors name neither the file nor the field. A model file
//! comes from strangers, so here everything is checked once, when it is opened:
//!
//! * no count or length reserves memory before the file is known to hold what it stands for: what
//!   opening allocates is a small multiple of the header's own bytes, and tensors stay in the map;
//! * every error names the file and the field, and says what is wrong with it;
//! * nothing panics, whatever the bytes (`kvquant/fuzz` and `tests/it/hostile_gguf.rs` try).
//!
//! Versions 1 (32-bit lengths), 2 and 3, little-endian. The format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod access;
mod cursor;
mod dtype;
mod header;
mod tensor;
mod value;

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use self::header::{Fault, Header};
use crate::{Error, Result};

pub use self::tensor::TensorView;
pub use self::value::{Array, Value, ValueType};

/// An open GGUF file: its metadata, and its tensors where they lie in the file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    bytes: Bytes,
    header: Header,
}

/// Bytes of a file, at an address that is a multiple of 8: with the offsets being multiples of the
/// alignment, at least 8, every tensor lies where candle's block types can be read from.
#[derive(Debug)]
enum Bytes {
    Map(Mmap),
    Memory { words: Vec<u64>, len: usize },
}

impl Bytes {
    fn copied(bytes: &[u8]) -> Bytes {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Bytes::Memory { words, len: bytes.len() }
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Map(map) => map,
            Bytes::Memory { words, len } => &bytemuck::cast_slice(words)[..*len],
        }
    }
}

impl Gguf {
    /// Maps the file at `path` and checks it. The tensors' data is read when it is used.
    ///
    /// The file must not be changed while it is open: that is true of a memory map in general.
    ///
    /// # Errors
    /// [`Error::Io`] when it can't be read, [`Error::Gguf`] when it is not a sound GGUF file.
    pub fn open(path: &Path) -> Result<Gguf> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only. That nobody truncates or rewrites the file meanwhile can't
        // be enforced; it is what every program that maps a model relies on, and is said above.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Self::new(path.to_owned(), Bytes::Map(map))
    }

    /// Checks a file that is in memory already; `path` is only used in messages.
    ///
    /// # Errors
    /// [`Error::Gguf`] when the bytes are not a sound GGUF file.
    pub fn parse(path: impl Into<PathBuf>, bytes: &[u8]) -> Result<Gguf> {
        Self::new(path.into(), Bytes::copied(bytes))
    }

    fn new(path: PathBuf, bytes: Bytes) -> Result<Gguf> {
        match header::parse(bytes.as_slice()) {
            Ok(header) => Ok(Gguf { path, bytes, header }),
            Err(Fault { field, problem }) => Err(Error::Gguf { path, field, problem }),
        }
    }

    /// Gives the memory back that holds what was read of the file: it is read again where it is needed again.
    pub(super) fn release(&self) {
        #[cfg(target_os = "linux")]
        if let Bytes::Map(map) = &self.bytes {
            // SAFETY: pages of a read-only map of a file are dropped, and come back with the same content.
            // Where that fails, they stay.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }

    /// Where the file was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format's version: 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// The metadata's keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.header.metadata.keys().map(String::as_str)
    }

    /// The tensors' names, in the file's order.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// Whether the file has a tensor of this name.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.header.tensor_idx.contains_key(name)
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// [`Error::Gguf`] when the file has none.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        let Some(&idx) = self.header.tensor_idx.get(name) else {
            let problem = "the file has no tensor of this name: it is another kind of model, or \
                           not complete";
            return Err(self.fault(name, problem));
        };
        let tensor = &self.header.tensors[idx];
        Ok(TensorView {
            path: &self.path,
            name: &tensor.name,
            dtype: tensor.dtype,
            shape: &tensor.shape,
            data: &self.bytes.as_slice()[tensor.bytes.clone()],
        })
    }

    /// An error about a field of this file.
    pub(crate) fn fault(&self, field: &str, problem: impl Into<String>) -> Error {
        let problem = problem.into();
        Error::Gguf { path: self.path.clone(), field: header::shown(field), problem }
    }
}
