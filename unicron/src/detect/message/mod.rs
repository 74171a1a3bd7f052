//! Lines of logs: what each means (notes on the field, 4.5 to 4.7).
//!
//! Plain text in order, no regular expressions: the sources are fixed strings of a dozen libraries.
//! A line that repeats other text (a frame of a traceback, advice) is cut or dropped first, since it
//! names errors that nobody had.

mod guard;
mod pattern;
#[cfg(test)]
mod tests;

use super::{Convention, Exit, Finding, Status, grade_xids, parse_xid};

/// Reads one process's log line by line. Lines of several processes go to readers of their own: only
/// then does the line after a frame of a traceback belong to it.
#[derive(Debug, Clone, Default)]
pub struct LogReader {
    /// How far the last line was indented, if it was a frame: its source follows deeper.
    frame: Option<usize>,
}

impl LogReader {
    /// A log of which nothing was read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The meaning of the next line; `None` for one that means nothing.
    pub fn read(&mut self, line: &str) -> Option<Finding> {
        let text = body(line);
        // With the launcher's prefix, which is as long on the next line.
        let indentation = line.trim_end().len() - text.len();
        let is_source = self.frame.is_some_and(|frame| indentation > frame);
        self.frame = guard::is_frame(text).then_some(indentation);
        if is_source { None } else { classify(line) }
    }
}

/// The meaning of a line by itself; `None` for one that means nothing.
#[must_use]
pub fn classify(line: &str) -> Option<Finding> {
    if let Some(event) = parse_xid(line) {
        return grade_xids(&[event], |_| 0).pop();
    }
    let text = guard::without_advice(line);
    let body = body(text);
    if guard::is_frame(body) || guard::is_progress(text) {
        return None;
    }
    elastic_exit(text).or_else(|| pattern::find(text)).or_else(|| exception(body))
}

/// The exit that torchelastic reports: `exitcode  : -6 (pid: 65957)` in its summary, `failed
/// (exitcode: -9) local_rank: 4` before it.
fn elastic_exit(text: &str) -> Option<Finding> {
    let (_, after) = text.split_once("exitcode")?;
    let after = after.trim_start().strip_prefix(':')?.trim_start();
    let end = after.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(after.len());
    let exit = Exit::from_elastic(after[..end].parse().ok()?);
    Some(exit.meaning(Convention::Plain, false)?.finding)
}

/// The last line of a Python traceback of which no pattern knows better: `ValueError: …`.
fn exception(body: &str) -> Option<Finding> {
    let name = body.split(':').next().unwrap_or_default().trim_end();
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_class = last.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(is_path);
    let is_error = ["Error", "Exception"].iter().any(|end| last.ends_with(end) && last != *end);
    (is_class && is_error).then_some(Finding::root(Status::OtherSoftwareError))
}

/// The line without what launchers put in front: `[rank3]: `, `3: ` (srun), `(Worker pid=7) ` (Ray).
fn body(line: &str) -> &str {
    let mut text = line.trim();
    loop {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        let after = match text.chars().next() {
            Some('[') => text.split_once(']').map(|(_, rest)| rest.trim_start_matches(':')),
            Some('(') => {
                text.split_once(')').filter(|(who, _)| who.contains("pid=")).map(|(_, t)| t)
            }
            Some(_) if digits > 0 => text[digits..].strip_prefix(": "),
            _ => None,
        };
        match after {
            Some(rest) => text = rest.trim_start(),
            None => return text,
        }
    }
}
