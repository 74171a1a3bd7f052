//! Nodes in network namespaces of their own, so that one can be cut off in silence.
//!
//! Every node has an interface on a bridge, which the coordinators share. A node whose interface is taken off
//! the bridge sends and receives nothing, and nobody is told: no connection is reset or refused. This takes
//! root and `ip`.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A bridge and what hangs on it. It goes when this is dropped.
#[derive(Debug)]
pub struct Network {
    /// In the names of all that is made.
    prefix: String,
    bridge: String,
    /// Of the bridge; those of nodes follow.
    address: Ipv4Addr,
    /// Nodes by name, in the order in which they came.
    nodes: BTreeMap<String, NodeNetwork>,
}

#[derive(Debug, Clone)]
struct NodeNetwork {
    namespace: String,
    /// Its interface's end on the bridge.
    port: String,
    address: Ipv4Addr,
}

/// Addresses are those of benchmarking (RFC 2544), which nobody routes: 198.18.x.0/24.
const NETWORK: [u8; 2] = [198, 18];

/// Networks that this process has made.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// With the process's number behind it, the beginning of all names.
const PREFIX: &str = "uni";

/// Of a /24.
const MOST_NODES: usize = 200;

impl Network {
    /// A bridge without nodes.
    ///
    /// # Errors
    /// If it can't be made: without `ip`, without root, or where the name is taken.
    pub fn new() -> Result<Self> {
        remove_leftovers();
        let process = std::process::id();
        // A process may have several at a time.
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let letter = char::from(b'a' + (number % 26) as u8);
        // One of 256 networks: two at once rarely meet, and then the second address is refused.
        let third = process.wrapping_add(97 * number) % 256;
        let address = Ipv4Addr::new(NETWORK[0], NETWORK[1], third as u8, 1);
        // Names of interfaces have at most 15 bytes.
        let prefix = format!("{PREFIX}{process}{letter}");
        let bridge = format!("{prefix}br");
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        // From here on it is this one's to remove.
        let network = Self { prefix, bridge, address, nodes: BTreeMap::new() };
        ip(&["addr", "add", &format!("{address}/24"), "dev", &network.bridge])?;
        ip(&["link", "set", &network.bridge, "up"])?;
        Ok(network)
    }

    /// The address that all nodes reach.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Adds a node, or finds it: its address.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn add(&mut self, node: &str) -> Result<Ipv4Addr> {
        if let Some(known) = self.nodes.get(node) {
            return Ok(known.address);
        }
        let number = self.nodes.len();
        if number >= MOST_NODES {
            return Err(unreachable(format!("{MOST_NODES} nodes are enough")));
        }
        let [a, b, c, _] = self.address.octets();
        let made = NodeNetwork {
            namespace: format!("{}n{number}", self.prefix),
            port: format!("{}p{number}", self.prefix),
            address: Ipv4Addr::new(a, b, c, number as u8 + 2),
        };
        // Known before it is whole, so that what there is of it goes in the end.
        self.nodes.insert(node.to_owned(), made.clone());
        let NodeNetwork { namespace, port, address } = &made;
        ip(&["netns", "add", namespace])?;
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", namespace];
        ip(&[&["link", "add", port.as_str()], &pair[..]].concat())?;
        ip(&["link", "set", port, "master", &self.bridge, "up"])?;
        ip(&["-n", namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        ip(&["-n", namespace, "link", "set", "eth0", "up"])?;
        ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        Ok(*address)
    }

    /// What starts a program in a node's namespace, before the program itself.
    #[must_use]
    pub fn entry(&self, node: &str) -> Vec<String> {
        let entry = |of: &NodeNetwork| ["ip", "netns", "exec", &of.namespace].map(str::to_owned);
        self.nodes.get(node).map(entry).into_iter().flatten().collect()
    }

    /// Cuts a node off from all others, in silence.
    ///
    /// # Errors
    /// If there is none of this name, or it can't be done.
    pub fn cut_off(&self, node: &str) -> Result<()> {
        ip(&["link", "set", &self.node(node)?.port, "nomaster"])
    }

    /// Lets a node reach the others again.
    ///
    /// # Errors
    /// If there is none of this name, or it can't be done.
    pub fn join(&self, node: &str) -> Result<()> {
        ip(&["link", "set", &self.node(node)?.port, "master", &self.bridge])
    }

    fn node(&self, node: &str) -> Result<&NodeNetwork> {
        self.nodes.get(node).ok_or_else(|| unreachable(format!("there is no node {node}")))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What can't be removed was never made.
        for NodeNetwork { namespace, port, .. } in self.nodes.values() {
            let _ = ip(&["link", "del", port]);
            let _ = ip(&["netns", "del", namespace]);
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

/// Removes what processes have left that were killed.
fn remove_leftovers() {
    for (list, remove) in
        [(&["netns", "list"][..], ["netns", "del"]), (&["-br", "link"], ["link", "del"])]
    {
        let Ok(names) = listed(list) else { continue };
        for name in names.lines().filter_map(|line| line.split([' ', '@']).next()) {
            if of_dead_process(name) {
                // Another may be faster.
                let _ = ip(&[&remove[..], &[name]].concat());
            }
        }
    }
}

fn of_dead_process(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX);
    let digits =
        rest.map(|rest| &rest[..rest.len() - rest.trim_start_matches(char::is_numeric).len()]);
    digits.is_some_and(|process| {
        !process.is_empty() && !Path::new(&format!("/proc/{process}")).exists()
    })
}

fn ip(arguments: &[&str]) -> Result<()> {
    listed(arguments).map(drop)
}

/// What `ip` says.
fn listed(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| unreachable(format!("`ip` can't be run: {error}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(unreachable(format!("ip {}: {problem}", arguments.join(" "))))
        }
    }
}

fn unreachable(problem: String) -> Error {
    Error::Unreachable { what: "networks of nodes' own".to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_processes_have_left_is_removed() {
        let own = format!("{PREFIX}{}", std::process::id());
        // No process has this number.
        let dead = format!("{PREFIX}4194305");
        for (name, expected) in [
            (format!("{dead}br"), true),
            (format!("{dead}n0"), true),
            (format!("{dead}abr"), true),
            (format!("{own}br"), false),
            (format!("{own}bn0"), false),
            ("unix0".to_owned(), false),
            ("eth0".to_owned(), false),
        ] {
            assert_eq!(of_dead_process(&name), expected, "{name}");
        }
    }
}
