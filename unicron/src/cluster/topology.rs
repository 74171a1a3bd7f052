//! The nodes of a cluster and what they share.

use super::Hardware;
use crate::{Error, Result};

/// Equal nodes of equal GPUs, numbered from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    nodes: usize,
    gpus_per_node: usize,
    hardware: Hardware,
    domains: Vec<Domain>,
}

/// Nodes that fail together: a rack, a switch, a power feed. A node may be in several, or in none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The name, unique in the cluster.
    pub name: String,
    /// Its nodes, ascending, each once.
    pub nodes: Vec<usize>,
}

/// The largest clusters that are planned for; keeps a hostile file from asking for huge tables.
pub(super) const MAX_NODES: usize = 1_000_000;
pub(super) const MAX_GPUS_PER_NODE: usize = 1024;
pub(super) const MAX_GPUS: usize = 10_000_000;

impl Cluster {
    /// So many nodes of so many GPUs, without failure domains.
    ///
    /// # Errors
    /// If a count is 0 or beyond its limit, or a figure of the hardware isn't positive.
    pub fn new(nodes: usize, gpus_per_node: usize, hardware: Hardware) -> Result<Self> {
        require("nodes", nodes, MAX_NODES)?;
        require("gpus_per_node", gpus_per_node, MAX_GPUS_PER_NODE)?;
        let gpus = nodes * gpus_per_node;
        if gpus > MAX_GPUS {
            let problem = format!(
                "{nodes} nodes of {gpus_per_node} GPUs are {gpus} GPUs; the most is {MAX_GPUS}"
            );
            return Err(Error::Setting { setting: "nodes".into(), problem });
        }
        hardware.check()?;
        Ok(Self { nodes, gpus_per_node, hardware, domains: Vec::new() })
    }

    /// The paper's cluster: 16 nodes of 8 A800 with 80 GB, as remembered (the notes, 6.1).
    #[must_use]
    pub fn paper() -> Self {
        let hardware = Hardware::kind(Hardware::DEFAULT_KIND).expect("the default is a known kind");
        Self { nodes: 16, gpus_per_node: 8, hardware, domains: Vec::new() }
    }

    /// With these nodes as a failure domain; order and repetition don't matter.
    ///
    /// # Errors
    /// If there is a domain of this name, it has no node, or one that isn't there.
    pub fn with_domain(mut self, name: &str, mut nodes: Vec<usize>) -> Result<Self> {
        nodes.sort_unstable();
        nodes.dedup();
        let bad =
            |problem: String| Err(Error::Setting { setting: format!("domains.{name}"), problem });
        if self.domains.iter().any(|domain| domain.name == name) {
            return bad("there is a domain of this name already".into());
        }
        match nodes.last() {
            None => return bad("it has no nodes".into()),
            Some(&last) if last >= self.nodes => {
                return bad(format!("there is no node {last}; the last is {}", self.nodes - 1));
            }
            Some(_) => self.domains.push(Domain { name: name.into(), nodes }),
        }
        Ok(self)
    }

    /// With so many nodes more, in no domain.
    ///
    /// # Errors
    /// If these are too many.
    pub fn with_more_nodes(&self, nodes: usize) -> Result<Self> {
        self.grown(self.nodes.saturating_add(nodes), self.gpus_per_node)
    }

    /// The same with so many nodes of so many GPUs, no fewer than before.
    ///
    /// # Errors
    /// If a count is beyond its limit.
    pub fn grown(&self, nodes: usize, gpus_per_node: usize) -> Result<Self> {
        let nodes = nodes.max(self.nodes);
        let gpus_per_node = gpus_per_node.max(self.gpus_per_node);
        let domains = self.domains.clone();
        Ok(Self { domains, ..Self::new(nodes, gpus_per_node, self.hardware)? })
    }

    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// GPUs of each node.
    #[must_use]
    pub fn gpus_per_node(&self) -> usize {
        self.gpus_per_node
    }

    /// GPUs of all nodes: the workers that there are.
    #[must_use]
    pub fn gpus(&self) -> usize {
        self.nodes * self.gpus_per_node
    }

    /// What a node is made of.
    #[must_use]
    pub fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    /// The declared failure domains.
    #[must_use]
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The domains that a node is in.
    pub fn domains_of(&self, node: usize) -> impl Iterator<Item = &Domain> {
        self.domains.iter().filter(move |domain| domain.nodes.binary_search(&node).is_ok())
    }
}

fn require(setting: &str, count: usize, limit: usize) -> Result<()> {
    if (1..=limit).contains(&count) {
        return Ok(());
    }
    Err(Error::Setting { setting: setting.into(), problem: format!("{count} is not 1 to {limit}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_may_be_in_several_domains_or_none() {
        let cluster = Cluster::paper()
            .with_domain("rack0", vec![1, 0, 1])
            .unwrap()
            .with_domain("switch0", vec![1, 2])
            .unwrap();
        let names = |node| -> Vec<&str> {
            cluster.domains_of(node).map(|domain| domain.name.as_str()).collect()
        };
        assert_eq!(cluster.domains()[0].nodes, [0, 1]);
        assert_eq!(names(1), ["rack0", "switch0"]);
        assert_eq!(names(3), [""; 0]);
        assert_eq!(cluster.gpus(), 128);
    }

    #[test]
    fn impossible_clusters_are_refused() {
        let hardware = *Cluster::paper().hardware();
        let new = |nodes, gpus| Cluster::new(nodes, gpus, hardware).unwrap_err().to_string();
        assert_eq!(new(0, 8), "nodes: 0 is not 1 to 1000000");
        assert_eq!(new(1, 2000), "gpus_per_node: 2000 is not 1 to 1024");
        assert!(new(1_000_000, 16).contains("16000000 GPUs"));
        let domain = |nodes| {
            let cluster = Cluster::paper().with_domain("r", vec![0]).unwrap();
            cluster.with_domain("rack", nodes).unwrap_err().to_string()
        };
        assert_eq!(domain(vec![16]), "domains.rack: there is no node 16; the last is 15");
        assert_eq!(domain(vec![]), "domains.rack: it has no nodes");
        let larger =
            Cluster::paper().with_domain("r", vec![0]).unwrap().with_more_nodes(2).unwrap();
        assert_eq!((larger.nodes(), larger.domains().len()), (18, 1));
        assert!(larger.with_more_nodes(usize::MAX).is_err());
        let twice = Cluster::paper().with_domain("r", vec![0]).unwrap().with_domain("r", vec![1]);
        assert!(twice.unwrap_err().to_string().contains("already"));
    }
}
