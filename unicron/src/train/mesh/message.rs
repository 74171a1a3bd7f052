//! What workers of a group say to each other, and how it lies on the wire: a header of fixed size, then
//! bytes that are numbers or JSON.
//!
//! ```text
//! magic 4 | kind 4 | epoch 8 | iteration 8 | a 4 | b 4 | c 4 | 0 4 | bytes 8 | numbers or JSON
//! ```
//! All in little endian, which is what workers with the same arithmetic have. Every message carries the epoch: one of an older group is never taken for one of
//! this.

use crate::transition::tree::Node;
use std::io::{self, Read, Write};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Begins every header: what speaks something else is noticed at once.
const MAGIC: u32 = u32::from_le_bytes(*b"UNIC");
/// Bytes of a header.
pub const HEADER: usize = 48;
/// Bytes of the longest JSON: the status or decision of a group.
const MOST_JSON: u64 = 64 << 20;

/// Numbers that are shared, not copied.
#[derive(Debug, Clone)]
pub struct Values {
    values: Arc<Vec<f32>>,
    range: Range<usize>,
}

impl Values {
    /// A part of them.
    ///
    /// # Panics
    /// If the range is outside.
    #[must_use]
    pub fn part(values: &Arc<Vec<f32>>, range: Range<usize>) -> Self {
        assert!(range.end <= values.len(), "a part is within the whole");
        Self { values: values.clone(), range }
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        let range = 0..values.len();
        Self { values: Arc::new(values), range }
    }
}

impl Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.range.clone()]
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// What a worker says to another.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// What it holds, to the one who decides: JSON.
    Status(Vec<u8>),
    /// How the group goes on: JSON.
    Decision(Vec<u8>),
    /// A pass has been begun.
    Begun {
        /// The stage.
        stage: u32,
        /// The micro-batch.
        micro_batch: u32,
        /// Whether it had been begun before.
        is_redone: bool,
    },
    /// The input of the receiver's stage.
    Activation(u32, Values),
    /// The gradient of the receiver's output.
    Gradient(u32, Values),
    /// A segment of a sum.
    Sum(u32, Node, Values),
    /// A reduced segment.
    Segment(u32, Values),
    /// It has the whole gradient of the iteration.
    Prepared,
    /// The state after the iteration: the receiver's own.
    State(Values),
    /// The state of a stage after the iteration, to be kept.
    Memory(u32, Values),
    /// A stage's part of a checkpoint is on disk, or isn't: JSON.
    Stored(Vec<u8>),
    /// The final weights of a stage.
    Weights(u32, Values),
    /// The final weights are written.
    Over,
}

/// A message of an iteration of a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The group's.
    pub epoch: u64,
    /// The iteration that it belongs to.
    pub iteration: u64,
    /// What is said.
    pub message: Message,
}

/// Numbers or JSON behind a header.
enum Body<'a> {
    Bytes(&'a [u8]),
    Numbers(&'a [f32]),
}

impl Message {
    /// Kind, the three small numbers, and the body.
    fn parts(&self) -> (u32, [u32; 3], Body<'_>) {
        let none = Body::Bytes(&[]);
        match self {
            Self::Status(json) => (1, [0; 3], Body::Bytes(json)),
            Self::Decision(json) => (2, [0; 3], Body::Bytes(json)),
            Self::Begun { stage, micro_batch, is_redone } => {
                (3, [*stage, *micro_batch, u32::from(*is_redone)], none)
            }
            Self::Activation(micro_batch, values) => {
                (4, [*micro_batch, 0, 0], Body::Numbers(values))
            }
            Self::Gradient(micro_batch, values) => (5, [*micro_batch, 0, 0], Body::Numbers(values)),
            Self::Sum(segment, node, values) => {
                (6, [*segment, node.level, node.index], Body::Numbers(values))
            }
            Self::Segment(segment, values) => (7, [*segment, 0, 0], Body::Numbers(values)),
            Self::Prepared => (8, [0; 3], none),
            Self::State(values) => (9, [0; 3], Body::Numbers(values)),
            Self::Memory(stage, values) => (10, [*stage, 0, 0], Body::Numbers(values)),
            Self::Stored(json) => (11, [0; 3], Body::Bytes(json)),
            Self::Weights(stage, values) => (12, [*stage, 0, 0], Body::Numbers(values)),
            Self::Over => (13, [0; 3], none),
        }
    }

    /// Bytes on the wire, header included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let body = match self.parts().2 {
            Body::Bytes(bytes) => bytes.len(),
            Body::Numbers(numbers) => 4 * numbers.len(),
        };
        (HEADER + body) as u64
    }
}

/// Writes a message, its body without copying it.
///
/// # Errors
/// What writing says.
pub fn write(stream: &mut impl Write, envelope: &Envelope) -> io::Result<()> {
    let (kind, small, body) = envelope.message.parts();
    let body = match body {
        Body::Bytes(bytes) => bytes,
        Body::Numbers(numbers) => bytemuck::cast_slice(numbers),
    };
    let mut header = Vec::with_capacity(HEADER);
    header.extend(MAGIC.to_le_bytes());
    header.extend(kind.to_le_bytes());
    header.extend(envelope.epoch.to_le_bytes());
    header.extend(envelope.iteration.to_le_bytes());
    small.iter().chain(&[0]).for_each(|number| header.extend(number.to_le_bytes()));
    header.extend((body.len() as u64).to_le_bytes());
    stream.write_all(&header)?;
    stream.write_all(body)?;
    stream.flush()
}

