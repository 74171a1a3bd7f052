//! A connection between two processes that both live is reset, as a switch or a firewall may do.
//!
//! `ss` ends it in the kernel, which takes root and a kernel that lets itself be asked: both ends read a reset.

use crate::{Error, Result};
use std::process::Command;

/// Resets all TCP connections between two processes of this machine; how many there were.
///
/// # Errors
/// If there is none, or they can't be reset.
pub fn between(one: u32, other: u32) -> Result<usize> {
    let all = ss(&["-tnpH", "state", "established"])?;
    let ends: Vec<End<'_>> = all.lines().filter_map(End::parse).collect();
    let of = |pid: u32| ends.iter().filter(move |end| end.pid == pid);
    let connections: Vec<&End<'_>> = of(one)
        .filter(|end| of(other).any(|peer| (peer.local, peer.peer) == (end.peer, end.local)))
        .collect();
    for End { local, peer, .. } in &connections {
        ss(&["-K", "src", local, "dst", peer])?;
    }
    match connections.len() {
        0 => Err(unreachable(format!("there is no connection between {one} and {other}"))),
        count => Ok(count),
    }
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End<'l> {
    /// Addresses with ports.
    local: &'l str,
    peer: &'l str,
    pid: u32,
}

impl<'l> End<'l> {
    /// Of a line: two queues, two addresses, the process.
    fn parse(line: &'l str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(2);
        let (local, peer) = (fields.next()?, fields.next()?);
        let (_, pid) = fields.next()?.split_once("pid=")?;
        let pid = pid.split(',').next()?.parse().ok()?;
        Some(Self { local, peer, pid })
    }
}

fn ss(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ss").args(arguments).output();
    let output = output.map_err(|error| unreachable(format!("`ss` can't be run: {error}")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(unreachable(format!("ss {}: {problem}", arguments.join(" "))))
        }
    }
}

fn unreachable(problem: String) -> Error {
    Error::Unreachable { what: "connections of workers".to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_both_ends_and_the_process() {
        let line = "0 0 127.0.0.1:48344 127.0.0.1:41373 users:((\"unicron\",pid=812,fd=14))";
        let end = End { local: "127.0.0.1:48344", peer: "127.0.0.1:41373", pid: 812 };
        assert_eq!(End::parse(line), Some(end));
        assert_eq!(End::parse("0 0 127.0.0.1:48344 127.0.0.1:41373"), None, "somebody else's");
    }
}
