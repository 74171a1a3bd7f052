//! A server of PyTorch's TCPStore: where the workers of a task meet.
//!
//! In torchrun, too, the store is the launcher's and no rank's, so that every rank may die. Here each agent
//! has one for each task; a group meets at its first member's. What peers put there for safe keeping
//! outlives their processes: checkpoints in memory are values of it.
//!
//! | what | file |
//! |---|---|
//! | queries and answers as bytes | [`wire`] |
//! | what it holds | [`table`] |
//!
//! As PyTorch's own, it knows no encryption and asks nobody for a name: it is for a network that its owner
//! trusts.

pub mod table;
pub mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use table::{Refusal, Table, Value};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use wire::{Query, Reader};

/// A store that is served until this is dropped.
#[derive(Debug)]
pub struct TcpStore {
    address: SocketAddr,
    table: Arc<Table>,
    server: JoinHandle<()>,
}

/// What is told to who waits.
const STOP_WAITING: u8 = 0;
const WAIT_CANCELED: u8 = 1;

impl TcpStore {
    /// Serves on a free port of `host`, holding at most so many bytes.
    ///
    /// # Errors
    /// If there is no such host here.
    pub fn open(host: &str, most_bytes: usize) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((host, 0))?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let table = Arc::new(Table::new(most_bytes));
        let server = tokio::spawn(serve(listener, Arc::clone(&table), most_bytes));
        Ok(Self { address, table, server })
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it holds.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }
}

impl Drop for TcpStore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, table: Arc<Table>, most_bytes: usize) {
    // Connections end with the server.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let table = Arc::clone(&table);
                    connections.spawn(async move {
                        // What breaks a connection is its client's matter, who sees it end.
                        let _ = converse(stream, &table, most_bytes).await;
                    });
                }
                // Too many files are open: others close theirs.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, table: &Table, most_bytes: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, writer) = stream.into_split();
    let mut queries = Reader::new(BufReader::new(reader), most_bytes);
    let mut answers = BufWriter::new(writer);
    while let Some(query) = queries.next().await? {
        match query {
            Query::Wait(keys) => wait(&mut queries, &mut answers, table, &keys).await?,
            query => answer(&mut answers, table, query).await?,
        }
        answers.flush().await?;
    }
    Ok(())
}

/// Answers when all keys are there, unless the client has something else to say before, or goes.
async fn wait(
    queries: &mut Reader<BufReader<OwnedReadHalf>>,
    answers: &mut BufWriter<OwnedWriteHalf>,
    table: &Table,
    keys: &[Vec<u8>],
) -> io::Result<()> {
    tokio::select! {
        biased;
        () = table.wait_for(keys) => answers.write_u8(STOP_WAITING).await,
        more = queries.stream().fill_buf() => match more? {
            [] => Err(io::ErrorKind::UnexpectedEof.into()),
            // The next query is read as any other: it says that the waiting is over.
            _ => Ok(()),
        },
    }
}

async fn answer(
    answers: &mut BufWriter<OwnedWriteHalf>,
    table: &Table,
    query: Query,
) -> io::Result<()> {
    match query {
        Query::Set(key, value) => table.set(&key, value.into()).map_err(refused),
        Query::MultiSet(pairs) => pairs
            .into_iter()
            .try_for_each(|(key, value)| table.set(&key, value.into()))
            .map_err(refused),
        Query::Append(key, more) => table.append(&key, &more).map_err(refused),
        Query::CompareSet(key, expected, new) => {
            let value = table.compare_set(&key, expected.into(), new.into()).map_err(refused)?;
            write(answers, &value).await
        }
        Query::Get(key) => write(answers, &existing(table, &key)?).await,
        Query::MultiGet(keys) => {
            for key in keys {
                write(answers, &existing(table, &key)?).await?;
            }
            Ok(())
        }
        Query::Add(key, delta) => {
            answers.write_i64_le(table.add(&key, delta).map_err(refused)?).await
        }
        Query::Check(keys) => answers.write_u8(u8::from(!table.has_all(&keys))).await,
        Query::Count => answers.write_i64_le(table.count() as i64).await,
        Query::Delete(key) => answers.write_i64_le(i64::from(table.delete(&key))).await,
        Query::CancelWait => answers.write_u8(WAIT_CANCELED).await,
        Query::Ping(number) => answers.write_u32_le(number).await,
        // The caller's.
        Query::Wait(_) => Ok(()),
    }
}

