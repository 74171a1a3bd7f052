//! A cursor over bytes that nobody vouches for: every read is checked against what is left.
//!
//! Errors here are plain sentences; the parser above knows which field it was reading and adds it.

/// The file's own problem, in words.
pub(super) type Read<T> = Result<T, String>;

/// How wide the file writes its counts and lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lengths {
    /// GGUF version 1: 32 bits.
    Narrow,
    /// GGUF versions 2 and 3: 64 bits.
    Wide,
}

impl Lengths {
    /// Bytes that one count or length takes in the file.
    pub(super) fn size(self) -> usize {
        match self {
            Lengths::Narrow => 4,
            Lengths::Wide => 8,
        }
    }
}

/// A position in the file. Never past its end.
#[derive(Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
    lengths: Lengths,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], lengths: Lengths) -> Self {
        Cursor { bytes, position: 0, lengths }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn lengths(&self) -> Lengths {
        self.lengths
    }

    pub(super) fn set_lengths(&mut self, lengths: Lengths) {
        self.lengths = lengths;
    }

    pub(super) fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `n` bytes.
    pub(super) fn take(&mut self, n: u64) -> Read<&'a [u8]> {
        let left = self.remaining();
        match usize::try_from(n) {
            Ok(n) if n <= left => {
                let taken = &self.bytes[self.position..self.position + n];
                self.position += n;
                Ok(taken)
            }
            _ => Err(format!(
                "needs {n} bytes at offset {}, but the file has {left} left",
                self.position
            )),
        }
    }

    /// The next `N` bytes as an array, for the little-endian conversions.
    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count or a length, in the width of the file's version.
    pub(super) fn length(&mut self) -> Read<u64> {
        match self.lengths {
            Lengths::Narrow => self.u32().map(u64::from),
            Lengths::Wide => self.u64(),
        }
    }

    /// A count of things of which each takes at least `min_bytes`: refused at once when the rest of
    /// the file can't hold so many, so that no later step works for, or reserves, what isn't there.
    pub(super) fn count(&mut self, min_bytes: usize) -> Read<usize> {
        let count = self.length()?;
        self.holds(count, min_bytes)
    }

    /// Checks that the rest of the file can hold `count` things of at least `min_bytes` each.
    pub(super) fn holds(&self, count: u64, min_bytes: usize) -> Read<usize> {
        let most = self.remaining() / min_bytes;
        usize::try_from(count).ok().filter(|&count| count <= most).ok_or_else(|| {
            format!("claims {count} entries, but the rest of the file can hold at most {most}")
        })
    }

    /// A length and so many bytes of UTF-8.
    pub(super) fn string(&mut self) -> Read<&'a str> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|error| format!("is not UTF-8: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let mut cursor = Cursor::new(&[1, 0, 0, 0, 9], Lengths::Wide);
        assert_eq!(cursor.u32().unwrap(), 1);
        let error = cursor.u32().unwrap_err();
        assert!(error.contains("4 bytes at offset 4") && error.contains("1 left"), "{error}");
        assert_eq!(cursor.take(1).unwrap(), [9]);
        assert!(cursor.take(u64::MAX).is_err());
        assert_eq!(cursor.remaining(), 0);
    }

    #[test]
    fn the_version_sets_the_width_of_lengths() {
        let bytes = [2, 0, 0, 0, b'o', b'k', 0, 0, b'!'];
        assert_eq!(Cursor::new(&bytes, Lengths::Narrow).string().unwrap(), "ok");
        let error = Cursor::new(&bytes, Lengths::Wide).string().unwrap_err();
        assert!(error.contains("1 left"), "{error}");
    }

    #[test]
    fn a_count_is_bounded_by_the_bytes_left() {
        let bytes = [2, 0, 0, 0, 1, 1, 1, 1, 1];
        assert_eq!(Cursor::new(&bytes, Lengths::Narrow).count(2).unwrap(), 2);
        let error = Cursor::new(&bytes, Lengths::Narrow).count(3).unwrap_err();
        assert!(error.contains("2 entries") && error.contains("at most 1"), "{error}");
    }
}
