//! What a store holds: keys and values, and who waits for a key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A value. Checkpoints are large, and several connections may send one at a time.
pub type Value = Arc<[u8]>;

/// Keys and values within a bound on their bytes.
#[derive(Debug)]
pub struct Table {
    inner: Mutex<Inner>,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    values: HashMap<Vec<u8>, Value>,
    bytes: usize,
    /// Those who wait for keys that aren't there.
    awaited: HashMap<Vec<u8>, Arc<Notify>>,
}

/// Why something can't be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It would hold more than it may.
    Full,
    /// Something is added to a value that is no number.
    NoNumber,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(most_bytes: usize) -> Self {
        Self { inner: Mutex::new(Inner::default()), most_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole when a panic could happen.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a key; whoever waits for it goes on.
    ///
    /// # Errors
    /// [`Refusal::Full`].
    pub fn set(&self, key: &[u8], value: Value) -> Result<(), Refusal> {
        self.lock().set(key, value, self.most_bytes)
    }

    /// A key's value.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        self.lock().values.get(key).cloned()
    }

    /// Sets a key if its value is as expected, or if it isn't there and nothing is expected. Answers what
    /// it is then, or what was expected of a key that isn't there, as PyTorch's server does.
    ///
    /// # Errors
    /// [`Refusal::Full`].
    pub fn compare_set(&self, key: &[u8], expected: Value, new: Value) -> Result<Value, Refusal> {
        let mut inner = self.lock();
        let is_as_expected = match inner.values.get(key) {
            None if !expected.is_empty() => return Ok(expected),
            None => true,
            Some(value) if *value != expected => return Ok(Arc::clone(value)),
            Some(_) => true,
        };
        if is_as_expected {
            inner.set(key, Arc::clone(&new), self.most_bytes)?;
        }
        Ok(new)
    }

    /// Adds to a decimal number; one that isn't there is 0.
    ///
    /// # Errors
    /// [`Refusal::NoNumber`], also if the sum is out of range, and [`Refusal::Full`].
    pub fn add(&self, key: &[u8], delta: i64) -> Result<i64, Refusal> {
        let mut inner = self.lock();
        let old = inner
            .values
            .get(key)
            .map_or(Some(0), |value| std::str::from_utf8(value).ok()?.trim().parse::<i64>().ok());
        let sum = old.and_then(|old| old.checked_add(delta)).ok_or(Refusal::NoNumber)?;
        inner.set(key, sum.to_string().into_bytes().into(), self.most_bytes)?;
        Ok(sum)
    }

    /// Appends to a value.
    ///
    /// # Errors
    /// [`Refusal::Full`].
    pub fn append(&self, key: &[u8], more: &[u8]) -> Result<(), Refusal> {
        let mut inner = self.lock();
        let old = inner.values.get(key).cloned().unwrap_or_default();
        let value: Vec<u8> = [&*old, more].concat();
        inner.set(key, value.into(), self.most_bytes)
    }

    /// Removes a key; whether it was there.
    pub fn delete(&self, key: &[u8]) -> bool {
        let mut inner = self.lock();
        let old = inner.values.remove(key);
        inner.bytes -= old.as_ref().map_or(0, |value| key.len() + value.len());
        old.is_some()
    }

    /// Removes what is of no use any more.
    pub fn retain(&self, is_kept: impl Fn(&[u8]) -> bool) {
        let mut inner = self.lock();
        inner.values.retain(|key, _| is_kept(key));
        inner.bytes = inner.values.iter().map(|(key, value)| key.len() + value.len()).sum();
    }

    /// How many keys there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().values.len()
    }

    /// Whether all of some keys are there.
    #[must_use]
    pub fn has_all(&self, keys: &[Vec<u8>]) -> bool {
        let inner = self.lock();
        keys.iter().all(|key| inner.values.contains_key(key))
    }

    /// Waits until all of some keys are there. It may be given up at any time.
    pub async fn wait_for(&self, keys: &[Vec<u8>]) {
        for key in keys {
            loop {
                let waiting = {
                    let mut inner = self.lock();
                    if inner.values.contains_key(key) {
                        break;
                    }
                    let notify = Arc::clone(inner.awaited.entry(key.clone()).or_default());
                    // Registered before the lock is let go, so that no set is missed.
                    let mut notified = Box::pin(notify.notified_owned());
                    notified.as_mut().enable();
                    notified
                };
                waiting.await;
            }
        }
    }
}

impl Inner {
    fn set(&mut self, key: &[u8], value: Value, most_bytes: usize) -> Result<(), Refusal> {
        let old = self.values.get(key).map_or(0, |old| key.len() + old.len());
        let bytes = self.bytes - old + key.len() + value.len();
        if bytes > most_bytes {
            return Err(Refusal::Full);
        }
        self.bytes = bytes;
        self.values.insert(key.to_owned(), value);
        if let Some(waiting) = self.awaited.remove(key) {
            waiting.notify_waiters();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn value(text: &str) -> Value {
        text.as_bytes().into()
    }

    #[test]
    fn compare_set_answers_as_pytorch_does() {
        let table = Table::new(1000);
        let set = |expected: &str, new: &str| {
            table.compare_set(b"key", value(expected), value(new)).unwrap()
        };
        assert_eq!(set("old", "new"), value("old"), "there is none, and one was expected");
        assert_eq!(set("", "first"), value("first"));
        assert_eq!(set("other", "second"), value("first"));
        assert_eq!(set("first", "second"), value("second"));
        assert_eq!(table.get(b"key"), Some(value("second")));
    }

    #[test]
    fn numbers_are_added_and_nothing_else() {
        let table = Table::new(1000);
        assert_eq!(table.add(b"n", 3), Ok(3));
        assert_eq!(table.add(b"n", -5), Ok(-2));
        assert_eq!(table.get(b"n"), Some(value("-2")));
        table.set(b"n", value("many")).unwrap();
        assert_eq!(table.add(b"n", 1), Err(Refusal::NoNumber));
        table.set(b"n", value(&i64::MAX.to_string())).unwrap();
        assert_eq!(table.add(b"n", 1), Err(Refusal::NoNumber));
    }

    #[test]
    fn what_it_holds_is_bounded_and_counted() {
        let table = Table::new(10);
        table.set(b"abc", value("1234567")).unwrap();
        assert_eq!(table.set(b"d", value("")), Err(Refusal::Full));
        table.set(b"abc", value("1")).unwrap();
        table.append(b"abc", b"23").unwrap();
        assert_eq!(table.append(b"abc", b"45678"), Err(Refusal::Full));
        assert!(table.delete(b"abc") && !table.delete(b"abc"));
        table.set(b"abc", value("1234567")).unwrap();
        table.retain(|key| key.starts_with(b"x"));
        assert_eq!(table.count(), 0);
        table.set(b"abc", value("1234567")).unwrap();
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_all_keys_are_there() {
        let table = Arc::new(Table::new(1000));
        let keys = [b"a".to_vec(), b"b".to_vec()];
        let waiting = tokio::spawn({
            let (table, keys) = (Arc::clone(&table), keys.clone());
            async move { table.wait_for(&keys).await }
        });
        table.set(b"b", value("1")).unwrap();
        assert!(!table.has_all(&keys));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        table.add(b"a", 1).unwrap();
        waiting.await.unwrap();
        assert!(table.has_all(&keys));
    }
}
