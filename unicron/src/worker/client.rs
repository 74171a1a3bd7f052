//! A worker's end of the connection to its agent.
//!
//! Plain threads, no runtime: a worker that computes has no other use for one.

use super::protocol::{self, FromWorker, PROTOCOL, ToWorker};
use crate::{Error, Result};
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The connection to the agent.
#[derive(Debug)]
pub struct Client {
    stream: Mutex<UnixStream>,
}

/// What comes from the agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A message.
    Message(ToWorker),
    /// Nothing more: the agent has ended, or what it says is no message. The worker has to end.
    End(String),
}

impl Client {
    /// Connects, says who it is, and hands everything that comes to `sink`, from a thread of its own.
    ///
    /// # Errors
    /// [`Error::Network`] if the agent can't be reached.
    pub fn connect(
        socket: &Path,
        worker: u64,
        sink: impl Fn(Heard) + Send + 'static,
    ) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Network {
            what: format!("agent at {}", socket.display()),
            problem: error.to_string(),
        };
        let stream = UnixStream::connect(socket).map_err(failed)?;
        let reading = stream.try_clone().map_err(failed)?;
        let listen = thread::Builder::new().name("agent".to_owned());
        listen.spawn(move || listen_to(reading, &sink)).map_err(failed)?;
        let client = Self { stream: Mutex::new(stream) };
        client.send(&FromWorker::Hello { protocol: PROTOCOL, worker, pid: std::process::id() })?;
        Ok(client)
    }

    /// Says something.
    ///
    /// # Errors
    /// [`Error::Network`] if the agent has ended.
    pub fn send(&self, message: &FromWorker) -> Result<()> {
        // A line that a panic cut short is noticed by the agent.
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        protocol::write(&mut *stream, message).map_err(|error| Error::Network {
            what: "agent".to_owned(),
            problem: error.to_string(),
        })
    }
}

fn listen_to(stream: UnixStream, sink: &(impl Fn(Heard) + Send)) {
    let mut stream = BufReader::new(stream);
    loop {
        match protocol::read(&mut stream) {
            Ok(Some(message)) => sink(Heard::Message(message)),
            Ok(None) => return sink(Heard::End("the agent has closed the connection".to_owned())),
            Err(error) => return sink(Heard::End(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;

    #[test]
    fn a_worker_says_hello_and_hears_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (sender, heard) = mpsc::channel();
        let client = Client::connect(&path, 7, move |what| drop(sender.send(what))).unwrap();
        let (mut agent, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(agent.try_clone().unwrap());
        let hello: FromWorker = protocol::read(&mut reader).unwrap().unwrap();
        assert!(matches!(hello, FromWorker::Hello { protocol: PROTOCOL, worker: 7, .. }));
        client.send(&FromWorker::RolledBack { epoch: 1, iteration: 2 }).unwrap();
        let next: FromWorker = protocol::read(&mut reader).unwrap().unwrap();
        assert_eq!(next, FromWorker::RolledBack { epoch: 1, iteration: 2 });
        let lease = ToWorker::Lease { seconds: None };
        protocol::write(&mut agent, &lease).unwrap();
        assert_eq!(heard.recv().unwrap(), Heard::Message(lease));
        agent.write_all(b"nonsense\n").unwrap();
        let Heard::End(why) = heard.recv().unwrap() else { panic!() };
        assert!(why.contains("is no message"), "{why}");
    }

    #[test]
    fn a_missing_agent_is_named() {
        let error = Client::connect(Path::new("/nowhere/socket"), 1, |_| ()).unwrap_err();
        assert!(error.to_string().starts_with("agent at /nowhere/socket: "), "{error}");
    }
}
