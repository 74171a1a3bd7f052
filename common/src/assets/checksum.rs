//! SHA-256 of files, and the one check by which a file is admitted.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Asset, AssetError};

/// The SHA-256 of a file, as 64 lower-case hexadecimal digits.
///
/// # Errors
/// [`AssetError::Io`] where the file can't be read.
pub fn sha256_file(path: &Path) -> Result<String, AssetError> {
    let mut file = File::open(path).map_err(AssetError::io("open", path))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match file.read(&mut chunk).map_err(AssetError::io("read", path))? {
            0 => break,
            n => hasher.update(&chunk[..n]),
        }
    }
    Ok(hexadecimal(&hasher.finalize()))
}

/// The SHA-256 of bytes, likewise.
#[must_use]
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    hexadecimal(&hasher.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a file that is not the registered one; the size goes first because it costs nothing.
pub(super) fn check(path: &Path, asset: &Asset) -> Result<(), AssetError> {
    let actual = fs::metadata(path).map_err(AssetError::io("read", path))?.len();
    if actual != asset.bytes {
        let (path, expected) = (path.to_owned(), asset.bytes);
        return Err(AssetError::WrongSize { path, expected, actual });
    }
    let actual = sha256_file(path)?;
    if actual != asset.sha256 {
        let (path, expected) = (path.to_owned(), asset.sha256.to_owned());
        return Err(AssetError::WrongChecksum { path, expected, actual });
    }
    Ok(())
}

/// Gives a fetched file its final name if its checksum is right, and deletes it if not.
pub(super) fn admit(
    part: &Path,
    destination: &Path,
    sha256: &str,
    from: &str,
) -> Result<(), AssetError> {
    let actual = sha256_file(part)?;
    if actual != sha256 {
        fs::remove_file(part).map_err(AssetError::io("delete", part))?;
        let (from, expected) = (from.to_owned(), sha256.to_owned());
        return Err(AssetError::WrongDownload { from, expected, actual });
    }
    fs::rename(part, destination).map_err(AssetError::io("rename", part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_known_text() {
        // FIPS 180-4's example "abc".
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        assert_eq!(
            sha256_file(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
