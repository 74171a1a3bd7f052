//! Data on stdout. A reader that has seen enough (`… | head`) is no failure.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;
use thiserror::Error;

/// The reader of stdout has gone. [`run_main`](super::run_main) ends quietly on it; a broken pipe
/// anywhere else is an ordinary error.
#[derive(Debug, Error)]
#[error("the reader of the output has gone")]
pub struct StdoutClosed;

/// Writes `text` to stdout as it is.
///
/// # Errors
/// [`StdoutClosed`], or what else stdout says.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(classify)
}

/// Writes `value` to stdout as indented JSON with a line end.
///
/// # Errors
/// [`StdoutClosed`], or what else stdout says.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

fn classify(error: io::Error) -> anyhow::Error {
    if error.kind() == ErrorKind::BrokenPipe {
        StdoutClosed.into()
    } else {
        anyhow::Error::new(error).context("cannot write to stdout")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_pipe_means_that_the_reader_has_gone() {
        assert!(classify(ErrorKind::BrokenPipe.into()).is::<StdoutClosed>());
        assert!(!classify(ErrorKind::StorageFull.into()).is::<StdoutClosed>());
    }
}
