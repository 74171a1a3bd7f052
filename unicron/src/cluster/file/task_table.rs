//! The tables `[[tasks]]`.

use super::Value;
use super::fields::{Fields, Source, count, number, wrong_type};
use crate::Result;
use crate::cluster::{Cluster, TaskSpec};
use crate::model::presets::{SEQUENCE, VOCABULARY};
use crate::model::{LanguageModel, Sizes};
use crate::throughput::{Throughput, check_point};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::de::DeValue;

const KEYS: [&str; 9] = [
    "name",
    "model",
    "weight",
    "min_workers",
    "guaranteed_workers",
    "current",
    "throughput",
    "whole_nodes",
    "work_flops",
];
const MODEL_KEYS: [&str; 7] =
    ["preset", "layers", "hidden", "heads", "sequence", "vocabulary", "batch"];

/// Far above what a cluster runs; keeps a hostile file from asking for huge tables.
const MAX_TASKS: usize = 10_000;
const MAX_NAME_BYTES: usize = 100;
const MAX_POINTS: usize = 100_000;

/// All tasks; none where the key is absent, as in a cluster that waits for its first.
pub(super) fn read_all(
    value: Option<&Value>,
    cluster: &Cluster,
    source: Source,
) -> Result<Vec<TaskSpec>> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let DeValue::Array(array) = value.get_ref() else {
        let problem = wrong_type("tasks", value.get_ref(), "tables `[[tasks]]`");
        return Err(source.error(value.span(), problem));
    };
    if array.len() > MAX_TASKS {
        let problem = format!("{} tasks; the most is {MAX_TASKS}", array.len());
        return Err(source.error(value.span(), problem));
    }
    let mut places: BTreeMap<String, Range<usize>> = BTreeMap::new();
    let (mut current, mut guaranteed) = (0, 0);
    let mut tasks = Vec::with_capacity(array.len());
    for value in array.iter() {
        let fields = Fields::of(source, value, "a task", &KEYS)?;
        let task = read(&fields, cluster)?;
        if let Some(first) = places.insert(task.name.clone(), fields.span_of("name")) {
            let line = source.line(first);
            let problem = format!("`{}` is the task of line {line} already", task.name);
            return Err(fields.error("name", problem));
        }
        current += task.current;
        guaranteed += task.guaranteed_workers.unwrap_or(0);
        for (key, sum) in [("current", current), ("guaranteed_workers", guaranteed)] {
            if sum > cluster.gpus() {
                let problem = format!(
                    "up to this task {sum} workers, but the cluster has {} GPUs",
                    cluster.gpus()
                );
                return Err(fields.error(key, problem));
            }
        }
        tasks.push(task);
    }
    Ok(tasks)
}

fn read(fields: &Fields, cluster: &Cluster) -> Result<TaskSpec> {
    let gpus = cluster.gpus();
    let name = read_name(fields)?;
    let task = TaskSpec {
        model: match fields.get("model") {
            Some(value) => Some(read_model(value, &name, fields.source)?),
            None => None,
        },
        name,
        weight: fields.positive_or("weight", 1.0)?,
        min_workers: fields.count_or("min_workers", 0..=gpus, 0)?,
        guaranteed_workers: match fields.get("guaranteed_workers") {
            Some(_) => Some(fields.count_or("guaranteed_workers", 0..=gpus, 0)?),
            None => None,
        },
        current: fields.count_or("current", 0..=gpus, 0)?,
        throughput: match fields.get("throughput") {
            Some(value) => Some(read_throughput(value, fields.source)?),
            None => None,
        },
        whole_nodes: fields.flag("whole_nodes")?,
        work_flops: match fields.get("work_flops") {
            Some(_) => Some(fields.positive_or("work_flops", 1.0)?),
            None => None,
        },
    };
    if task.model.is_none() && task.throughput.is_none() {
        let problem = "neither this nor `throughput` is given; one of them is wanted";
        return Err(fields.error("model", problem));
    }
    let guaranteed = task.guaranteed_workers.unwrap_or(0);
    if (1..task.min_workers).contains(&guaranteed) {
        let problem = format!(
            "{guaranteed} don't run a task whose min_workers are {}; guarantee as many, or none",
            task.min_workers
        );
        return Err(fields.error("guaranteed_workers", problem));
    }
    Ok(task)
}

