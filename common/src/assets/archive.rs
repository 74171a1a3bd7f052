//! One member of a zip archive, taken out as data.
//!
//! The member's name only selects it and never becomes a path, so an archive can't write anywhere
//! else; its size must be the registered one before a byte is unpacked, and no more than that is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zip::ZipArchive;

use super::AssetError;

/// Unpacks `member`, which must have exactly `bytes` bytes, to the file `out`.
pub(super) fn extract(
    archive: &Path,
    member: &str,
    bytes: u64,
    out: &Path,
) -> Result<(), AssetError> {
    let wrong = |reason: String| AssetError::Archive {
        archive: archive.to_owned(),
        member: member.to_owned(),
        reason,
    };
    let file = File::open(archive).map_err(AssetError::io("open", archive))?;
    let mut zip = ZipArchive::new(file).map_err(|error| wrong(error.to_string()))?;
    let mut entry = zip.by_name(member).map_err(|error| wrong(error.to_string()))?;
    if !entry.is_file() || entry.is_symlink() {
        return Err(wrong("it is not a plain file".to_owned()));
    }
    if entry.size() != bytes {
        return Err(wrong(format!("it has {} bytes, expected {bytes}", entry.size())));
    }
    let mut target = File::create(out).map_err(AssetError::io("create", out))?;
    // The size in the header is only a claim: the limit holds for what comes out, too.
    let mut limited = (&mut entry).take(bytes + 1);
    let mut chunk = vec![0; 1 << 16];
    let mut unpacked = 0;
    loop {
        let n = limited.read(&mut chunk).map_err(|error| wrong(error.to_string()))?;
        if n == 0 {
            break;
        }
        io::Write::write_all(&mut target, &chunk[..n]).map_err(AssetError::io("write", out))?;
        unpacked += n as u64;
    }
    if unpacked != bytes {
        return Err(wrong(format!("it unpacks to {unpacked} bytes, expected {bytes}")));
    }
    target.sync_all().map_err(AssetError::io("write", out))
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::io::{Cursor, Write};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// A zip archive of `members`, names and contents.
    pub(in super::super) fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, contents) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(contents).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn extracted(zip: &[u8], member: &str, bytes: u64) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive.zip");
        fs::write(&archive, zip).unwrap();
        let out = folder.path().join("out");
        extract(&archive, member, bytes, &out).map_err(|error| error.to_string())?;
        Ok(fs::read(out).unwrap())
    }

    #[test]
    fn the_member_comes_out_whole() {
        let text = b"twenty characters...".repeat(10_000);
        let zip = zip_of(&[("other", b"x"), ("folder/text", &text)]);
        assert_eq!(extracted(&zip, "folder/text", 200_000).unwrap(), text);
    }

    #[test]
    fn what_is_missing_of_another_size_or_broken_is_refused() {
        let zip = zip_of(&[("text", b"hello")]);
        assert!(extracted(&zip, "txt", 5).unwrap_err().contains("member txt"));
        assert!(extracted(&zip, "text", 4).unwrap_err().contains("5 bytes, expected 4"));
        assert!(extracted(&zip[..zip.len() - 10], "text", 5).is_err());
        assert!(extracted(b"not a zip", "text", 5).is_err());
    }

    #[test]
    fn a_header_that_lies_about_the_size_is_caught() {
        let mut zip = zip_of(&[("text", &[7; 1000])]);
        // The uncompressed size, in the local header (offset 22) and in the central directory
        // (offset 24 after its signature).
        let central = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        for at in [22, central + 24] {
            assert_eq!(zip[at..at + 4], 1000u32.to_le_bytes());
            zip[at..at + 4].copy_from_slice(&10u32.to_le_bytes());
        }
        assert!(extracted(&zip, "text", 10).is_err());
    }

    #[test]
    fn a_name_that_climbs_only_selects() {
        let zip = zip_of(&[("../../climb", b"hello")]);
        assert_eq!(extracted(&zip, "../../climb", 5).unwrap(), b"hello");
    }
}
