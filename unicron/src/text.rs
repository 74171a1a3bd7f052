//! Text of a file that anybody may have written.

use crate::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Reads a file that is to be text of at most so many bytes; `what` it should be is for messages. More is
/// never read, whatever the system says of the file's length: devices have none.
pub(crate) fn read(path: &Path, most: u64, what: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > most {
        let problem = format!("the file has more than {most} bytes, which no {what} has");
        return Err(Error::line(path, 1, problem));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Error::line(path, line, format!("is no UTF-8 text, as a {what} is"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_or_too_long_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"one\ntwo\xff\n").unwrap();
        let told = |most| read(&path, most, "trace").unwrap_err().to_string();
        assert!(told(100).ends_with("file:2: is no UTF-8 text, as a trace is"), "{}", told(100));
        assert!(told(8).contains("file:1: the file has more than 8 bytes"), "{}", told(8));
        std::fs::write(&path, "three").unwrap();
        assert_eq!(read(&path, 5, "trace").unwrap(), "three");
    }
}