/// Reads a message whose numbers are at most `most_numbers`; `None` at the end of the stream.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what is no message or too long, before anything is allocated for
/// it. What else reading says.
pub fn read(stream: &mut impl Read, most_numbers: usize) -> io::Result<Option<Envelope>> {
    let mut header = [0; HEADER];
    let begun = stream.read(&mut header)?;
    if begun == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[begun..])?;
    let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
    if short(0) != MAGIC {
        return Err(invalid("a peer speaks another protocol".to_owned()));
    }
    let (kind, small, bytes) = (short(4), [short(24), short(28), short(32)], long(40));
    let message = match kind {
        1 | 2 | 11 => {
            if bytes > MOST_JSON {
                return Err(invalid(format!("{bytes} bytes of JSON are too many")));
            }
            let mut json = vec![0; bytes as usize];
            stream.read_exact(&mut json)?;
            with_json(kind, json)
        }
        3 | 8 | 13 if bytes == 0 => without_body(kind, small),
        4..=7 | 9 | 10 | 12 if bytes % 4 == 0 && bytes / 4 <= most_numbers as u64 => {
            let mut numbers = vec![0.0_f32; bytes as usize / 4];
            stream.read_exact(bytemuck::cast_slice_mut(&mut numbers))?;
            with_numbers(kind, small, numbers.into())
        }
        _ => return Err(invalid(format!("{bytes} bytes of kind {kind} can't be"))),
    };
    Ok(Some(Envelope { epoch: long(8), iteration: long(16), message }))
}

fn with_json(kind: u32, json: Vec<u8>) -> Message {
    match kind {
        1 => Message::Status(json),
        2 => Message::Decision(json),
        _ => Message::Stored(json),
    }
}

fn without_body(kind: u32, [stage, micro_batch, is_redone]: [u32; 3]) -> Message {
    match kind {
        3 => Message::Begun { stage, micro_batch, is_redone: is_redone != 0 },
        8 => Message::Prepared,
        _ => Message::Over,
    }
}

fn with_numbers(kind: u32, [a, level, index]: [u32; 3], numbers: Values) -> Message {
    match kind {
        4 => Message::Activation(a, numbers),
        5 => Message::Gradient(a, numbers),
        6 => Message::Sum(a, Node { level, index }, numbers),
        7 => Message::Segment(a, numbers),
        9 => Message::State(numbers),
        10 => Message::Memory(a, numbers),
        _ => Message::Weights(a, numbers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_come_as_they_were_sent() {
        let values = Values::part(&Arc::new(vec![0.0, 1.5, -2.5, 9.0]), 1..3);
        let messages = [
            Message::Status(b"{}".to_vec()),
            Message::Decision(b"[]".to_vec()),
            Message::Begun { stage: 1, micro_batch: 7, is_redone: true },
            Message::Activation(3, values.clone()),
            Message::Gradient(3, values.clone()),
            Message::Sum(2, Node { level: 1, index: 4 }, values.clone()),
            Message::Segment(2, values.clone()),
            Message::Prepared,
            Message::State(values.clone()),
            Message::Memory(1, values.clone()),
            Message::Stored(b"1".to_vec()),
            Message::Weights(1, values),
            Message::Over,
        ];
        let mut stream = Vec::new();
        for message in &messages {
            let envelope = Envelope { epoch: 7, iteration: 12, message: message.clone() };
            let before = stream.len();
            write(&mut stream, &envelope).unwrap();
            assert_eq!((stream.len() - before) as u64, message.bytes());
        }
        let mut reader = stream.as_slice();
        for message in messages {
            let expected = Envelope { epoch: 7, iteration: 12, message };
            assert_eq!(read(&mut reader, 2).unwrap(), Some(expected));
        }
        assert_eq!(read(&mut reader, 2).unwrap(), None);
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_allocated() {
        let message = Message::State(vec![1.0; 3].into());
        let mut stream = Vec::new();
        write(&mut stream, &Envelope { epoch: 1, iteration: 1, message }).unwrap();
        let error = read(&mut stream.as_slice(), 2).unwrap_err().to_string();
        assert_eq!(error, "12 bytes of kind 9 can't be");
        stream[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(read(&mut stream.as_slice(), usize::MAX / 8).is_err());
    }

    proptest! {
        #[test]
        fn garbage_is_borne(mut garbage in prop::collection::vec(any::<u8>(), 0..200), kind in 0_u8..16) {
            if garbage.len() > 8 {
                garbage[..4].copy_from_slice(&MAGIC.to_le_bytes());
                garbage[4..8].copy_from_slice(&[kind, 0, 0, 0]);
            }
            let _ = read(&mut garbage.as_slice(), 1000);
        }
    }
}
