//! How a command ends: exit code 0, 1 for a failure, 2 for bad usage or input.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use thiserror::Error;

use super::output::StdoutClosed;
use crate::assets::AssetError;

/// The request can't be served as it stands: the user has to change an argument or a file.
/// Anywhere in an error's chain it makes the exit code 2.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// Marks errors as the user's to mend.
pub trait InputContext<T> {
    /// Adds `context` to an error and makes it a [`BadInput`].
    ///
    /// # Errors
    /// The error itself, with the context.
    fn bad_input(self, context: impl Display) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> InputContext<T> for Result<T, E> {
    fn bad_input(self, context: impl Display) -> anyhow::Result<T> {
        self.map_err(|error| error.into().context(BadInput(context.to_string())))
    }
}

impl<T> InputContext<T> for Option<T> {
    fn bad_input(self, context: impl Display) -> anyhow::Result<T> {
        self.ok_or_else(|| BadInput(context.to_string()).into())
    }
}

/// Marks what a library refuses because of its input, or an asset that the user named wrongly, so that
/// the exit code is 2.
#[must_use]
pub fn mark_bad_input<E: std::error::Error + Send + Sync + 'static>(
    error: anyhow::Error,
    is_bad_input: impl Fn(&E) -> bool,
) -> anyhow::Error {
    let is_at_fault = error.chain().any(|cause| {
        cause.downcast_ref::<E>().is_some_and(&is_bad_input)
            || matches!(
                cause.downcast_ref::<AssetError>(),
                Some(AssetError::UnknownModel { .. } | AssetError::NoSuchPath { .. })
            )
    });
    // The mark repeats the message, which is then told once.
    let message = error.to_string();
    if is_at_fault { error.context(BadInput(message)) } else { error }
}

/// Runs a command: prints its error once, with its causes, to stderr, and returns the exit code.
pub fn run_main(command: impl FnOnce() -> anyhow::Result<()>) -> ExitCode {
    ExitCode::from(conclude(command(), &mut io::stderr().lock()))
}

fn conclude(outcome: anyhow::Result<()>, stderr: &mut impl Write) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(error) if is::<StdoutClosed>(&error) => 0,
        Err(error) => {
            // Where stderr is gone, too, the exit code is all that can be said.
            let _ = stderr.write_all(report(&error).as_bytes());
            if is::<BadInput>(&error) { 2 } else { 1 }
        }
    }
}

/// The error and its causes, each once: an error that shows its cause's text itself would repeat.
fn report(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut above = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !above.ends_with(&cause) {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        above = cause;
    }
    text
}

/// Whether an error or one of its causes, a context included, is an `E`.
fn is<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> bool {
    error.downcast_ref::<E>().is_some() || error.chain().any(|cause| cause.is::<E>())
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    fn ends(outcome: anyhow::Result<()>) -> (u8, String) {
        let mut stderr = Vec::new();
        let code = conclude(outcome, &mut stderr);
        (code, String::from_utf8(stderr).unwrap())
    }

    #[test]
    fn a_failure_is_told_once_with_its_causes() {
        let error = anyhow!("disk full").context("cannot write runs/a.json").context("no record");
        let text =
            "error: no record\n  caused by: cannot write runs/a.json\n  caused by: disk full\n";
        assert_eq!(ends(Err(error)), (1, text.to_owned()));
        assert_eq!(ends(Ok(())), (0, String::new()));
    }

    #[test]
    fn a_cause_that_is_told_already_is_left_out() {
        let inner = io::Error::other("no route");
        let text = format!("cannot connect: {inner}");
        assert_eq!(ends(Err(anyhow!(inner).context(text))).1, "error: cannot connect: no route\n");
    }

    #[test]
    fn bad_input_anywhere_in_the_chain_is_two() {
        let parse = "x".parse::<u32>().map(|_| ()).bad_input("--steps wants a number");
        let (code, text) = ends(parse);
        assert_eq!(code, 2);
        assert!(text.starts_with("error: --steps wants a number\n  caused by: invalid"), "{text}");
        let deep = Err(BadInput("no such task".to_owned())).context("a").context("b");
        assert_eq!(ends(deep).0, 2);
        let middle = Err::<(), _>(anyhow!("x")).bad_input("y").context("z");
        assert_eq!(ends(middle).0, 2);
        assert_eq!(ends(None.bad_input("nothing")).0, 2);
    }

    #[test]
    fn what_a_library_refuses_is_two_and_told_once() {
        let refused = || mark_bad_input(anyhow!(io::Error::other("no such task")), is_other);
        let (code, text) = ends(Err(refused()));
        assert_eq!((code, text.as_str()), (2, "error: no such task\n"));
        let failed = anyhow!(io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(ends(Err(mark_bad_input(failed, is_other))).0, 1);
    }

    fn is_other(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::Other
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_another_broken_pipe_is() {
        assert_eq!(ends(Err(StdoutClosed).context("printing")), (0, String::new()));
        let socket = io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(ends(Err(socket.into())).0, 1);
    }
}