/// Names end up in keys of stores and in commands, so that they are plain.
fn read_name(fields: &Fields) -> Result<String> {
    let value = fields.required("name")?;
    let DeValue::String(name) = value.get_ref() else {
        let problem = wrong_type("name", value.get_ref(), "a string");
        return Err(fields.source.error(value.span(), problem));
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name.to_string());
    }
    let problem = format!(
        "write 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` or `.`, not `{}`",
        name.chars().take(MAX_NAME_BYTES).collect::<String>().escape_debug()
    );
    Err(fields.error("name", problem))
}

/// A preset's name, or a table of sizes, which may begin with a preset's.
fn read_model(value: &Value, task: &str, source: Source) -> Result<LanguageModel> {
    let preset = |value: &Value, name: &str| {
        LanguageModel::preset(name).map_err(|error| source.locate(value.span(), &error))
    };
    if let DeValue::String(name) = value.get_ref() {
        return preset(value, name);
    }
    if !value.get_ref().is_table() {
        let problem = wrong_type("model", value.get_ref(), "a preset's name or a table of sizes");
        return Err(source.error(value.span(), problem));
    }
    let fields = Fields::of(source, value, "model", &MODEL_KEYS)?;
    let given = match fields.get("preset").map(|value| (value, value.get_ref())) {
        Some((value, DeValue::String(name))) => Some(*preset(value, name)?.sizes()),
        Some((value, other)) => {
            return Err(source.error(value.span(), wrong_type("preset", other, "a name")));
        }
        None => None,
    };
    let size = |key: &str, of: fn(&Sizes) -> usize, absent: Option<usize>| match given
        .as_ref()
        .map(of)
        .or(absent)
    {
        Some(absent) => fields.count_or(key, 1..=usize::MAX, absent),
        None => fields.count(key, 1..=usize::MAX),
    };
    let sizes = Sizes {
        layers: size("layers", |sizes| sizes.layers, None)?,
        hidden: size("hidden", |sizes| sizes.hidden, None)?,
        heads: size("heads", |sizes| sizes.heads, None)?,
        sequence: size("sequence", |sizes| sizes.sequence, Some(SEQUENCE))?,
        vocabulary: size("vocabulary", |sizes| sizes.vocabulary, Some(VOCABULARY))?,
        batch: size("batch", |sizes| sizes.batch, None)?,
    };
    LanguageModel::new(task, sizes).map_err(|error| fields.locate(&error))
}

/// Points `[workers, flops]`.
fn read_throughput(value: &Value, source: Source) -> Result<Throughput> {
    let right = "points, [[workers, flops], …],";
    let DeValue::Array(array) = value.get_ref() else {
        return Err(source.error(value.span(), wrong_type("throughput", value.get_ref(), right)));
    };
    if array.len() > MAX_POINTS {
        let problem = format!("throughput: {} points; the most is {MAX_POINTS}", array.len());
        return Err(source.error(value.span(), problem));
    }
    let mut points = Vec::with_capacity(array.len());
    let mut previous = 0;
    for point in array.iter() {
        let pair = point.get_ref().as_array().map(|pair| (pair.first(), pair.get(1), pair.len()));
        let Some((Some(workers), Some(flops), 2)) = pair else {
            let problem = "throughput: a point is a pair, [workers, flops]";
            return Err(source.error(point.span(), problem));
        };
        let workers = count(source, workers, "throughput: workers", 1..=usize::MAX)?;
        let flops = number(source, flops, "throughput: flops")?;
        check_point(previous, workers, flops)
            .map_err(|error| source.locate(point.span(), &error))?;
        previous = workers;
        points.push((workers, flops));
    }
    Throughput::measured(&points).map_err(|error| source.locate(value.span(), &error))
}
