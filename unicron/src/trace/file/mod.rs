//! The file of a trace: CSV that a spreadsheet opens, with what the whole trace needs in comments
//! above it.
//!
//! ```text
//! # unicron-trace: 1
//! # name: two weeks in May
//! # nodes: 16
//! # gpus_per_node: 8
//! # duration_s: 1209600
//! at_s,node,gpu,status,severity,repair_s,group,note
//! 30.5,3,7,ecc-error,sev1,93600,,row remapping failed
//! 4000,11,,task-hang,sev2,,,
//! ```
//!
//! Columns may come in any order; `gpu`, `severity`, `repair_s`, `group` and `note` may be left out,
//! as may their fields: an empty `severity` is that of the status, the others are unknown or none.
//! Rows may come in any order, too. Other comments and blank lines are passed over. Numbers are
//! written in as many digits as bring back their bits.

mod columns;
mod header;

use super::{Extent, Failure, InfiniteHbd, MAX_FAILURES, Trace, csv, infinitehbd};
use crate::{Error, Result, text};
use columns::{COLUMNS, Columns};
use header::Header;
use std::fmt::{Display, Formatter};
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

/// The first line of a file; the number is the format's.
const FIRST_LINE: &str = "# unicron-trace: 1";
/// A file of [`MAX_FAILURES`] rows is smaller.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Reads a file: our own format, or one of InfiniteHBD's two, told apart by their first characters.
///
/// # Errors
/// If the file can't be read or is no trace, with the line.
pub fn read(path: &Path) -> Result<Trace> {
    let text = read_text(path)?;
    match infinitehbd::is_format(&text) {
        true => InfiniteHbd::default().parse(&text, path),
        false => Trace::parse(&text, path),
    }
}

/// The text of a file that should tell a trace, in whichever format.
pub(super) fn read_text(path: &Path) -> Result<String> {
    text::read(path, MAX_FILE_BYTES, "trace")
}

impl Trace {
    /// The trace that `text` tells in our own format; `path` is for messages.
    ///
    /// # Errors
    /// At the first line that is malformed or says what can't be.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let wrong = |line: usize, problem: String| Error::line(path, line, problem);
        let mut lines = text.trim_start_matches('\u{feff}').lines().zip(1..);
        if lines.next().is_none_or(|(line, _)| line.trim_end() != FIRST_LINE) {
            let problem = format!("is no trace: the first line of one is {FIRST_LINE:?}");
            return Err(wrong(1, problem));
        }
        let mut header = Header::default();
        let (columns, extent, columns_line) = loop {
            let Some((line, number)) = lines.next() else {
                let problem = format!("no columns; a line {:?} is needed", COLUMNS.join(","));
                return Err(wrong(text.lines().count(), problem));
            };
            if let Some(comment) = line.trim_start().strip_prefix('#') {
                header.take(comment).map_err(|problem| wrong(number, problem))?;
            } else if !line.trim().is_empty() {
                let columns = Columns::parse(line).map_err(|problem| wrong(number, problem))?;
                let extent = header.extent().map_err(|problem| wrong(number, problem))?;
                break (columns, extent, number);
            }
        };
        let mut failures = Vec::new();
        for (line, number) in lines {
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            if failures.len() == MAX_FAILURES {
                return Err(wrong(number, format!("more than {MAX_FAILURES} failures")));
            }
            let failure = columns.failure(line).and_then(|failure| {
                failure.check(&extent)?;
                Ok(failure)
            });
            failures.push(failure.map_err(|problem| wrong(number, problem))?);
        }
        let name = header.name.unwrap_or_else(|| "unnamed".to_owned());
        // Everything is checked already; what is left to refuse concerns the file as a whole.
        Self::new(name, extent, failures).map_err(|error| wrong(columns_line, error.to_string()))
    }

    /// Writes the file, as a whole or not at all.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_string();
        common::files::replace(path, |file| file.write_all(text.as_bytes()))
            .map_err(Error::io(path))
    }
}

impl Display for Trace {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Extent { nodes, gpus_per_node, duration_s } = self.extent();
        writeln!(f, "{FIRST_LINE}\n# name: {}\n# nodes: {nodes}", self.name())?;
        writeln!(f, "# gpus_per_node: {gpus_per_node}\n# duration_s: {duration_s}")?;
        writeln!(f, "{}", COLUMNS.join(","))?;
        for failure in self.failures() {
            let Failure { at_s, node, gpu, status, severity, repair_s, group, note } = failure;
            let severity = severity.to_string().to_ascii_lowercase();
            write!(f, "{at_s},{node},{},{status},{severity},", Optional(gpu.as_ref()))?;
            writeln!(
                f,
                "{},{},{}",
                Optional(repair_s.as_ref()),
                Optional(group.as_ref()),
                csv::quoted(note)
            )?;
        }
        Ok(())
    }
}

/// An empty field where there is nothing.
struct Optional<'a, T>(Option<&'a T>);

impl<T: Display> Display for Optional<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |value| value.fmt(f))
    }
}

