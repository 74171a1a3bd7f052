//! Decoding tokens one by one, as they are generated.

use super::Tokenizer;
use crate::Result;

/// Turns tokens into text as they come. A character whose bytes are spread over several tokens is
/// held back until it is complete, so what comes out is always whole characters.
#[derive(Clone, Debug)]
pub struct DecodeStream<'t> {
    tokenizer: &'t Tokenizer,
    /// The start of a character, at most three bytes.
    pending: Vec<u8>,
}

impl<'t> DecodeStream<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        DecodeStream { tokenizer, pending: Vec::new() }
    }

    /// Adds a token, and returns the text that is complete with it: often a word, sometimes
    /// nothing. Bytes that can't become UTF-8 come out as U+FFFD.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) when the id is not in the vocabulary.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.pending.extend_from_slice(self.tokenizer.output_bytes(id)?);
        let complete = complete_len(&self.pending);
        let text = String::from_utf8_lossy(&self.pending[..complete]).into_owned();
        self.pending.drain(..complete);
        Ok(text)
    }

    /// Ends the text: an unfinished character comes out as U+FFFD.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// How many bytes are before an unfinished character at the end.
fn complete_len(bytes: &[u8]) -> usize {
    let mut done = 0;
    loop {
        match std::str::from_utf8(&bytes[done..]) {
            Ok(_) => return bytes.len(),
            Err(error) => match error.error_len() {
                Some(invalid) => done += error.valid_up_to() + invalid,
                None => return done + error.valid_up_to(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::complete_len;

    proptest! {
        /// However bytes are cut, the parts decode to what the whole decodes to.
        #[test]
        fn cutting_bytes_anywhere_loses_nothing(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..5),
                    any::<char>().prop_map(|c| c.to_string().into_bytes()[..1].to_vec()),
                    any::<char>().prop_map(|c| c.to_string().into_bytes()),
                ],
                0..20,
            ),
        ) {
            let mut text = String::new();
            let mut pending = Vec::new();
            for part in &parts {
                pending.extend_from_slice(part);
                let complete = complete_len(&pending);
                prop_assert!(pending.len() - complete < 4);
                text.push_str(&String::from_utf8_lossy(&pending[..complete]));
                pending.drain(..complete);
            }
            text.push_str(&String::from_utf8_lossy(&pending));
            let whole = parts.concat();
            prop_assert_eq!(text, String::from_utf8_lossy(&whole));
        }
    }
}
