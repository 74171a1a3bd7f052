//! Buffers that come back: an epoch takes the same shapes as the one before it, and fresh pages cost
//! more than the arithmetic on a small graph.

use super::Signals;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Signals that nobody uses at the moment.
#[derive(Debug, Default)]
pub struct Pool {
    free: Mutex<Vec<Signals>>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Signals of a shape, back in the pool when dropped. What a former user wrote is still there,
    /// with its padding zero.
    #[must_use]
    pub fn take(self: &Arc<Self>, n_rows: usize, n_columns: usize) -> Pooled {
        let mut free = self.free();
        let fits =
            |signals: &Signals| (signals.n_rows(), signals.n_columns()) == (n_rows, n_columns);
        let found = free.iter().rposition(fits).map(|position| free.swap_remove(position));
        drop(free);
        let signals = found.unwrap_or_else(|| Signals::zeroed(n_rows, n_columns));
        Pooled { signals, pool: Arc::clone(self) }
    }

    /// The list stays whole whatever a panicking holder did: pushes and removals don't panic halfway.
    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Signals>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Signals on loan from a [`Pool`].
#[derive(Debug)]
pub struct Pooled {
    signals: Signals,
    pool: Arc<Pool>,
}

impl Deref for Pooled {
    type Target = Signals;

    fn deref(&self) -> &Signals {
        &self.signals
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut Signals {
        &mut self.signals
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let signals = std::mem::replace(&mut self.signals, Signals::zeroed(0, 0));
        self.pool.free().push(signals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_lent_again() {
        let pool = Pool::new();
        let first = pool.take(4, 3);
        let second = pool.take(4, 3);
        let address = first.padded().as_ptr();
        assert_ne!(address, second.padded().as_ptr());
        drop(first);
        let other = pool.take(4, 4);
        let again = pool.take(4, 3);
        assert_eq!(again.padded().as_ptr(), address);
        assert_eq!((other.n_columns(), again.n_columns()), (4, 3));
    }
}
