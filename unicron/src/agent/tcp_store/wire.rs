//! PyTorch's TCPStore on the wire: a byte that says what is asked, then numbers of this machine's order,
//! and strings with their lengths before them.
//!
//! There are two dialects. Up to 2.0 a connection begins with its first query; from 2.2 on with a number
//! that validates it, and the queries are numbered otherwise. The first bytes tell them apart: the first
//! query of the older dialect is 0 with a key's length, which is never as large as that number.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Which numbers queries have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PyTorch 1.8 to 2.0.
    Plain,
    /// PyTorch 2.2 and later.
    Validated,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Nothing is answered.
    Set(Vec<u8>, Vec<u8>),
    /// Key, expected, new.
    CompareSet(Vec<u8>, Vec<u8>, Vec<u8>),
    /// The value, of a key that is there.
    Get(Vec<u8>),
    /// The sum.
    Add(Vec<u8>, i64),
    /// Whether all are there.
    Check(Vec<Vec<u8>>),
    /// Answered when all are there.
    Wait(Vec<Vec<u8>>),
    /// How many keys there are.
    Count,
    /// How many were there.
    Delete(Vec<u8>),
    /// Nothing is answered.
    Append(Vec<u8>, Vec<u8>),
    /// All values.
    MultiGet(Vec<Vec<u8>>),
    /// Nothing is answered.
    MultiSet(Vec<(Vec<u8>, Vec<u8>)>),
    /// No longer to wait.
    CancelWait,
    /// The same number again.
    Ping(u32),
}

/// What the newer dialect begins with.
const VALIDATION: u32 = 0x3C85_F7CE;

/// Bytes of the longest key. PyTorch's have a hundred.
const MOST_KEY_BYTES: u64 = 16 * 1024;

/// Keys of one query.
const MOST_KEYS: u64 = 64 * 1024;

/// Memory that is taken on a length's word before its bytes come.
const AT_ONCE: u64 = 1024 * 1024;

fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

/// Reads queries of one connection.
#[derive(Debug)]
pub struct Reader<R> {
    stream: R,
    dialect: Option<Dialect>,
    /// Bytes of the longest value.
    most_bytes: u64,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Of a connection of which nothing was read.
    pub fn new(stream: R, most_bytes: usize) -> Self {
        Self { stream, dialect: None, most_bytes: most_bytes as u64 }
    }

    /// What the queries are read from.
    pub fn stream(&mut self) -> &mut R {
        &mut self.stream
    }

