//! Memory that is written once and then read from end to end for each token.
//!
//! Products with a single row are as fast as memory is, and a core that looks up a page every 4 KiB reads a quarter
//! less than one that does so every 2 MiB. Linux gives huge pages to mappings that ask for them.

use memmap2::MmapMut;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes of a huge page, where one begins.
const HUGE_PAGE: usize = 2 << 20;
/// Smaller memory is the allocator's. What is mapped goes back to the system at once when matrices have been gathered,
/// while an allocator may keep it.
const LEAST_MAPPED: usize = 32 << 10;

/// Bytes that may be written while nobody shares them, and be read by all threads. At first they are zeros.
#[derive(Debug, Clone)]
pub struct Storage {
    memory: Arc<Memory>,
    range: Range<usize>,
}

#[derive(Debug)]
enum Memory {
    /// From whole huge pages on, from the first that begins in the mapping on.
    Mapped {
        map: MmapMut,
        first: usize,
    },
    Lines(Vec<Line>),
}

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Storage {
    /// So many zeros from a multiple of 64 bytes on, in huge pages if they fill one.
    pub fn zeroed(bytes: usize) -> Storage {
        let lines = || Memory::Lines(vec![Line([0; 64]); bytes.div_ceil(64)]);
        let memory = Memory::mapped(bytes).unwrap_or_else(lines);
        Storage { memory: Arc::new(memory), range: 0..bytes }
    }

    /// The bytes, to be written; `None` if they are shared.
    pub fn get_mut(&mut self) -> Option<&mut [u8]> {
        let bytes = match Arc::get_mut(&mut self.memory)? {
            Memory::Mapped { map, first } => &mut map[*first..],
            Memory::Lines(lines) => {
                let (pointer, n_bytes) = (lines.as_mut_ptr().cast::<u8>(), lines.len() * 64);
                // SAFETY: lines are bytes without gaps, borrowed as long as the slice is.
                unsafe { std::slice::from_raw_parts_mut(pointer, n_bytes) }
            }
        };
        Some(&mut bytes[self.range.clone()])
    }

    /// Moves many into one, side by side in their order, so that those smaller than a huge page get huge pages, too.
    /// At no time is much more memory used than that of all and the largest of them.
    pub fn gather<'a>(parts: impl IntoIterator<Item = &'a mut Storage>) {
        let mut parts: Vec<&mut Storage> = parts.into_iter().collect();
        let places = parts.iter().scan(0, |end: &mut usize, part| {
            let first = end.next_multiple_of(64);
            *end = first + part.len();
            Some(first..*end)
        });
        let places: Vec<Range<usize>> = places.collect();
        let mut whole = Storage::zeroed(places.last().map_or(0, |place| place.end));
        let bytes = whole.get_mut().expect("new memory isn't shared");
        for (part, place) in parts.iter_mut().zip(&places) {
            bytes[place.clone()].copy_from_slice(part);
            **part = Storage::zeroed(0);
        }
        for (part, range) in parts.into_iter().zip(places) {
            *part = Storage { memory: Arc::clone(&whole.memory), range };
        }
    }
}

impl Memory {
    /// A mapping, or `None` if so few bytes don't need one or the system has none.
    fn mapped(bytes: usize) -> Option<Memory> {
        if !cfg!(target_os = "linux") || bytes < LEAST_MAPPED {
            return None;
        }
        if bytes < HUGE_PAGE {
            return Some(Memory::Mapped { map: MmapMut::map_anon(bytes).ok()?, first: 0 });
        }
        // As much again as makes the first of them begin a huge page: what isn't touched takes no memory.
        let map = MmapMut::map_anon(bytes.checked_add(HUGE_PAGE)?).ok()?;
        #[cfg(target_os = "linux")]
        // Without huge pages it's slower, and no less right.
        let _ = map.advise(memmap2::Advice::HugePage);
        let first = map.as_ptr().align_offset(HUGE_PAGE);
        Some(Memory::Mapped { map, first })
    }
}

impl Deref for Storage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = match &*self.memory {
            Memory::Mapped { map, first } => &map[*first..],
            Memory::Lines(lines) => {
                // SAFETY: lines are bytes without gaps, borrowed as long as the slice is.
                unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 64) }
            }
        };
        &bytes[self.range.clone()]
    }
}
