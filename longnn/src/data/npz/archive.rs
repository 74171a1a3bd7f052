//! The zip file around the arrays. A few kilobytes can unpack to gigabytes: every array is bounded
//! by what its header says, what its header says by a limit, and no more than that is unpacked.

use super::npy::{Array, Header};
use crate::data::fault;
use crate::{Error, Result};
use std::io::{Cursor, Read};
use std::path::Path;
use zip::ZipArchive;
use zip::result::ZipError;

/// The most that one array may unpack to: 64 times the largest of the known graphs'.
const MAX_ARRAY_BYTES: u64 = 1 << 30;

/// An `.npz` file.
pub(in crate::data) struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<Cursor<&'a [u8]>>,
}

impl<'a> Archive<'a> {
    /// Opens the bytes of a file. `path` is for messages.
    pub(in crate::data) fn open(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| fault(path, "zip directory", error.to_string()))?;
        Ok(Self { path, zip })
    }

    /// The file's name, for messages.
    pub(in crate::data) fn path(&self) -> &'a Path {
        self.path
    }

    /// The array `name`, which must be there.
    pub(in crate::data) fn required(&mut self, name: &str) -> Result<Array> {
        self.array(name)?.ok_or_else(|| fault(self.path, name, "the array is missing"))
    }

    /// The array `name`, if the file has it.
    pub(in crate::data) fn array(&mut self, name: &str) -> Result<Option<Array>> {
        let path = self.path;
        let wrong = |problem: String| -> Error { fault(path, name, problem) };
        let mut entry = match self.zip.by_name(&format!("{name}.npy")) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let header = Header::read(&mut entry).map_err(wrong)?;
        let n_bytes = header.n_bytes().filter(|&n_bytes| n_bytes <= MAX_ARRAY_BYTES);
        let Some(n_bytes) = n_bytes else {
            let problem =
                format!("claims shape {:?}: more than {MAX_ARRAY_BYTES} bytes", header.shape);
            return Err(wrong(problem));
        };
        // The claim is checked by reading: the buffer grows with what really comes out.
        let mut bytes = Vec::new();
        entry
            .take(n_bytes + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| wrong(error.to_string()))?;
        if bytes.len() as u64 != n_bytes {
            let more = if bytes.len() as u64 > n_bytes { " or more" } else { "" };
            let problem = format!(
                "shape {:?} takes {n_bytes} bytes, but {}{more} are there",
                header.shape,
                bytes.len()
            );
            return Err(wrong(problem));
        }
        Ok(Some(Array::new(header, bytes)))
    }
}
