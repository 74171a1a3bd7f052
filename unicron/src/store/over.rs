//! The end of a leadership: said once, with its reason, by whoever learns of it first.

use crate::{Error, Result};
use tokio::sync::watch;

/// Whether a leadership is over, and why.
#[derive(Debug)]
pub(super) struct Over(watch::Sender<Option<String>>);

impl Over {
    /// It is not.
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// It is over. The first reason stays.
    pub fn end(&self, reason: impl Into<String>) {
        self.0.send_if_modified(|over| {
            let is_first = over.is_none();
            if is_first {
                *over = Some(reason.into());
            }
            is_first
        });
    }

    /// Why it is over, once it is.
    pub async fn wait(&self) -> String {
        let mut over = self.0.subscribe();
        let over = over.wait_for(Option::is_some).await;
        over.expect("the sender is in self").clone().expect("it was waited for")
    }

    /// That it is not.
    pub fn check(&self, term: u64) -> Result<()> {
        match &*self.0.borrow() {
            Some(reason) => Err(Error::LeadershipOver { term, reason: reason.clone() }),
            None => Ok(()),
        }
    }
}
