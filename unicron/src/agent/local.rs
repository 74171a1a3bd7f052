//! The conversation with a worker, over a socket of its own.

use crate::worker::protocol::{self, FromWorker, MOST_LINE_BYTES, PROTOCOL, ToWorker};
use std::io;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{self, Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

/// What comes from a worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A message.
    Said(FromWorker),
    /// Something that is no message: the conversation is over, for nobody knows what it meant.
    Garbage(String),
}

/// A socket for one worker. It goes, with its file, when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    sender: UnboundedSender<ToWorker>,
    server: JoinHandle<()>,
}

impl Socket {
    /// Listens at `path`. What the worker says goes to `heard`, with its number; where nobody takes it, the
    /// worker has to wait.
    ///
    /// # Errors
    /// If the socket can't be made.
    pub fn open(path: &Path, worker: u64, heard: Sender<(u64, Heard)>) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let (sender, received) = mpsc::unbounded_channel();
        let server = tokio::spawn(serve(listener, worker, received, heard));
        Ok(Self { path: path.to_owned(), sender, server })
    }

    /// Says something to the worker, now or once it has connected.
    pub fn say(&self, message: ToWorker) {
        // An error means that the worker has hung up.
        let _ = self.sender.send(message);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.server.abort();
        // A file that is gone needs no removing.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One worker, one connection: a second one is closed.
async fn serve(
    listener: UnixListener,
    worker: u64,
    messages: UnboundedReceiver<ToWorker>,
    heard: Sender<(u64, Heard)>,
) {
    let Ok((stream, _)) = listener.accept().await else { return };
    let (reader, writer) = UnixStream::into_split(stream);
    let writing = tokio::spawn(write_all(writer, messages));
    if let Err(problem) = read_all(reader, worker, &heard).await {
        // Nobody listens when the agent ends.
        let _ = heard.send((worker, Heard::Garbage(problem))).await;
    }
    writing.abort();
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream);
    }
}

async fn write_all(mut writer: OwnedWriteHalf, mut messages: UnboundedReceiver<ToWorker>) {
    while let Some(message) = messages.recv().await {
        let mut line = Vec::new();
        // Writing into memory doesn't fail, and a worker that has hung up needs no message.
        if protocol::write(&mut line, &message).is_err() || writer.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Reads until the worker hangs up; an error is what it said wrong.
async fn read_all(
    reader: OwnedReadHalf,
    worker: u64,
    heard: &Sender<(u64, Heard)>,
) -> Result<(), String> {
    let mut reader = BufReader::new(reader);
    let mut is_first = true;
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(MOST_LINE_BYTES as u64 + 1);
        match limited.read_until(b'\n', &mut line).await {
            // A connection that is gone says nothing: the process's end does.
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        let message: FromWorker = protocol::parse(&line).map_err(|error| error.to_string())?;
        message.check()?;
        if is_first {
            check_hello(&message, worker)?;
        }
        is_first = false;
        // Nobody listens when the agent ends.
        let _ = heard.send((worker, Heard::Said(message))).await;
    }
}

fn check_hello(message: &FromWorker, worker: u64) -> Result<(), String> {
    match message {
        FromWorker::Hello { protocol: PROTOCOL, worker: number, .. } if *number == worker => Ok(()),
        FromWorker::Hello { protocol: PROTOCOL, worker: number, .. } => {
            Err(format!("this socket is worker {worker}'s, not {number}'s"))
        }
        FromWorker::Hello { protocol, .. } => {
            Err(format!("this agent speaks protocol {PROTOCOL}, the worker {protocol}"))
        }
        _ => Err("the first message is not `hello`".to_owned()),
    }
}