    /// The next query; `None` at the end of the connection.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] for what is no query, or too large; what reading says.
    pub async fn next(&mut self) -> io::Result<Option<Query>> {
        let code = match self.stream.read_u8().await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            code => code?,
        };
        match (self.dialect, code) {
            (None, 0) => self.first().await,
            (None, code) => {
                self.dialect = Some(Dialect::Plain);
                self.query(code).await.map(Some)
            }
            // The numbers up to 8 are one higher where 0 validates.
            (Some(Dialect::Validated), code @ 1..8) => self.query(code - 1).await.map(Some),
            (Some(Dialect::Validated), 0) => Err(invalid("it is validated a second time")),
            (Some(_), code) => self.query(code).await.map(Some),
        }
    }

    /// A first byte of 0.
    async fn first(&mut self) -> io::Result<Option<Query>> {
        let low = self.stream.read_u32_le().await?;
        if low == VALIDATION {
            self.dialect = Some(Dialect::Validated);
            return Box::pin(self.next()).await;
        }
        self.dialect = Some(Dialect::Plain);
        let high = self.stream.read_u32_le().await?;
        let key = self.bytes(u64::from(high) << 32 | u64::from(low), MOST_KEY_BYTES).await?;
        Ok(Some(Query::Set(key, self.value().await?)))
    }

    /// A query by its number in the older dialect.
    async fn query(&mut self, code: u8) -> io::Result<Query> {
        Ok(match code {
            0 => Query::Set(self.key().await?, self.value().await?),
            1 => Query::CompareSet(self.key().await?, self.value().await?, self.value().await?),
            2 => Query::Get(self.key().await?),
            3 => Query::Add(self.key().await?, self.stream.read_i64_le().await?),
            4 => Query::Check(self.keys().await?),
            5 => Query::Wait(self.keys().await?),
            6 => Query::Count,
            8 => Query::Delete(self.key().await?),
            9 => Query::Append(self.key().await?, self.value().await?),
            10 => Query::MultiGet(self.keys().await?),
            11 => {
                let mut pairs = Vec::new();
                for _ in 0..self.count().await? {
                    pairs.push((self.key().await?, self.value().await?));
                }
                Query::MultiSet(pairs)
            }
            12 => Query::CancelWait,
            13 => Query::Ping(self.stream.read_u32_le().await?),
            code => return Err(invalid(format!("{code} is no query that is known here"))),
        })
    }

    async fn count(&mut self) -> io::Result<u64> {
        match self.stream.read_u64_le().await? {
            count @ 0..=MOST_KEYS => Ok(count),
            count => Err(invalid(format!("{count} keys; at most {MOST_KEYS}"))),
        }
    }

    async fn keys(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        for _ in 0..self.count().await? {
            keys.push(self.key().await?);
        }
        Ok(keys)
    }

    async fn key(&mut self) -> io::Result<Vec<u8>> {
        let length = self.stream.read_u64_le().await?;
        self.bytes(length, MOST_KEY_BYTES).await
    }

    async fn value(&mut self) -> io::Result<Vec<u8>> {
        let length = self.stream.read_u64_le().await?;
        self.bytes(length, self.most_bytes).await
    }

    async fn bytes(&mut self, length: u64, most: u64) -> io::Result<Vec<u8>> {
        if length > most {
            return Err(invalid(format!("{length} bytes; at most {most}")));
        }
        let mut bytes = Vec::with_capacity(length.min(AT_ONCE) as usize);
        let read = (&mut self.stream).take(length).read_to_end(&mut bytes).await?;
        match read as u64 == length {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    async fn queries(bytes: &[u8]) -> io::Result<Vec<Query>> {
        let mut reader = Reader::new(bytes, 1000);
        let mut queries = Vec::new();
        while let Some(query) = reader.next().await? {
            queries.push(query);
        }
        Ok(queries)
    }

    fn string(text: &str) -> Vec<u8> {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    fn key(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[tokio::test]
    async fn both_dialects_are_understood() {
        let expected =
            [Query::Set(key("/k"), key("v")), Query::Wait(vec![key("/k")]), Query::Count];
        let set = [string("/k"), string("v")].concat();
        let wait = [1u64.to_le_bytes().to_vec(), string("/k")].concat();
        let plain = [vec![0], set.clone(), vec![5], wait.clone(), vec![6]].concat();
        assert_eq!(queries(&plain).await.unwrap(), expected);
        let hello = [vec![0], VALIDATION.to_le_bytes().to_vec()].concat();
        let validated = [hello, vec![1], set, vec![6], wait, vec![7]].concat();
        assert_eq!(queries(&validated).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn lengths_are_checked_before_memory_is_taken() {
        let huge = [vec![2], u64::MAX.to_le_bytes().to_vec()].concat();
        let error = queries(&huge).await.unwrap_err().to_string();
        assert_eq!(error, format!("{} bytes; at most {MOST_KEY_BYTES}", u64::MAX));
        let value = [vec![9], string("k"), 1001u64.to_le_bytes().to_vec()].concat();
        assert_eq!(queries(&value).await.unwrap_err().to_string(), "1001 bytes; at most 1000");
        let many = [vec![4], u64::MAX.to_le_bytes().to_vec()].concat();
        assert!(queries(&many).await.unwrap_err().to_string().contains("keys; at most"));
        assert!(queries(&[77]).await.unwrap_err().to_string().starts_with("77 is no query"));
    }

    proptest! {
        #[test]
        fn garbage_is_borne(garbage in prop::collection::vec(any::<u8>(), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(queries(&garbage));
        }
    }
}
