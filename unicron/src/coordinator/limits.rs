//! How much agents may say. What they say is stored, and told to others: one that is out of its mind must
//! not cost a coordinator its memory, nor, by a change that no store takes, its leadership.

use crate::proto::v1::from_agent::Message;
use crate::worker::protocol::{MOST_PATH_BYTES, MOST_WORD_BYTES};

/// Lists of what a node has: its GPUs, its workers.
const MOST_ENTRIES: usize = 1024;

/// Bytes of what may be long: a greeting with all workers, the lines that go with a failure. Escaped, as an
/// event of the log, it still fits into one change of the store.
const MOST_BYTES: usize = 128 * 1024;

/// Checks the lengths in what an agent says.
///
/// # Errors
/// What is too long, and how long it may be.
pub(super) fn check(message: &Message) -> Result<(), String> {
    let bytes = message.encoded_len();
    // Logs are passed on and not kept.
    if bytes > MOST_BYTES && !matches!(message, Message::LogTail(_)) {
        return Err(format!("a message of {bytes} bytes; at most {MOST_BYTES}"));
    }
    let words: Vec<(&str, &String, usize)> = match message {
        Message::Hello(hello) => {
            let entries = hello.workers.len().max(hello.gpus.len());
            if entries > MOST_ENTRIES {
                return Err(format!("a list of {entries} entries; at most {MOST_ENTRIES}"));
            }
            let start = [
                ("incarnation", &hello.incarnation, MOST_WORD_BYTES),
                ("host", &hello.host, MOST_WORD_BYTES),
            ];
            let gpus = hello.gpus.iter().map(|gpu| ("GPU", gpu, MOST_WORD_BYTES));
            let workers = hello.workers.iter().flat_map(|worker| {
                [
                    ("address", &worker.address, MOST_WORD_BYTES),
                    ("fingerprint", &worker.fingerprint, MOST_WORD_BYTES),
                ]
            });
            start.into_iter().chain(gpus).chain(workers).collect()
        }
        Message::Ready(ready) => vec![
            ("address", &ready.address, MOST_WORD_BYTES),
            ("fingerprint", &ready.fingerprint, MOST_WORD_BYTES),
        ],
        Message::Checkpoint(written) => vec![("path", &written.path, MOST_PATH_BYTES)],
        Message::Done(done) => vec![
            ("weights_file", &done.weights_file, MOST_PATH_BYTES),
            ("weights_sha256", &done.weights_sha256, MOST_WORD_BYTES),
        ],
        Message::Health(health) => vec![("text", &health.text, MOST_PATH_BYTES)],
        _ => Vec::new(),
    };
    match words.into_iter().find(|(_, word, most)| word.len() > *most) {
        Some((what, word, most)) => Err(format!("{what} of {} bytes; at most {most}", word.len())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1;

    #[test]
    fn what_is_too_long_is_named() {
        let ready = |bytes| {
            let address = "x".repeat(bytes);
            Message::Ready(v1::WorkerReady { worker: 1, address, fingerprint: String::new() })
        };
        assert_eq!(check(&ready(MOST_WORD_BYTES)), Ok(()));
        assert_eq!(check(&ready(257)).unwrap_err(), "address of 257 bytes; at most 256");
        let seen = v1::Observation { text: "x".repeat(MOST_BYTES), ..v1::Observation::default() };
        assert!(check(&Message::Observation(seen)).unwrap_err().contains("a message of"));
        let gpus = vec!["H100".to_owned(); MOST_ENTRIES + 1];
        let hello = v1::Hello { gpus, ..v1::Hello::default() };
        assert!(check(&Message::Hello(hello)).unwrap_err().contains("1025 entries"));
    }
}
