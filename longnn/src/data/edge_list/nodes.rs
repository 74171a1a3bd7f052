//! The table of nodes: ids, labels, splits and features.

use super::in_file;
use super::table::{Line, Table};
use crate::Result;
use crate::graph::{DenseFeatures, Features, Labels, Split};
use std::collections::{BTreeSet, HashMap};

/// Below this part of non-zeros, features are kept sparse.
const SPARSE_BELOW: f64 = 0.25;

/// What the table says.
pub(super) struct Nodes<'a> {
    pub(super) ids: Ids<'a>,
    pub(super) labels: Labels,
    pub(super) features: Option<Features>,
    pub(super) split: Option<Split>,
}

/// How edges call the nodes.
pub(super) enum Ids<'a> {
    /// 0, 1, 2, …
    Places(usize),
    /// By the column `id`.
    Names(HashMap<&'a str, u32>),
}

impl Ids<'_> {
    /// The place of a node.
    pub(super) fn place(&self, id: &str) -> Option<u32> {
        match self {
            Ids::Places(n_nodes) => id.parse().ok().filter(|&place| (place as usize) < *n_nodes),
            Ids::Names(places) => places.get(id).copied(),
        }
    }
}

/// Which column is what.
struct Columns<'a> {
    n_columns: usize,
    id: Option<usize>,
    label: usize,
    split: Option<usize>,
    /// Places and names of all others.
    features: Vec<(usize, &'a str)>,
}

/// Reads a table.
pub(super) fn parse<'a>(table: &Table<'a>) -> Result<Nodes<'a>> {
    let Some((header, lines)) = table.lines().split_first() else {
        return Err(table.wrong(1, "the file is empty; it begins with a header, as id,label"));
    };
    let columns = Columns::parse(table, header)?;
    for Line { number, fields } in lines {
        if fields.len() != columns.n_columns {
            let problem = format!("has {} fields instead of {}", fields.len(), columns.n_columns);
            return Err(table.wrong(*number, problem));
        }
    }
    Ok(Nodes {
        ids: parse_ids(table, lines, columns.id)?,
        labels: parse_labels(table, lines, columns.label)?,
        features: parse_features(table, lines, &columns.features)?,
        split: columns.split.map(|column| parse_split(table, lines, column)).transpose()?,
    })
}

impl<'a> Columns<'a> {
    fn parse(table: &Table<'_>, header: &Line<'a>) -> Result<Self> {
        let wrong = |problem: String| table.wrong(header.number, problem);
        let (mut id, mut label, mut split, mut features) = (None, None, None, Vec::new());
        let mut seen = BTreeSet::new();
        for (place, &name) in header.fields.iter().enumerate() {
            if !seen.insert(name) {
                return Err(wrong(format!("two columns are called {name:?}")));
            }
            match name {
                "id" => id = Some(place),
                "label" => label = Some(place),
                "split" => split = Some(place),
                feature => features.push((place, feature)),
            }
        }
        let label = label
            .ok_or_else(|| wrong(format!("the header {:?} has no column label", header.fields)))?;
        Ok(Self { n_columns: header.fields.len(), id, label, split, features })
    }
}

fn parse_ids<'a>(table: &Table<'a>, lines: &[Line<'a>], column: Option<usize>) -> Result<Ids<'a>> {
    let Some(column) = column else { return Ok(Ids::Places(lines.len())) };
    let mut places = HashMap::with_capacity(lines.len());
    for (place, line) in lines.iter().enumerate() {
        let id = line.fields[column];
        if let Some(other) = places.insert(id, place as u32) {
            let other = lines[other as usize].number;
            return Err(table.wrong(line.number, format!("node {id:?} is on line {other} already")));
        }
    }
    Ok(Ids::Names(places))
}

/// Classes are numbered in the order of their names: numbers by value, texts by letters.
fn parse_labels(table: &Table<'_>, lines: &[Line<'_>], column: usize) -> Result<Labels> {
    let mut names: Vec<&str> = lines.iter().map(|line| line.fields[column]).collect();
    if let Some(place) = names.iter().position(|name| name.is_empty()) {
        return Err(table.wrong(lines[place].number, "the node has no label"));
    }
    names.sort_by_key(|&name| (name.parse::<i64>().unwrap_or(i64::MAX), name));
    names.dedup();
    if names.len() > usize::from(u16::MAX) {
        let problem = format!("{} different labels; is it the right column?", names.len());
        return Err(table.wrong(lines[0].number, problem));
    }
    let classes: HashMap<&str, u16> = names.iter().copied().zip(0..).collect();
    let classes = lines.iter().map(|line| classes[line.fields[column]]).collect();
    let names = names.into_iter().map(str::to_owned).collect();
    Labels::new(classes).and_then(|labels| labels.with_names(names)).map_err(in_file(table.path()))
}

fn parse_features(
    table: &Table<'_>,
    lines: &[Line<'_>],
    columns: &[(usize, &str)],
) -> Result<Option<Features>> {
    if columns.is_empty() {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(lines.len() * columns.len());
    for line in lines {
        for &(column, name) in columns {
            let field = line.fields[column];
            let value = field.parse().ok().filter(|value: &f32| value.is_finite());
            values.push(value.ok_or_else(|| {
                table.wrong(line.number, format!("{name}: {field:?} is not a finite number"))
            })?);
        }
    }
    let dense = DenseFeatures::new(columns.len(), values).map_err(in_file(table.path()))?;
    let features = Features::Dense(dense);
    let density = features.density();
    Ok(Some(match features {
        Features::Dense(dense) if density < SPARSE_BELOW => Features::Sparse(dense.to_sparse()),
        other => other,
    }))
}

fn parse_split(table: &Table<'_>, lines: &[Line<'_>], column: usize) -> Result<Split> {
    let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
    for (line, node) in lines.iter().zip(0..) {
        match line.fields[column] {
            "train" => train.push(node),
            "validation" | "valid" | "val" => validation.push(node),
            "test" => test.push(node),
            "" => {}
            other => {
                let problem = format!("split {other:?} is none of train, validation and test");
                return Err(table.wrong(line.number, problem));
            }
        }
    }
    Split::new(lines.len(), train, validation, test).map_err(in_file(table.path()))
}
