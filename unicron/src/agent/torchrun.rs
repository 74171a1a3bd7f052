//! What torchrun gives the processes that it starts, and what they leave for it: the contract that training
//! scripts are written for.

use crate::worker::protocol::Group;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The name of the only role that there is.
const ROLE: &str = "default";

/// Where an exception is left by scripts that use `torch.distributed.elastic.multiprocessing.errors.record`.
pub const ERROR_FILE: &str = "TORCHELASTIC_ERROR_FILE";

/// Threads of a process, unless somebody has said how many: several processes share the node.
pub const THREADS: &str = "OMP_NUM_THREADS";

/// The environment of a worker of a group; `None` if it is none, or if the first member's address isn't
/// `host:port`.
///
/// Ranks are places in the group, nodes are numbered as their first workers are. All ranks meet at the store
/// of the first member's agent, which no rank's death takes along; its keys are told apart by the number of
/// restarts.
#[must_use]
pub fn environment(group: &Group, worker: u64) -> Option<BTreeMap<&'static str, String>> {
    let rank = group.members.iter().position(|member| member.worker == worker)?;
    let mut nodes: Vec<&str> = Vec::new();
    for member in &group.members {
        if !nodes.contains(&member.node.as_str()) {
            nodes.push(&member.node);
        }
    }
    let node = group.members[rank].node.as_str();
    let is_here = |member: &&crate::worker::protocol::Member| member.node == node;
    let local_rank = group.members[..rank].iter().filter(is_here).count();
    let local_world = group.members.iter().filter(is_here).count();
    let group_rank = nodes.iter().position(|other| *other == node)?;
    let (master, port) = group.members.first()?.address.rsplit_once(':')?;
    let world = group.members.len();
    let numbers = [
        ("RANK", rank),
        ("LOCAL_RANK", local_rank),
        ("WORLD_SIZE", world),
        ("LOCAL_WORLD_SIZE", local_world),
        ("GROUP_RANK", group_rank),
        ("GROUP_WORLD_SIZE", nodes.len()),
        ("ROLE_RANK", rank),
        ("ROLE_WORLD_SIZE", world),
    ];
    let words = [
        ("ROLE_NAME", ROLE.to_owned()),
        ("MASTER_ADDR", master.to_owned()),
        ("MASTER_PORT", port.to_owned()),
        ("TORCHELASTIC_USE_AGENT_STORE", "True".to_owned()),
        ("TORCHELASTIC_RESTART_COUNT", group.attempt.saturating_sub(1).to_string()),
    ];
    let numbers = numbers.into_iter().map(|(name, number)| (name, number.to_string()));
    Some(numbers.chain(words).collect())
}

/// Whether a key of a store is of an attempt of before, and of no use any more.
#[must_use]
pub fn is_of_another_attempt(key: &[u8], group: &Group) -> bool {
    let Ok(key) = std::str::from_utf8(key) else { return false };
    let restarts = group.attempt.saturating_sub(1);
    let number = |prefix: &str| -> Option<u64> {
        let rest = key.strip_prefix(prefix)?;
        rest.split('/').next()?.parse().ok()
    };
    number("/worker/attempt_").is_some_and(|other| other < restarts)
        || number("/epoch/").is_some_and(|other| other < group.epoch)
}

/// An exception that a script has left in its error file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// One line.
    pub message: String,
    /// Many.
    pub traceback: String,
}

/// Bytes of the longest error file that is read.
const MOST_BYTES: u64 = 256 * 1024;

#[derive(Deserialize)]
struct ErrorFile {
    message: Value,
}

/// Reads an error file; nothing where there is none, or none that torch has written.
#[must_use]
pub fn read_error(path: &Path) -> Option<Exception> {
    let mut text = String::new();
    File::open(path).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    let ErrorFile { message } = serde_json::from_str(&text).ok()?;
    let of = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let text = message.as_str().map(str::to_owned).or_else(|| of(&message, "message"))?;
    let extra = message.get("extraInfo");
    let traceback = extra.and_then(|extra| of(extra, "py_callstack")).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    Some(Exception { message: first.to_owned(), traceback })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::protocol::Member;

    fn group() -> Group {
        let member = |worker, node: &str| Member {
            worker,
            stage: 0,
            node: node.to_owned(),
            address: format!("{node}.cluster:4{worker}"),
        };
        let members = vec![member(7, "b"), member(8, "b"), member(9, "a")];
        Group { epoch: 5, attempt: 3, members, checkpoint: None }
    }

    #[test]
    fn ranks_are_places_and_all_meet_at_the_first_members_store() {
        let of = |worker| environment(&group(), worker).unwrap();
        let names = |names: &[&str], worker| {
            let of = of(worker);
            names.iter().map(|name| of[name].clone()).collect::<Vec<_>>()
        };
        let ranks = [
            "RANK",
            "LOCAL_RANK",
            "WORLD_SIZE",
            "LOCAL_WORLD_SIZE",
            "GROUP_RANK",
            "GROUP_WORLD_SIZE",
        ];
        assert_eq!(names(&ranks, 8), ["1", "1", "3", "2", "0", "2"]);
        assert_eq!(names(&ranks, 9), ["2", "0", "3", "1", "1", "2"]);
        for worker in [7, 8, 9] {
            let store = ["MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT"];
            assert_eq!(names(&store, worker), ["b.cluster", "47", "2"]);
        }
        assert_eq!(environment(&group(), 1), None);
    }

    #[test]
    fn keys_of_attempts_of_before_are_told_from_others() {
        let is_old = |key: &str| is_of_another_attempt(key.as_bytes(), &group());
        assert!(is_old("/worker/attempt_1/default_pg/0") && is_old("/epoch/4/status/7"));
        assert!(!is_old("/worker/attempt_2/x") && !is_old("/worker/attempt_3/x"));
        assert!(!is_old("/epoch/5/x") && !is_old("/memory/1") && !is_old("/worker/attempt_x"));
    }

    #[test]
    fn an_error_file_is_read_as_torch_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_error(&path)
        };
        let text = r#"{"message": {"message": "ValueError: no\nmore", "extraInfo": {"py_callstack": "Traceback…", "timestamp": "1"}}}"#;
        let expected = Exception {
            message: "ValueError: no".to_owned(),
            traceback: "Traceback…".to_owned(),
        };
        assert_eq!(read(text), Some(expected));
        let plain = Exception { message: "killed".to_owned(), traceback: String::new() };
        assert_eq!(read(r#"{"message": "killed"}"#), Some(plain));
        assert_eq!(read("{\"message\": 3}"), None);
        assert_eq!(read_error(Path::new("/nowhere")), None);
    }
}
