//! The table `[cluster]`.

use super::Value;
use super::fields::{Fields, Source, count, number, wrong_type};
use crate::Result;
use crate::cluster::topology::{MAX_GPUS_PER_NODE, MAX_NODES};
use crate::cluster::{Cluster, Hardware};
use std::ops::RangeInclusive;
use toml::de::DeValue;

const KEYS: [&str; 4] = ["nodes", "gpus_per_node", "hardware", "domains"];

/// Bounds what domains take in memory, which ranges can make large in few bytes.
const MAX_DOMAINS: usize = 10_000;
const MAX_DOMAIN_NODES: usize = 10_000_000;

pub(super) fn read(value: &Value, source: Source) -> Result<Cluster> {
    let fields = Fields::of(source, value, "[cluster]", &KEYS)?;
    let nodes = fields.count("nodes", 1..=MAX_NODES)?;
    let gpus_per_node = fields.count("gpus_per_node", 1..=MAX_GPUS_PER_NODE)?;
    let hardware = match fields.get("hardware") {
        Some(value) => read_hardware(value, source)?,
        None => Hardware::kind(Hardware::DEFAULT_KIND)?,
    };
    let cluster =
        Cluster::new(nodes, gpus_per_node, hardware).map_err(|error| fields.locate(&error))?;
    match fields.get("domains") {
        Some(value) => with_domains(cluster, value, source),
        None => Ok(cluster),
    }
}

/// A kind, or a table of figures, which may begin with a kind's.
fn read_hardware(value: &Value, source: Source) -> Result<Hardware> {
    let kind = |value: &Value, name: &str| {
        Hardware::kind(name).map_err(|error| source.locate(value.span(), &error))
    };
    if let DeValue::String(name) = value.get_ref() {
        return kind(value, name);
    }
    if !value.get_ref().is_table() {
        let problem = wrong_type("hardware", value.get_ref(), "a kind or a table of figures");
        return Err(source.error(value.span(), problem));
    }
    let keys = [&["kind"][..], &Hardware::FIGURES].concat();
    let fields = Fields::of(source, value, "hardware", &keys)?;
    let given = match fields.get("kind").map(|value| (value, value.get_ref())) {
        Some((value, DeValue::String(name))) => Some(kind(value, name)?),
        Some((value, other)) => {
            return Err(source.error(value.span(), wrong_type("kind", other, "a kind")));
        }
        None => None,
    };
    // Without a kind every figure is given, and what they replace doesn't matter.
    let mut hardware = given.map_or_else(|| Hardware::kind(Hardware::DEFAULT_KIND), Ok)?;
    for name in Hardware::FIGURES {
        if given.is_none() {
            fields.required(name)?;
        }
        if let (Some(value), Some(figure)) = (fields.get(name), hardware.figure_mut(name)) {
            *figure = number(source, value, name)?;
        }
    }
    hardware.check().map_err(|error| fields.locate(&error))?;
    Ok(hardware)
}

/// A domain for each key of the table, in the file's order.
fn with_domains(mut cluster: Cluster, value: &Value, source: Source) -> Result<Cluster> {
    let DeValue::Table(table) = value.get_ref() else {
        let right = "a table of nodes by name, { rack0 = \"0-3\" }";
        return Err(source.error(value.span(), wrong_type("domains", value.get_ref(), right)));
    };
    if table.len() > MAX_DOMAINS {
        let problem = format!("{} domains; the most is {MAX_DOMAINS}", table.len());
        return Err(source.error(value.span(), problem));
    }
    let mut domains: Vec<_> = table.iter().collect();
    domains.sort_by_key(|(name, _)| name.span().start);
    let mut room = MAX_DOMAIN_NODES;
    for (name, value) in domains {
        let nodes = read_nodes(value, cluster.nodes(), source)?;
        room = room.checked_sub(nodes.len()).ok_or_else(|| {
            let problem = format!("domains of more than {MAX_DOMAIN_NODES} nodes in all");
            source.error(value.span(), problem)
        })?;
        cluster = cluster
            .with_domain(name.get_ref(), nodes)
            .map_err(|error| source.locate(value.span(), &error))?;
    }
    Ok(cluster)
}

/// The nodes of a domain: a list, or ranges in a string, `"0-3, 8"`.
fn read_nodes(value: &Value, n_nodes: usize, source: Source) -> Result<Vec<usize>> {
    let mut nodes = Vec::new();
    match value.get_ref() {
        DeValue::Array(array) if array.len() <= n_nodes => {
            for entry in array.iter() {
                nodes.push(count(source, entry, "a node", 0..=n_nodes - 1)?);
            }
        }
        DeValue::String(text) => {
            for range in text.split(',') {
                let range = parse_range(range, n_nodes)
                    .map_err(|problem| source.error(value.span(), problem))?;
                nodes.extend(range);
                if nodes.len() > n_nodes {
                    let problem =
                        format!("more nodes than the cluster's {n_nodes}; name each once");
                    return Err(source.error(value.span(), problem));
                }
            }
        }
        DeValue::Array(array) => {
            let problem = format!("{} nodes of {n_nodes}; name each once", array.len());
            return Err(source.error(value.span(), problem));
        }
        other => {
            let right = "a list of nodes or a string of ranges, \"0-3, 8\",";
            return Err(source.error(value.span(), wrong_type("a domain", other, right)));
        }
    }
    Ok(nodes)
}

fn parse_range(text: &str, n_nodes: usize) -> Result<RangeInclusive<usize>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last && last < n_nodes => Ok(first..=last),
        (Ok(first), Ok(last)) if first <= last => {
            Err(format!("there is no node {last}; the last is {}", n_nodes - 1))
        }
        _ => Err(format!(
            "`{}` is no range of nodes; write \"3\" or \"0-3\"",
            text.trim().escape_debug()
        )),
    }
}
