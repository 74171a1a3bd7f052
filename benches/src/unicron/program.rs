//! This program under the name `unicron`, as which it is `unicron`.
//!
//! A cluster on this machine is processes of a program that finds itself again to start guardians and
//! trainers. So that a benchmark runs the code that it was built with, not a binary of another day, that
//! program is this one.

use anyhow::Context;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

const NAME: &str = "unicron";

/// Whether this process was started under that name.
pub fn is_meant() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new(NAME)))
}

/// Copies this program into a folder. A link would do, but the system would tell of what it points to.
pub fn copied_into(folder: &Path) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program can't be found")?;
    let copy = folder.join(NAME);
    std::fs::copy(&own, &copy)
        .with_context(|| format!("can't copy {} to {}", own.display(), copy.display()))?;
    Ok(copy)
}
