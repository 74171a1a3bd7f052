//! The store of a coordinator that has no others beside it: one file, which the operating system lets one
//! process open.
//!
//! With nobody to wait for, a campaign is won at once, and leadership is only lost by resigning.

mod database;

use super::over::Over;
use super::{Change, Event, Leadership, MOST_EVENTS_READ, Store};
use crate::{Error, Result};
use database::Database;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedMutexGuard, watch};

/// The file's name in its folder.
pub const FILE_NAME: &str = "coordinator.redb";

/// What to do about a file that is there and can't be used.
const DAMAGED: &str = "restore a backup, or move it away and start with nothing";

/// A store in a file of the coordinator's own.
#[derive(Debug)]
pub struct Embedded {
    database: Arc<Database>,
    /// Whoever leads holds it.
    seat: Arc<tokio::sync::Mutex<()>>,
    leader: Arc<watch::Sender<Option<String>>>,
}

impl Embedded {
    /// Opens the store in `folder`, or makes a new one. At least the newest `kept_events` are kept.
    ///
    /// # Errors
    /// [`Error::Store`] if another process has it open or it is damaged; [`Error::Io`] for what the
    /// operating system says of the folder.
    pub async fn open(folder: &Path, kept_events: u64) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let database =
            blocking(path.display().to_string(), move || Database::open(path, kept_events)).await?;
        Ok(Self {
            database: Arc::new(database),
            seat: Arc::default(),
            leader: Arc::new(watch::Sender::new(None)),
        })
    }
}

/// Runs what reads or writes the file on a thread that may wait for it.
async fn blocking<T: Send + 'static>(
    store: String,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    // The database's library panics on some damaged files.
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Error::Store { store, problem: format!("it can't be read: {DAMAGED}") })
    })
}

async fn on<T: Send + 'static>(
    database: &Arc<Database>,
    work: impl FnOnce(&Database) -> Result<T> + Send + 'static,
) -> Result<T> {
    let database = Arc::clone(database);
    blocking(database.name(), move || work(&database)).await
}

#[tonic::async_trait]
impl Store for Embedded {
    async fn load(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let prefix = prefix.to_owned();
        on(&self.database, move |database| database.load(&prefix)).await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>> {
        let limit = limit.min(MOST_EVENTS_READ);
        on(&self.database, move |database| database.events(after, limit)).await
    }

    async fn leader(&self) -> Result<Option<String>> {
        Ok(self.leader.borrow().clone())
    }

    async fn campaign(&self, identity: &str, _ttl: Duration) -> Result<Box<dyn Leadership>> {
        let seat = Arc::clone(&self.seat).lock_owned().await;
        let term = on(&self.database, Database::lead).await?;
        self.leader.send_replace(Some(identity.to_owned()));
        let seat = Seat { _held: seat, leader: Arc::clone(&self.leader) };
        Ok(Box::new(Reign {
            term,
            database: Arc::clone(&self.database),
            seat: Mutex::new(Some(seat)),
            over: Over::new(),
        }))
    }
}

/// The one place at the head, left when this is dropped.
#[derive(Debug)]
struct Seat {
    _held: OwnedMutexGuard<()>,
    leader: Arc<watch::Sender<Option<String>>>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leader.send_replace(None);
    }
}

#[derive(Debug)]
struct Reign {
    term: u64,
    database: Arc<Database>,
    seat: Mutex<Option<Seat>>,
    over: Over,
}

#[tonic::async_trait]
impl Leadership for Reign {
    fn term(&self) -> u64 {
        self.term
    }

    async fn lost(&self) -> String {
        self.over.wait().await
    }

    async fn commit(&self, change: Change) -> Result<u64> {
        change.check()?;
        self.over.check(self.term)?;
        let term = self.term;
        on(&self.database, move |database| database.commit(term, &change)).await
    }

    async fn resign(&self) -> Result<()> {
        self.over.end("it was resigned");
        self.seat.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}
