//! The same faults as intervals in CSV.

use super::fault::{FaultType, Interval, check_day};
use crate::trace::{MAX_NODES, csv};
use crate::{Error, Result};
use std::path::Path;

/// The columns, as the first line names them.
pub(super) const COLUMNS: &str = "node,start_day,end_day,level,class,desc";

/// The intervals of a file.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<Interval>> {
    let mut lines = text.lines().zip(1..);
    if lines.next().is_none_or(|(line, _)| line.trim_end() != COLUMNS) {
        let problem = format!("is no fault trace: its first line is {COLUMNS:?}, or it is JSON");
        return Err(Error::line(path, 1, problem));
    }
    let rows = lines.filter(|(line, _)| !line.trim().is_empty());
    rows.map(|(line, number)| interval(line).map_err(|problem| Error::line(path, number, problem)))
        .collect()
}

/// The interval of a row.
fn interval(line: &str) -> Result<Interval, String> {
    let fields = csv::fields(line)?;
    let [node, start, end, level, class, desc] = &fields[..] else {
        return Err(format!("{} fields; there are 6 columns: {COLUMNS}", fields.len()));
    };
    let day = |column: &str, text: &str| {
        let day: f64 =
            text.parse().map_err(|_| format!("{column}: {text:?} is no number of days"))?;
        check_day(day).map(|()| day).map_err(|problem| format!("{column}: {problem}"))
    };
    let number: Option<usize> = node.parse().ok().filter(|number| *number < MAX_NODES);
    let node = number.ok_or_else(|| format!("node: {node:?} is none of 0 to {}", MAX_NODES - 1))?;
    let (start_day, end_day) = (day("start_day", start)?, day("end_day", end)?);
    if end_day < start_day {
        return Err(format!("end_day: {end_day} is before start_day, {start_day}"));
    }
    let [level, class, desc] = [level, class, desc].map(|text| text.as_ref().to_owned());
    Ok(Interval {
        node,
        start_day,
        end_day: Some(end_day),
        fault: FaultType { level, class, desc },
    })
}
