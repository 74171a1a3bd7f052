//! One process at a time fetches a file.
//!
//! The operating system's advisory lock on a small file of its own: it is released when its holder
//! ends, however it ends. The lock file stays, because deleting it would let two processes lock
//! two different files of the same name.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::AssetError;
use crate::progress::{Progress, Unit};

/// Held while a file is fetched.
#[derive(Debug)]
pub(super) struct FetchLock {
    _file: File,
}

impl FetchLock {
    /// Waits until no other process fetches `name` into `cache`.
    pub(super) fn acquire(
        cache: &Path,
        name: &str,
        progress: &Progress,
    ) -> Result<Self, AssetError> {
        let folder = cache.join(".locks");
        fs::create_dir_all(&folder).map_err(AssetError::io("create", &folder))?;
        let path = folder.join(name);
        let file = File::create(&path).map_err(AssetError::io("create", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let bar = progress.bar(name, None, Unit::Items(""));
                bar.message("another process fetches it");
                file.lock().map_err(AssetError::io("lock", &path))?;
            }
            Err(TryLockError::Error(error)) => return Err(AssetError::io("lock", &path)(error)),
        }
        Ok(Self { _file: file })
    }
}
