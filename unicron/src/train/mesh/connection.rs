//! One connection: who calls, then a thread that reads and one that writes.

use super::message::{self, Envelope};
use super::{CONNECT_TIME_OUT, MOST_PARKED, MeshEvent, Shared};
use crate::{Error, Result};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;

/// Begins every handshake.
const MAGIC: [u8; 8] = *b"unicron1";
/// Bytes of a handshake.
const HELLO: usize = 32;
/// Bytes that a connection buffers each way.
const BUFFER: usize = 1 << 16;

/// Who calls whom, for which group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub epoch: u64,
    pub from: u64,
    pub to: u64,
}

impl Hello {
    pub(super) fn write(self, stream: &mut impl Write) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.epoch, self.from, self.to] {
            bytes.extend(number.to_le_bytes());
        }
        stream.write_all(&bytes)
    }

    pub(super) fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; HELLO];
        stream.read_exact(&mut bytes)?;
        if bytes[..8] != MAGIC {
            return Err(io::Error::other("a caller speaks another protocol"));
        }
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        Ok(Self { epoch: number(8), from: number(16), to: number(24) })
    }
}

/// A thread with a name.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map(|_| ()).map_err(|error| Error::Network {
        what: format!("cannot start the thread {name}"),
        problem: error.to_string(),
    })
}

/// Takes calls until the mesh is dropped.
pub(super) fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for stream in listener.incoming() {
        if shared.links().epoch == u64::MAX {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        // A caller that says nothing holds up nobody else. Without a thread it is turned away, and
        // calls again for the next group.
        let _ = spawn("greet", move || greet(&shared, stream));
    }
}

fn greet(shared: &Arc<Shared>, mut stream: TcpStream) {
    let hello = stream
        .set_read_timeout(Some(CONNECT_TIME_OUT))
        .and_then(|()| Hello::read(&mut stream))
        .and_then(|hello| stream.set_read_timeout(None).map(|()| hello));
    // Whoever isn't a member, or took this for somebody else, has no part in any group.
    let Some(hello) = hello.ok().filter(|hello| hello.to == shared.me) else { return };
    {
        let mut links = shared.links();
        if hello.epoch > links.epoch {
            if links.parked.len() < MOST_PARKED {
                links.parked.push((hello.epoch, hello.from, stream));
            }
            return;
        }
    }
    start(shared, hello.epoch, hello.from, stream);
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Started {
    Yes,
    /// Its group has been left, or it is a second one.
    Stale,
}

/// Starts a connection's threads, if its group is the present one.
pub(super) fn start(shared: &Arc<Shared>, epoch: u64, worker: u64, stream: TcpStream) -> Started {
    let copies = stream.set_nodelay(true).and_then(|()| {
        let (reading, closing) = (stream.try_clone()?, stream.try_clone()?);
        Ok((reading, closing))
    });
    let (reading, closing) = match copies {
        Ok(copies) => copies,
        Err(error) => {
            lost(shared, epoch, worker, &error.to_string());
            return Started::Stale;
        }
    };
    let queue = {
        let mut links = shared.links();
        if links.epoch != epoch {
            return Started::Stale;
        }
        let Some(queue) = links.expected.remove(&worker) else { return Started::Stale };
        links.streams.push(closing);
        queue
    };
    let (reader, writer) = (shared.clone(), shared.clone());
    let started = spawn("read", move || read(&reader, epoch, worker, reading))
        .and_then(|()| spawn("write", move || write(&writer, epoch, worker, stream, &queue)));
    if let Err(error) = started {
        lost(shared, epoch, worker, &error.to_string());
    }
    Started::Yes
}

fn read(shared: &Shared, epoch: u64, worker: u64, stream: TcpStream) {
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let why = loop {
        match message::read(&mut stream, shared.most_numbers) {
            Ok(Some(envelope)) if envelope.epoch == epoch => {
                (shared.sink)(MeshEvent::Message(worker, envelope));
            }
            Ok(Some(_)) => break "a message of another group".to_owned(),
            Ok(None) => break "the connection was closed".to_owned(),
            Err(error) => break error.to_string(),
        }
    };
    lost(shared, epoch, worker, &why);
}

fn write(shared: &Shared, epoch: u64, worker: u64, stream: TcpStream, queue: &Receiver<Envelope>) {
    let mut stream = BufWriter::with_capacity(BUFFER, stream);
    while let Ok(envelope) = queue.recv() {
        if let Err(error) = message::write(&mut stream, &envelope) {
            return lost(shared, epoch, worker, &error.to_string());
        }
    }
}

/// Says that a connection is gone, unless its group has been left: then it was shut on purpose.
pub(super) fn lost(shared: &Shared, epoch: u64, worker: u64, error: &str) {
    if shared.links().epoch == epoch {
        (shared.sink)(MeshEvent::Lost(epoch, worker, error.to_owned()));
    }
}