/// A number of a header or of a row.
fn number<T: FromStr>(column: &str, text: &str) -> Result<T, String> {
    let unit = if column.ends_with("_s") { "number of seconds" } else { "whole number from 0" };
    text.parse().map_err(|_| format!("{column}: {text:?} is no {unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{Severity, Status};
    use proptest::prelude::*;

    const STATUSES: [Status; 4] =
        [Status::EccError, Status::TaskHang, Status::NcclTimeout, Status::LostConnection];

    fn parse(text: &str) -> Result<Trace> {
        Trace::parse(text, Path::new("t.csv"))
    }

    fn header(rest: &str) -> String {
        format!("{FIRST_LINE}\n# nodes: 4\n# gpus_per_node: 8\n# duration_s: 1000\n{rest}")
    }

    #[test]
    fn a_file_written_by_hand_is_read() {
        let text = header(
            "# name: by hand\n# Seen in May: two of them.\n\nstatus, at_s, node, severity\n\
             task-hang, 30.5, 3,\n# another\necc-error, 2, 1, SEV2\n",
        );
        let trace = parse(&text.replace('\n', "\r\n")).unwrap();
        assert_eq!(trace.name(), "by hand");
        let hang = Failure::new(30.5, 3, Status::TaskHang, Severity::Sev2);
        let ecc = Failure::new(2.0, 1, Status::EccError, Severity::Sev2);
        assert_eq!(trace.failures(), [ecc, hang]);
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_what_would_be_right() {
        for (text, expected) in [
            ("", "t.csv:1: is no trace: the first line of one is \"# unicron-trace: 1\""),
            ("at_s,node,status\n", "t.csv:1: is no trace"),
            (&header(""), "t.csv:4: no columns; a line \"at_s,node,"),
            (&header("# nodes: 5\n"), "t.csv:5: nodes is told twice"),
            (&header("# name:\n"), "t.csv:5: the name is empty"),
            (
                &header("at_s,node\n"),
                "t.csv:5: no column \"status\"; at_s, node, status are needed",
            ),
            (
                &header("at_s,node,status,gpus\n"),
                "t.csv:5: column \"gpus\": columns are at_s, node,",
            ),
            (&header("at_s,node,status,node\n"), "t.csv:5: column \"node\" is there twice"),
            (&header("at_s,node,status\n1,2\n"), "t.csv:6: 2 fields; there are 3 columns"),
            (
                &header("at_s,node,status\nx,2,ecc-error\n"),
                "t.csv:6: at_s: \"x\" is no number of seconds",
            ),
            (
                &header("at_s,node,status\n1,-2,ecc-error\n"),
                "node: \"-2\" is no whole number from 0",
            ),
            (
                &header("at_s,node,status\n1,2,ecc\n"),
                "t.csv:6: status: \"ecc\" is none of lost-connection, exited-abnormally,",
            ),
            (
                &header("at_s,node,status\n1,2,scheduled-stop\n"),
                "severity: scheduled-stop has none of its own; state sev1, sev2 or sev3",
            ),
            (&header("at_s,node,status\n1,9,ecc-error\n"), "t.csv:6: node: 9 isn't one of 0 to 3"),
            (&header("at_s,node,status\ninf,1,ecc-error\n"), "at_s: inf isn't from 0 to"),
            (
                &header("at_s,node,status,severity\n1,1,ecc-error,sev4\n"),
                "t.csv:6: severity: \"sev4\" is none of sev1, sev2, sev3",
            ),
            (
                &format!("{FIRST_LINE}\n# nodes: 4\nat_s,node,status\n"),
                "t.csv:3: no gpus_per_node above the columns; a line \"# gpus_per_node: …\"",
            ),
            (
                &header("")
                    .replace(": 4", ": 18446744073709551615")
                    .replace("# dur", "at_s,node,status\n# dur"),
                "t.csv:4: no duration_s above",
            ),
            (
                &(header("").replace(": 4", ": 18446744073709551615") + "at_s,node,status\n"),
                "t.csv:5: nodes: 18446744073709551615 isn't from 1 to 1000000",
            ),
        ] {
            let told = parse(text).unwrap_err().to_string();
            assert!(told.contains(expected), "{text:?} gave {told:?}, not {expected:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_told_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, b"# unicron-trace: 1\n# nodes: 4\n\xff\n").unwrap();
        let told = read(&path).unwrap_err().to_string();
        assert!(told.contains("t.csv:3: is no UTF-8 text"), "{told}");
        let told = read(&folder.path().join("absent")).unwrap_err().to_string();
        assert!(told.contains("absent: "), "{told}");
    }

    fn failures() -> impl Strategy<Value = Vec<Failure>> {
        let failure = (
            0.0..1e6_f64,
            0_usize..5,
            prop::option::of(0_usize..3),
            0_usize..STATUSES.len(),
            prop::sample::select(vec![Severity::Sev1, Severity::Sev2, Severity::Sev3]),
            prop::option::of(0.0..1e9_f64),
            prop::option::of(any::<u32>()),
            "[ -~é,\"#]{0,12}",
        );
        let failure =
            failure.prop_map(|(at_s, node, gpu, status, severity, repair_s, group, note)| {
                Failure {
                    at_s,
                    node,
                    gpu,
                    status: STATUSES[status],
                    severity,
                    repair_s,
                    group,
                    note,
                }
            });
        prop::collection::vec(failure, 0..20)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_bit_for_bit(
            failures in failures(),
            name in "[!-~]([ -~]{0,8}[!-~])?",
            duration_s in 1e6..1e9_f64,
        ) {
            let extent = Extent { nodes: 5, gpus_per_node: 3, duration_s };
            let trace = Trace::new(name, extent, failures).unwrap();
            let text = trace.to_string();
            let again = parse(&text).unwrap();
            prop_assert_eq!(&again, &trace);
            prop_assert_eq!(again.to_string(), text);
        }

        #[test]
        fn no_text_panics(text in any::<String>(), rest in "[-#a-z0-9_,.\"\n :]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&format!("{FIRST_LINE}\n{text}"));
            let _ = parse(&header(&format!("at_s,node,status,note\n{rest}")));
            let _ = parse(&header(&rest));
        }
    }
}