async fn write(answers: &mut BufWriter<OwnedWriteHalf>, value: &[u8]) -> io::Result<()> {
    answers.write_u64_le(value.len() as u64).await?;
    answers.write_all(value).await
}

/// PyTorch's clients wait for a key before they get it.
fn existing(table: &Table, key: &[u8]) -> io::Result<Value> {
    let none = || {
        let key = String::from_utf8_lossy(key);
        io::Error::new(io::ErrorKind::NotFound, format!("there is no key {key:?}"))
    };
    table.get(key).ok_or_else(none)
}

fn refused(refusal: Refusal) -> io::Error {
    let problem = match refusal {
        Refusal::Full => "the store is full",
        Refusal::NoNumber => "a number can only be added to a number",
    };
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn connect(store: &TcpStore) -> TcpStream {
        TcpStream::connect(("127.0.0.1", store.port())).await.unwrap()
    }

    #[tokio::test]
    async fn a_client_of_pytorch_1_13_gets_the_bytes_that_pytorch_answers() {
        let store = TcpStore::open("127.0.0.1", 1 << 20).unwrap();
        let mut client = connect(&store).await;
        // Recorded between PyTorch's own client and server.
        let set_and_wait =
            b"\0\x02\0\0\0\0\0\0\0/k\x01\0\0\0\0\0\0\0v\x05\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0/k";
        let exchanges: [(&[u8], &[u8]); 8] = [
            (set_and_wait, b"\0"),
            (b"\x02\x02\0\0\0\0\0\0\0/k", b"\x01\0\0\0\0\0\0\0v"),
            (b"\x03\x02\0\0\0\0\0\0\0/n\x03\0\0\0\0\0\0\0", b"\x03\0\0\0\0\0\0\0"),
            (b"\x03\x02\0\0\0\0\0\0\0/n\x04\0\0\0\0\0\0\0", b"\x07\0\0\0\0\0\0\0"),
            (
                b"\x01\x02\0\0\0\0\0\0\0/y\x01\0\0\0\0\0\0\0q\x01\0\0\0\0\0\0\0w",
                b"\x01\0\0\0\0\0\0\0q",
            ),
            (b"\x06", b"\x02\0\0\0\0\0\0\0"),
            (b"\x08\x02\0\0\0\0\0\0\0/k", b"\x01\0\0\0\0\0\0\0"),
            (b"\x08\x05\0\0\0\0\0\0\0/nope", b"\0\0\0\0\0\0\0\0"),
        ];
        for (query, expected) in exchanges {
            client.write_all(query).await.unwrap();
            let mut answer = vec![0; expected.len()];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, expected, "{query:?}");
        }
    }

    #[tokio::test]
    async fn a_wait_ends_with_the_key_and_may_be_cancelled() {
        let store = TcpStore::open("127.0.0.1", 1 << 20).unwrap();
        let mut client = connect(&store).await;
        let wait = b"\x05\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k";
        client.write_all(wait).await.unwrap();
        client.write_all(&[12]).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), WAIT_CANCELED);
        client.write_all(wait).await.unwrap();
        store.table().set(b"k", b"v".as_slice().into()).unwrap();
        assert_eq!(client.read_u8().await.unwrap(), STOP_WAITING);
    }

    #[tokio::test]
    async fn whoever_breaks_the_protocol_is_left_and_others_stay() {
        let store = TcpStore::open("127.0.0.1", 64).unwrap();
        let mut good = connect(&store).await;
        let too_large = [b"\0\x01\0\0\0\0\0\0\0k\x40\0\0\0\0\0\0\0".as_slice(), &[7; 64]].concat();
        for garbage in [&b"\xff\xff"[..], b"\x02\x01\0\0\0\0\0\0\0x", &too_large] {
            let mut bad = connect(&store).await;
            bad.write_all(garbage).await.unwrap();
            let mut nothing = [0];
            let ended = tokio::time::timeout(Duration::from_secs(5), bad.read(&mut nothing)).await;
            assert_eq!(ended.expect("the connection ends").unwrap_or(0), 0, "{garbage:?}");
        }
        good.write_all(b"\x03\x01\0\0\0\0\0\0\0n\x01\0\0\0\0\0\0\0").await.unwrap();
        assert_eq!(good.read_i64_le().await.unwrap(), 1);
        let port = store.port();
        drop(store);
        assert_eq!(good.read(&mut [0]).await.unwrap_or(0), 0, "its connections end with it");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    }
}
