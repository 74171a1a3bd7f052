//! A growable buffer whose first element sits on a cache line.
//!
//! `Vec<T>` aligns to `T` only; vector loads that never straddle a line, and packed rows that two
//! threads may write side by side, want 64 bytes. The buffer is made of whole cache lines and is
//! viewed as `T` by bytemuck, so no allocator call of our own and no `unsafe` is needed.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

/// One cache line of every machine we run on; also the width of an AVX-512 register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; AlignedBuf::<u8>::ALIGNMENT]);

// SAFETY: a `Line` is 64 plain bytes with 64-byte alignment: no padding, every bit pattern valid.
unsafe impl Zeroable for Line {}
// SAFETY: as above; it is `Copy`, `repr(C)` and has no interior pointers.
unsafe impl Pod for Line {}

/// Zero-initialised memory for `len` values of `T`, aligned to 64 bytes.
///
/// It dereferences to `[T]`, so indexing, iteration and slicing are those of a slice.
#[derive(Clone)]
pub struct AlignedBuf<T> {
    lines: Vec<Line>,
    len: usize,
    element: PhantomData<T>,
}

impl<T> AlignedBuf<T> {
    /// The alignment of the first element, in bytes.
    pub const ALIGNMENT: usize = 64;
}

impl<T: Pod> AlignedBuf<T> {
    /// An empty buffer; it allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(align_of::<T>() <= Self::ALIGNMENT && size_of::<T>() > 0) };
        Self { lines: Vec::new(), len: 0, element: PhantomData }
    }

    /// A buffer of `len` zeros.
    ///
    /// # Panics
    /// If `len` values take more bytes than the address space has.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let mut buf = Self::new();
        buf.grow(len);
        buf
    }

    /// Makes the buffer at least `len` values long; what it held stays, what is new is zero.
    /// A buffer that is long enough already is left as it is.
    ///
    /// # Panics
    /// If `len` values take more bytes than the address space has.
    pub fn grow(&mut self, len: usize) {
        if len <= self.len {
            return;
        }
        let bytes = len.checked_mul(size_of::<T>()).expect("the length fits the address space");
        self.lines.resize(bytes.div_ceil(Self::ALIGNMENT), Line::zeroed());
        self.len = len;
    }

    /// Bytes that the buffer occupies: its values, rounded up to whole cache lines. Room that was
    /// reserved for further growth is not counted.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.lines.len() * Self::ALIGNMENT
    }
}

impl<T: Pod> Default for AlignedBuf<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Pod> From<&[T]> for AlignedBuf<T> {
    fn from(values: &[T]) -> Self {
        let mut buf = Self::zeroed(values.len());
        buf.copy_from_slice(values);
        buf
    }
}

impl<T: Pod> Deref for AlignedBuf<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let bytes: &[u8] = bytemuck::cast_slice(&self.lines);
        bytemuck::cast_slice(&bytes[..self.len * size_of::<T>()])
    }
}

impl<T: Pod> DerefMut for AlignedBuf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.lines);
        bytemuck::cast_slice_mut(&mut bytes[..self.len * size_of::<T>()])
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for AlignedBuf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Pod + PartialEq> PartialEq for AlignedBuf<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_aligned<T: Pod>(buf: &AlignedBuf<T>) -> bool {
        buf.as_ptr().addr().is_multiple_of(AlignedBuf::<T>::ALIGNMENT)
    }

    #[test]
    fn an_empty_buffer_is_an_empty_slice() {
        let mut buf = AlignedBuf::<f32>::new();
        assert!(buf.is_empty() && buf.size_bytes() == 0);
        assert!(buf.iter_mut().next().is_none());
    }

    #[test]
    fn elements_that_do_not_divide_a_line_are_kept_apart() {
        let values: Vec<[u8; 3]> = (0..50).map(|i| [i, i + 1, i + 2]).collect();
        let buf = AlignedBuf::from(values.as_slice());
        assert_eq!(&*buf, values.as_slice());
        assert_eq!(buf.size_bytes(), 192);
    }

    #[test]
    #[should_panic(expected = "fits the address space")]
    fn an_impossible_length_is_refused() {
        let _ = AlignedBuf::<f64>::zeroed(usize::MAX / 4);
    }

    proptest! {
        #[test]
        fn growing_keeps_the_old_values_and_zeroes_the_new(
            values in prop::collection::vec(any::<u32>(), 0..200),
            len in 0usize..400,
        ) {
            let mut buf = AlignedBuf::from(values.as_slice());
            buf.grow(len);
            prop_assert_eq!(buf.len(), len.max(values.len()));
            prop_assert_eq!(&buf[..values.len()], values.as_slice());
            prop_assert!(buf[values.len()..].iter().all(|&value| value == 0));
            prop_assert!(buf.is_empty() || is_aligned(&buf));
        }
    }
}
