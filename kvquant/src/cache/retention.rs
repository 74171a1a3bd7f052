//! Which tokens of a side are packed, and when. Sinks, which never are, don't count here.
//!
//! Perplexity and generation are only honest if the query at position t sees exactly the cache that
//! decoding t tokens one at a time would have left. [`Retention::packed_for_query`] states that
//! cache; a chunk of any length is attended by it, so that chunking changes no result.

/// When the tokens of one side leave half precision.
///
/// `base` is the number of tokens packed before the tokens at hand were appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Never.
    KeepAll,
    /// Keys of KIVI and AsymKV: gathered until there are `block`, then packed all at once.
    Gather {
        /// Tokens gathered, a multiple of the group.
        block: usize,
    },
    /// Integer keys: the last `window` stay, each older group is packed as it falls out as a whole.
    Lag {
        /// Tokens kept at least.
        window: usize,
        /// Tokens of a group.
        group: usize,
    },
    /// Values of KIVI and AsymKV: the last `window` stay, each older one is packed as it falls out.
    Slide {
        /// Tokens kept.
        window: usize,
    },
    /// llama.cpp: packed on arrival; a query sees its own token packed, too.
    Immediate,
}

impl Retention {
    /// How many tokens, from the first on, the query at position `position` sees packed. It sees
    /// the tokens after those, up to its own, in half precision.
    ///
    /// KIVI packs after attention, so that a query sees its own token and all of a gathered block
    /// in half precision.
    pub fn packed_for_query(self, base: usize, position: usize) -> usize {
        match self {
            Retention::Immediate => position + 1,
            _ => self.packed_at_rest(base, position),
        }
    }

    /// How many tokens are packed when `n_tokens` have been appended and attended.
    pub fn packed_at_rest(self, base: usize, n_tokens: usize) -> usize {
        match self {
            Retention::KeepAll => 0,
            Retention::Gather { block } => base + n_tokens.saturating_sub(base) / block * block,
            Retention::Lag { window, group } => {
                base + n_tokens.saturating_sub(window).saturating_sub(base) / group * group
            }
            Retention::Slide { window } => n_tokens.saturating_sub(window).max(base),
            Retention::Immediate => n_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gathered_keys_go_all_at_once() {
        let keys = Retention::Gather { block: 128 };
        assert_eq!(keys.packed_for_query(0, 127), 0);
        assert_eq!(keys.packed_at_rest(0, 128), 128);
        assert_eq!(keys.packed_for_query(0, 128), 128);
        assert_eq!(keys.packed_for_query(0, 300), 256);
    }

    #[test]
    fn integer_keys_keep_the_window_and_what_a_group_lacks() {
        let keys = Retention::Lag { window: 64, group: 32 };
        assert_eq!(keys.packed_at_rest(0, 95), 0);
        assert_eq!(keys.packed_at_rest(0, 96), 32);
        assert_eq!(keys.packed_at_rest(32, 127), 32);
        assert_eq!(keys.packed_at_rest(32, 128), 64);
    }

    #[test]
    fn sliding_values_keep_the_window() {
        let values = Retention::Slide { window: 128 };
        assert_eq!(values.packed_for_query(0, 128), 0);
        assert_eq!(values.packed_for_query(0, 129), 1);
        // What was packed before a truncation stays packed.
        assert_eq!(values.packed_for_query(50, 60), 50);
    }

    proptest! {
        /// Where a run of tokens is cut into two chunks changes nothing for any query.
        #[test]
        fn chunking_changes_nothing(
            which in 0usize..5, parameter in 1usize..40, first in 0usize..200, query in 0usize..200,
        ) {
            let retention = [
                Retention::KeepAll,
                Retention::Gather { block: parameter },
                Retention::Lag { window: parameter, group: 7 },
                Retention::Slide { window: parameter },
                Retention::Immediate,
            ][which];
            let whole = retention.packed_for_query(0, first + query);
            let base = retention.packed_at_rest(0, first);
            prop_assert_eq!(retention.packed_for_query(base, first + query), whole);
        }
    }
}
