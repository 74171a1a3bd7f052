//! The one record that every commit replaces. Because a commit takes place only if the head is still the
//! one that its leader has seen, commits have one order, none is made twice, and a leader of an older term
//! can't make any.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The form of what is stored. A later one is refused by name instead of being misread.
const FORMAT: u32 = 1;

/// Where the store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    format: u32,
    /// The newest leadership.
    pub term: u64,
    /// The number of its last commit, by which the leader knows its own.
    pub commit: u64,
    /// The oldest event that is kept; one more than `last` if none is.
    pub first: u64,
    /// The newest event.
    pub last: u64,
}

impl Head {
    /// As stored; that of a new store where there is none.
    pub fn read(stored: Option<&[u8]>, store: &str) -> Result<Self> {
        let Some(stored) = stored else {
            return Ok(Self { format: FORMAT, term: 0, commit: 0, first: 1, last: 0 });
        };
        let broken = |problem| Error::Store { store: store.to_owned(), problem };
        let head: Self = serde_json::from_slice(stored)
            .map_err(|error| broken(format!("its head is damaged, restore a backup: {error}")))?;
        if head.format != FORMAT {
            return Err(broken(format!(
                "it has format {}, this program knows {FORMAT}: take the program that wrote it",
                head.format
            )));
        }
        // Sums with these must not overflow, and the log's ends must be in order.
        let is_sane = head.last < u64::MAX / 2 && (1..=head.last + 1).contains(&head.first);
        if !is_sane || head.term >= u64::MAX / 2 || head.commit >= u64::MAX / 2 {
            return Err(broken(format!("its head is damaged, restore a backup: {head:?}")));
        }
        Ok(head)
    }

    /// As it is stored.
    pub fn write(self) -> Vec<u8> {
        serde_json::to_vec(&self).expect("five numbers are JSON")
    }

    /// When a new leadership begins.
    pub fn led(self) -> Self {
        Self { term: self.term + 1, commit: 0, ..self }
    }

    /// After a commit that appends so many events, where so many are to be kept. Those of the commit are
    /// kept even if they are more; the next commit drops them.
    pub fn committed(self, commit: u64, appended: u64, kept: u64) -> Self {
        let last = self.last + appended;
        let wanted = (last + 1).saturating_sub(kept);
        let first = wanted.min(self.last + 1).max(self.first);
        Self { commit, first, last, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_has_no_gaps() {
        let mut head = Head::read(None, "test").unwrap().led();
        for (commit, (appended, ends)) in
            [(0, (1, 0)), (3, (1, 3)), (2, (1, 5)), (1, (2, 6)), (9, (7, 15)), (0, (11, 15))]
                .into_iter()
                .enumerate()
        {
            head = head.committed(commit as u64, appended, 5);
            assert_eq!((head.first, head.last), ends);
            assert_eq!(Head::read(Some(&head.write()), "test").unwrap(), head);
        }
        assert_eq!(head.led().term, 2);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for (stored, expected) in [
            ("", "test: its head is damaged, restore a backup: EOF"),
            (r#"{"format":1,"term":1,"commit":0,"first":9,"last":3}"#, "its head is damaged"),
            (r#"{"format":1,"term":1,"commit":0,"first":0,"last":0}"#, "its head is damaged"),
            (
                r#"{"format":1,"term":18446744073709551615,"commit":0,"first":1,"last":0}"#,
                "its head is damaged",
            ),
            (r#"{"format":2,"term":1,"commit":0,"first":1,"last":0}"#, "it has format 2"),
        ] {
            let error = Head::read(Some(stored.as_bytes()), "test").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
