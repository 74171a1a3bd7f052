//! The columns and their fields.

use super::number;
use crate::detect::{Severity, Status};
use crate::trace::{Failure, csv};
use std::collections::HashSet;
use std::str::FromStr;

/// The columns, as they are written.
pub(super) const COLUMNS: [&str; 8] =
    ["at_s", "node", "gpu", "status", "severity", "repair_s", "group", "note"];
/// Without these columns a row says nothing.
const REQUIRED: [&str; 3] = ["at_s", "node", "status"];

/// Where each of [`COLUMNS`] is in a row.
#[derive(Debug)]
pub(super) struct Columns {
    places: [Option<usize>; COLUMNS.len()],
    count: usize,
}

impl Columns {
    /// The columns that a line names.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let names = csv::fields(line)?;
        let mut seen = HashSet::new();
        for name in &names {
            if !COLUMNS.contains(&name.as_ref()) {
                let known = COLUMNS.join(", ");
                return Err(format!("column {name:?}: columns are {known}"));
            }
            if !seen.insert(name) {
                return Err(format!("column {name:?} is there twice"));
            }
        }
        let places = COLUMNS.map(|column| names.iter().position(|name| name == column));
        let missing = COLUMNS.iter().zip(places).find(|(c, p)| p.is_none() && REQUIRED.contains(c));
        match missing {
            Some((column, _)) => {
                Err(format!("no column {column:?}; {} are needed", REQUIRED.join(", ")))
            }
            None => Ok(Self { places, count: names.len() }),
        }
    }

    /// The failure of a row.
    pub(super) fn failure(&self, line: &str) -> Result<Failure, String> {
        let fields = csv::fields(line)?;
        if fields.len() != self.count {
            return Err(format!("{} fields; there are {} columns", fields.len(), self.count));
        }
        let field = |column: usize| self.places[column].map_or("", |place| fields[place].as_ref());
        let [at_s, node, gpu, status, severity, repair_s, group, note] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(field);
        let status = status.parse::<Status>().map_err(|error| error.to_string())?;
        let severity = match severity {
            "" => status.severity().ok_or_else(|| {
                format!("severity: {status} has none of its own; state sev1, sev2 or sev3")
            })?,
            name => severity_of(name)?,
        };
        Ok(Failure {
            at_s: number("at_s", at_s)?,
            node: number("node", node)?,
            gpu: optional("gpu", gpu)?,
            status,
            severity,
            repair_s: optional("repair_s", repair_s)?,
            group: optional("group", group)?,
            note: note.to_owned(),
        })
    }
}

fn optional<T: FromStr>(column: &str, text: &str) -> Result<Option<T>, String> {
    if text.is_empty() { Ok(None) } else { number(column, text).map(Some) }
}

fn severity_of(name: &str) -> Result<Severity, String> {
    match name.to_ascii_lowercase().as_str() {
        "sev1" => Ok(Severity::Sev1),
        "sev2" => Ok(Severity::Sev2),
        "sev3" => Ok(Severity::Sev3),
        _ => Err(format!("severity: {name:?} is none of sev1, sev2, sev3")),
    }
}
