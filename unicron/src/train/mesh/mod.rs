//! The connections of a group: each member with each other, over TCP, new for every group.
//!
//! Nothing here ever waits for a peer in the caller's thread: a message goes into a queue, a thread per
//! connection writes it, another reads. So a peer that is stopped or gone holds up nobody who has already
//! been told of a group without it. Leaving a group is to shut all its connections; the listener stays.
//!
//! | what | file |
//! |---|---|
//! | messages and their bytes | [`message`] |
//! | threads of one connection, the handshake | `connection.rs` |

mod connection;
pub mod message;

pub use message::{Envelope, Message, Values};

use crate::{Error, Result};
use connection::{Hello, Started};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long a peer's host may take to answer a connection, and a peer to say who it is.
const CONNECT_TIME_OUT: Duration = Duration::from_secs(5);
/// Connections of groups that this worker hasn't heard of yet, at most.
const MOST_PARKED: usize = 1024;

/// What a mesh says.
#[derive(Debug)]
pub enum MeshEvent {
    /// A message of the present group, from this worker.
    Message(u64, Envelope),
    /// The connection to a worker of this group (epoch, worker) is gone.
    Lost(u64, u64, String),
}

/// Where a mesh's events go.
pub type Sink = Arc<dyn Fn(MeshEvent) + Send + Sync>;

/// A worker's connections to the others of its group.
pub struct Mesh {
    shared: Arc<Shared>,
    address: SocketAddr,
    queues: BTreeMap<u64, Sender<Envelope>>,
    epoch: u64,
    /// Bytes that were handed to the queues.
    sent_bytes: u64,
}

/// What the threads share.
struct Shared {
    me: u64,
    most_numbers: usize,
    sink: Sink,
    state: Mutex<Links>,
}

#[derive(Default)]
struct Links {
    epoch: u64,
    /// Queues of members that will connect, or be connected to.
    expected: BTreeMap<u64, Receiver<Envelope>>,
    /// For shutting down.
    streams: Vec<TcpStream>,
    /// Of groups to come: epoch, worker, connection.
    parked: Vec<(u64, u64, TcpStream)>,
}

impl Links {
    fn leave(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.expected.clear();
        for stream in self.streams.drain(..) {
            // A connection that is gone already can't be shut, and needn't be.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.state.lock().expect("no thread panics while it holds the links")
    }
}

impl Mesh {
    /// Listens on a free port of `host` for worker `me`. A message has at most `most_numbers`.
    ///
    /// # Errors
    /// [`Error::Network`] if it can't.
    pub fn listen(host: &str, me: u64, most_numbers: usize, sink: Sink) -> Result<Self> {
        let network = |what: &str| {
            let what = format!("{what} {host}");
            move |error: std::io::Error| Error::Network { what, problem: error.to_string() }
        };
        let listener = TcpListener::bind((host, 0)).map_err(network("cannot listen on"))?;
        let address = listener.local_addr().map_err(network("cannot listen on"))?;
        let state = Mutex::new(Links::default());
        let shared = Arc::new(Shared { me, most_numbers, sink, state });
        let accepting = shared.clone();
        connection::spawn("accept", move || connection::accept(&accepting, &listener))?;
        Ok(Self { shared, address, queues: BTreeMap::new(), epoch: 0, sent_bytes: 0 })
    }

    /// Where others reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that were sent, or are about to be.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Leaves the group before, and connects to the others of a new one: workers and their addresses.
    ///
    /// # Errors
    /// [`Error::Network`] if no threads can be had.
    pub fn switch(&mut self, epoch: u64, others: &[(u64, String)]) -> Result<()> {
        self.epoch = epoch;
        self.queues.clear();
        let mut parked = Vec::new();
        {
            // All at once: a member that calls in between must find that it is expected.
            let mut links = self.shared.links();
            links.leave(epoch);
            for (worker, _) in others {
                let (queue, receiver) = mpsc::channel();
                self.queues.insert(*worker, queue);
                links.expected.insert(*worker, receiver);
            }
            for (of, worker, stream) in std::mem::take(&mut links.parked) {
                match of.cmp(&epoch) {
                    Ordering::Less => drop(stream),
                    Ordering::Equal => parked.push((worker, stream)),
                    Ordering::Greater => links.parked.push((of, worker, stream)),
                }
            }
        }
        for (worker, stream) in parked {
            connection::start(&self.shared, epoch, worker, stream);
        }
        // The lower number connects to the higher.
        for (worker, address) in others.iter().filter(|(worker, _)| *worker > self.shared.me) {
            let (shared, worker, address) = (self.shared.clone(), *worker, address.clone());
            connection::spawn("connect", move || dial(&shared, epoch, worker, &address))?;
        }
        Ok(())
    }

    /// Leaves the group: its connections are shut, what waits in queues is dropped. From now on only
    /// connections of `epoch` and later ones are taken.
    pub fn leave(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.queues.clear();
        self.shared.links().leave(epoch);
    }

    /// Sends a message to a member, sometime. A member that is gone is told of by [`MeshEvent::Lost`].
    pub fn send(&mut self, worker: u64, iteration: u64, message: Message) {
        if let Some(queue) = self.queues.get(&worker) {
            self.sent_bytes += message.bytes();
            // A writer that has ended has said so.
            let _ = queue.send(Envelope { epoch: self.epoch, iteration, message });
        }
    }

    /// Sends a message to all others.
    pub fn broadcast(&mut self, iteration: u64, message: &Message) {
        let workers: Vec<u64> = self.queues.keys().copied().collect();
        for worker in workers {
            self.send(worker, iteration, message.clone());
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.leave(u64::MAX);
        // Wakes the thread that accepts; it sees the last epoch and ends.
        let _ = TcpStream::connect_timeout(&self.address, CONNECT_TIME_OUT);
    }
}

/// Connects to a member and says who calls.
fn dial(shared: &Arc<Shared>, epoch: u64, worker: u64, address: &str) {
    let hello = Hello { epoch, from: shared.me, to: worker };
    let connected = resolve(address)
        .and_then(|address| TcpStream::connect_timeout(&address, CONNECT_TIME_OUT))
        .and_then(|mut stream| hello.write(&mut stream).map(|()| stream));
    match connected {
        Ok(stream) => match connection::start(shared, epoch, worker, stream) {
            Started::Yes | Started::Stale => {}
        },
        Err(error) => connection::lost(shared, epoch, worker, &error.to_string()),
    }
}

fn resolve(address: &str) -> std::io::Result<SocketAddr> {
    let mut addresses = address.to_socket_addrs()?;
    addresses.next().ok_or_else(|| std::io::Error::other(format!("{address} is nowhere")))
}

#[cfg(test)]
mod tests;
