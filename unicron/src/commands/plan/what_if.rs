//! What may happen to a planned cluster, as users ask for it.

use crate::cluster::ClusterFile;
use crate::plan::Fleet;
use crate::plan::placed::Placed;
use crate::throughput::Constants;
use common::command::BadInput;
use std::collections::BTreeSet;

/// For whoever asks for something else.
const THERE_ARE: &str =
    "there are lose-node N, lose-domain NAME, drain-node N, finish TASK and add-nodes N";

/// Something that happens once the plan is carried out.
pub(super) enum WhatIf {
    /// Nodes fail, or are drained: the plan is the same.
    Without(BTreeSet<usize>),
    /// The task of this number is done.
    Finish(usize),
    /// So many nodes join.
    AddNodes(usize),
}

impl WhatIf {
    /// What a user asked for, on the cluster of a file.
    pub(super) fn parse(what: &str, which: &str, file: &ClusterFile) -> anyhow::Result<Self> {
        Self::read(what, which, file)
            .map_err(|problem| BadInput(format!("--what-if {what} {which}: {problem}")).into())
    }

    fn read(what: &str, which: &str, file: &ClusterFile) -> Result<Self, String> {
        match what {
            "lose-node" | "drain-node" => match which.parse::<usize>() {
                Ok(node) if node < file.cluster.nodes() => {
                    Ok(Self::Without(BTreeSet::from([node])))
                }
                _ => Err(format!("nodes are 0 to {}", file.cluster.nodes() - 1)),
            },
            "lose-domain" => {
                let domains = file.cluster.domains();
                let found = domains.iter().find(|domain| domain.name == which);
                let nodes = found.map(|domain| domain.nodes.iter().copied().collect());
                let names = domains.iter().map(|domain| domain.name.as_str());
                nodes.map(Self::Without).ok_or_else(|| known("domains", names))
            }
            "finish" => {
                let names = || file.tasks.iter().map(|task| task.name.as_str());
                let found = names().position(|name| name == which);
                found.map(Self::Finish).ok_or_else(|| known("tasks", names()))
            }
            "add-nodes" => match which.parse::<usize>() {
                Ok(nodes) if nodes > 0 => Ok(Self::AddNodes(nodes)),
                _ => Err("a number of nodes from 1 is wanted".to_owned()),
            },
            _ => Err(THERE_ARE.to_owned()),
        }
    }

    /// The fleet of a file once the plan is carried out and this has happened.
    pub(super) fn apply(
        &self,
        file: &ClusterFile,
        fleet: &Fleet,
        placed: &Placed,
    ) -> crate::Result<Fleet> {
        let planned = |fleet: Fleet| fleet.after(placed);
        Ok(match self {
            Self::Without(nodes) => planned(fleet.clone()).without(nodes),
            Self::Finish(task) => planned(fleet.clone()).finished(*task),
            Self::AddNodes(nodes) => {
                let cluster = file.cluster.with_more_nodes(*nodes)?;
                let file = ClusterFile { cluster, tasks: file.tasks.clone(), ..file.clone() };
                planned(Fleet::of(&file, &Constants::default())?)
            }
        })
    }
}

/// That a name is none of those that there are.
fn known<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    match names.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => format!("the file has no {what}"),
        names => format!("{what} are {names}"),
    }
}
