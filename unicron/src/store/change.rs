//! What a leader commits, within limits that both stores can keep: etcd takes requests of at most 1.5 MiB.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// Bytes of the longest key.
pub const MOST_KEY_BYTES: usize = 512;

/// The most keys and events of one change.
pub const MOST_CHANGE_PARTS: usize = 2_000;

/// Bytes of the largest change: its keys, values and events.
pub const MOST_CHANGE_BYTES: usize = 1024 * 1024;

/// Writes and events that are committed together. Of several writes to a key the last counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The new value by key, or none.
    pub(super) writes: BTreeMap<String, Option<Vec<u8>>>,
    /// To be appended to the log.
    pub(super) events: Vec<Vec<u8>>,
}

impl Change {
    /// A change of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.writes.insert(key.into(), Some(value.into()));
        self
    }

    /// Removes what is stored under `key`, if anything is.
    pub fn delete(&mut self, key: impl Into<String>) -> &mut Self {
        self.writes.insert(key.into(), None);
        self
    }

    /// Appends an event to the log, after those before it.
    pub fn append(&mut self, event: impl Into<Vec<u8>>) -> &mut Self {
        self.events.push(event.into());
        self
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.events.is_empty()
    }

    /// Its keys, values and events, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let writes = self.writes.iter();
        let writes: usize =
            writes.map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        writes + self.events.iter().map(Vec::len).sum::<usize>()
    }

    /// Whether a store takes it.
    pub(super) fn check(&self) -> Result<()> {
        let refused = |problem| Err(Error::Setting { setting: "change".to_owned(), problem });
        let parts = self.writes.len() + self.events.len();
        if parts > MOST_CHANGE_PARTS {
            return refused(format!(
                "{parts} keys and events; commit them in parts of at most {MOST_CHANGE_PARTS}"
            ));
        }
        let bytes = self.bytes();
        if bytes > MOST_CHANGE_BYTES {
            return refused(format!(
                "{bytes} bytes; commit them in parts of at most {MOST_CHANGE_BYTES} bytes"
            ));
        }
        match self.writes.keys().find(|key| key.is_empty() || key.len() > MOST_KEY_BYTES) {
            Some(key) => {
                let bytes = key.len();
                refused(format!("a key of {bytes} bytes; a key has 1 to {MOST_KEY_BYTES}"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: &Change) -> String {
        change.check().unwrap_err().to_string()
    }

    #[test]
    fn the_last_write_to_a_key_counts() {
        let mut change = Change::new();
        change.put("a", "1").delete("a").put("b", "1").put("b", "22").append("event");
        assert_eq!(change.writes["a"], None);
        assert_eq!(change.writes["b"], Some(b"22".to_vec()));
        assert_eq!(change.bytes(), 1 + 1 + 2 + 5);
        assert!(!change.is_empty() && change.check().is_ok());
    }

    #[test]
    fn limits_are_named() {
        let mut change = Change::new();
        change.put("", "1");
        assert_eq!(problem(&change), "change: a key of 0 bytes; a key has 1 to 512");
        let mut change = Change::new();
        change.put("a", vec![0; MOST_CHANGE_BYTES - 1]);
        assert!(change.check().is_ok());
        change.append("1");
        assert!(problem(&change).contains("1048577 bytes; commit them in parts"));
        let mut change = Change::new();
        for _ in 0..=MOST_CHANGE_PARTS {
            change.append("");
        }
        assert!(problem(&change).contains("2001 keys and events"));
    }
}
