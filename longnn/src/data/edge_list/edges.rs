//! The list of edges: two ids a line.

use super::nodes::Ids;
use super::table::Table;
use crate::Result;

/// First lines that are a header and not an edge.
const HEADERS: [[&str; 2]; 5] =
    [["source", "target"], ["src", "dst"], ["from", "to"], ["node1", "node2"], ["u", "v"]];

/// The edges, as places of nodes.
pub(super) fn parse(table: &Table<'_>, ids: &Ids<'_>) -> Result<Vec<(u32, u32)>> {
    let mut edges = Vec::with_capacity(table.lines().len());
    for (idx, line) in table.lines().iter().enumerate() {
        let &[from, to] = line.fields.as_slice() else {
            let problem = format!("has {} fields; an edge has two ids", line.fields.len());
            return Err(table.wrong(line.number, problem));
        };
        if idx == 0 && is_header([from, to], ids) {
            continue;
        }
        let place = |id| {
            ids.place(id).ok_or_else(|| {
                table.wrong(line.number, format!("edge {from} - {to}: there is no node {id}"))
            })
        };
        edges.push((place(from)?, place(to)?));
    }
    Ok(edges)
}

/// Whether the first line only names its columns: a node may be called `u`, too.
fn is_header(fields: [&str; 2], ids: &Ids<'_>) -> bool {
    let lower = fields.map(str::to_ascii_lowercase);
    let names_columns = HEADERS.iter().any(|header| *header == [&*lower[0], &*lower[1]]);
    names_columns && fields.iter().all(|field| ids.place(field).is_none())
}
