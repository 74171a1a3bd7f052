//! The file: state by key, events by number, and the head, in a `redb` database, whose transactions are on
//! disk when they return.

use crate::store::head::Head;
use crate::store::{Change, Event};
use crate::{Error, Result};
use redb::{Builder, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const HEAD: TableDefinition<'_, (), &[u8]> = TableDefinition::new("head");

/// Bytes of the file that are kept in memory. The whole state of a large cluster is less.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// What a transaction says: what it gives, unless the database fails.
type Transaction<T> = std::result::Result<T, redb::Error>;

#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    kept_events: u64,
    /// None after the disk has failed: the library wants it opened anew.
    open: Mutex<Option<redb::Database>>,
}

impl Database {
    pub fn open(path: PathBuf, kept_events: u64) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let database = Self { path, kept_events, open: Mutex::new(None) };
        // The tables are made, so that reading finds them.
        database.with(|open| {
            let transaction = open.begin_write()?;
            transaction.open_table(STATE)?;
            transaction.open_table(EVENTS)?;
            transaction.open_table(HEAD)?;
            Ok(transaction.commit()?)
        })?;
        // A new file is in its folder for good only when the folder is on disk, too.
        if let Some(folder) = database.path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))?;
        }
        Ok(database)
    }

    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Begins a leadership.
    pub fn lead(&self) -> Result<u64> {
        self.with(|open| {
            let transaction = open.begin_write()?;
            let head = match self.head(&transaction.open_table(HEAD)?)? {
                Ok(head) => head.led(),
                Err(error) => return Ok(Err(error)),
            };
            transaction.open_table(HEAD)?.insert((), head.write().as_slice())?;
            transaction.commit()?;
            Ok(Ok(head.term))
        })?
    }

    /// Makes a change, if `term` is the newest.
    pub fn commit(&self, term: u64, change: &Change) -> Result<u64> {
        self.with(|open| {
            let transaction = open.begin_write()?;
            let head = match self.head(&transaction.open_table(HEAD)?)? {
                Ok(head) if head.term == term => head,
                Ok(head) => {
                    let reason = format!("term {} has begun", head.term);
                    return Ok(Err(Error::LeadershipOver { term, reason }));
                }
                Err(error) => return Ok(Err(error)),
            };
            let appended = change.events.len() as u64;
            let next = head.committed(head.commit + 1, appended, self.kept_events);
            transaction.open_table(HEAD)?.insert((), next.write().as_slice())?;
            let mut state = transaction.open_table(STATE)?;
            for (key, value) in &change.writes {
                match value {
                    Some(value) => state.insert(key.as_str(), value.as_slice())?,
                    None => state.remove(key.as_str())?,
                };
            }
            let mut events = transaction.open_table(EVENTS)?;
            for (sequence, event) in (head.last + 1..).zip(&change.events) {
                events.insert(sequence, event.as_slice())?;
            }
            for sequence in head.first..next.first {
                events.remove(sequence)?;
            }
            drop((state, events));
            transaction.commit()?;
            Ok(Ok(next.last))
        })?
    }

    pub fn load(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        self.with(|open| {
            let state = open.begin_read()?.open_table(STATE)?;
            let mut found = Vec::new();
            for entry in state.range(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_owned(), value.value().to_owned()));
            }
            Ok(found)
        })
    }

    pub fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>> {
        self.with(|open| {
            let events = open.begin_read()?.open_table(EVENTS)?;
            let mut found = Vec::new();
            for entry in events.range(after.saturating_add(1)..)?.take(limit) {
                let (sequence, body) = entry?;
                found.push(Event { sequence: sequence.value(), body: body.value().to_owned() });
            }
            Ok(found)
        })
    }

    fn head(&self, table: &impl ReadableTable<(), &'static [u8]>) -> Transaction<Result<Head>> {
        let stored = table.get(())?;
        Ok(Head::read(stored.as_ref().map(|stored| stored.value()), &self.name()))
    }

    /// Works on the file, one at a time. After an error it is opened anew the next time: the library
    /// refuses everything once the disk has failed, a full one for example, and a full disk gets space.
    fn with<T>(&self, work: impl FnOnce(&redb::Database) -> Transaction<T>) -> Result<T> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match open.take() {
            Some(database) => database,
            None => self.open_file()?,
        };
        let worked = work(&database).map_err(|error| self.failed(&error))?;
        *open = Some(database);
        Ok(worked)
    }

    fn open_file(&self) -> Result<redb::Database> {
        // A file that something else has altered is found here, not by a panic later.
        let opened = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create(&self.path);
        opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => self.error(
                "another coordinator has it open: stop that one, or give this one a folder of its own",
            ),
            error => self.failed(&error.into()),
        })
    }

    fn failed(&self, error: &redb::Error) -> Error {
        let is_the_disk = match error {
            // The library's word for a file that is none of its own.
            redb::Error::Io(error) => error.kind() != ErrorKind::InvalidData,
            redb::Error::PreviousIo => true,
            _ => false,
        };
        let advice = if is_the_disk { "look at its disk" } else { super::DAMAGED };
        self.error(&format!("{error}: {advice}"))
    }

    fn error(&self, problem: &str) -> Error {
        Error::Store { store: self.name(), problem: problem.to_owned() }
    }
}
