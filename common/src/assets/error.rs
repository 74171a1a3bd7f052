//! Every way in which a file can't be had, told so that a person can do something about it.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why an asset could not be located or obtained.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AssetError {
    /// A file or folder could not be read, written or locked.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb ("read").
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file has the right name and the wrong contents.
    #[error(
        "{} is not the registered file: its sha256 is {actual}, expected {expected}; delete or \
         replace it",
        path.display()
    )]
    WrongChecksum {
        /// The file.
        path: PathBuf,
        /// The registered SHA-256.
        expected: String,
        /// The SHA-256 of what is there.
        actual: String,
    },
    /// A file has the right name and the wrong size.
    #[error(
        "{} is not the registered file: it has {actual} bytes, expected {expected}; delete or \
         replace it",
        path.display()
    )]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// The registered size, in bytes.
        expected: u64,
        /// The size of what is there, in bytes.
        actual: u64,
    },
    /// The user named a path, and nothing is there.
    #[error("{} does not exist; name a file, or a folder laid out like the data folder", path.display())]
    NoSuchPath {
        /// The path that the user gave.
        path: PathBuf,
    },
    /// A server answered with something other than the file.
    #[error("{url}: the server answered with HTTP status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status code.
        status: u16,
    },
    /// A download did not arrive, after all attempts.
    #[error("{url}: the download failed after {attempts} attempts: {reason}")]
    Transfer {
        /// What was asked for.
        url: String,
        /// How many times it was tried.
        attempts: u32,
        /// What went wrong the last time.
        reason: String,
    },
    /// A server announces or sends a file of another length than the registered one.
    #[error("{url}: the server's file has {actual} bytes (or more), expected {expected}")]
    WrongLength {
        /// What was asked for.
        url: String,
        /// The length that the server announces, or how much arrived before we stopped, in bytes.
        actual: u64,
        /// The registered length in bytes, or the largest that is accepted.
        expected: String,
    },
    /// What was downloaded is not what is registered; it was deleted.
    #[error(
        "{from}: the downloaded file's sha256 is {actual}, expected {expected}; it was deleted"
    )]
    WrongDownload {
        /// Where it came from.
        from: String,
        /// The registered SHA-256.
        expected: String,
        /// The SHA-256 of what came.
        actual: String,
    },
    /// An archive doesn't have the member in the form that is registered.
    #[error("{}: member {member}: {reason}", archive.display())]
    Archive {
        /// The zip file.
        archive: PathBuf,
        /// The member that was wanted.
        member: String,
        /// What is wrong.
        reason: String,
    },
    /// pip could not be run, or failed.
    #[error("`{command}` failed: {reason}")]
    Pip {
        /// The command, to be run by hand.
        command: String,
        /// What pip said, or what to install.
        reason: String,
    },
    /// A file could not be fetched from the Hugging Face hub.
    #[error("hf:{repository}/{file} from {endpoint}: {reason}")]
    Hub {
        /// `owner/repository`.
        repository: String,
        /// The file in it.
        file: String,
        /// The hub's address.
        endpoint: String,
        /// What went wrong, and what to do.
        reason: String,
    },
    /// A model was asked for by a name that means nothing.
    #[error(
        "unknown model \"{spec}\": neither a file nor a known name (known: {known}); \
         hf:owner/repository/file names a file of the Hugging Face hub"
    )]
    UnknownModel {
        /// What was asked for.
        spec: String,
        /// The known names.
        known: String,
    },
    /// An `hf:` name that doesn't have the form `hf:owner/repository/file`.
    #[error("\"{spec}\" is not of the form hf:owner/repository/file: {reason}")]
    BadHubName {
        /// What was asked for.
        spec: String,
        /// Which part is wrong.
        reason: &'static str,
    },
    /// A registered asset is in none of the places and could not be fetched.
    #[error("{}", unavailable(id, what, searched, failures, how))]
    Unavailable {
        /// The asset's id.
        id: &'static str,
        /// What it is.
        what: &'static str,
        /// The paths that were looked at.
        searched: Vec<PathBuf>,
        /// What went wrong at each origin.
        failures: Vec<AssetError>,
        /// How a person gets it.
        how: String,
    },
}

impl AssetError {
    /// For `map_err`: an [`AssetError::Io`] that names the file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

fn unavailable(
    id: &str,
    what: &str,
    searched: &[PathBuf],
    failures: &[AssetError],
    how: &str,
) -> String {
    let mut text = format!("{id} ({what}) is not here");
    for path in searched {
        text.push_str(&format!("\n  looked for {}", path.display()));
    }
    for failure in failures {
        text.push_str(&format!("\n  tried {}", with_causes(failure)));
    }
    text.push_str(&format!("\n  to get it: {how}"));
    text
}

/// An error and its causes in one line: a failure in a list has no caller that would walk them.
fn with_causes(error: &AssetError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
