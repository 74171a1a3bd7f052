//! A small real HTTP server for the tests of this folder: it gives prepared answers in order and
//! keeps what it was asked.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Transport;

/// One prepared answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    status: u16,
    body: Vec<u8>,
    honours_range: bool,
    claimed_range: Option<&'static str>,
    cut_after: Option<usize>,
    announces_length: bool,
    headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// The whole body, whatever range is asked for.
    pub(super) fn whole(body: &[u8]) -> Self {
        Self {
            status: 200,
            body: body.to_vec(),
            honours_range: false,
            claimed_range: None,
            cut_after: None,
            announces_length: true,
            headers: Vec::new(),
        }
    }

    /// The part of the body that is asked for.
    pub(super) fn ranged(body: &[u8]) -> Self {
        Self { honours_range: true, ..Self::whole(body) }
    }

    /// A status without the file.
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::whole(b"no") }
    }

    /// Closes the connection after `bytes` of the body.
    pub(super) fn cut_after(self, bytes: usize) -> Self {
        Self { cut_after: Some(bytes), ..self }
    }

    /// Says another `Content-Range` than is true.
    pub(super) fn claiming(self, range: &'static str) -> Self {
        Self { claimed_range: Some(range), ..self }
    }

    /// Ends the body by closing the connection instead of announcing its length.
    pub(super) fn without_length(self) -> Self {
        Self { announces_length: false, ..self }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn send(&self, stream: &mut TcpStream, range: Option<&str>) -> usize {
        let mut status = self.status;
        let mut body = self.body.as_slice();
        let mut head = String::new();
        if let Some((first, last)) = range.filter(|_| self.honours_range).and_then(parse_range) {
            let last = last.map_or(body.len(), |last| (last + 1).min(body.len()));
            let truth = format!("bytes {first}-{}/{}", last - 1, body.len());
            head = format!("Content-Range: {}\r\n", self.claimed_range.unwrap_or(&truth));
            (status, body) = (206, &body[first..last]);
        }
        if self.announces_length {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        body = &body[..self.cut_after.unwrap_or(body.len()).min(body.len())];
        let head = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n{head}\r\n");
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        // A client that hangs up early is what some tests are about.
        if sent.is_ok() { body.len() } else { 0 }
    }
}

/// What the server was asked.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// The path.
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// How many bytes of a body were sent back.
    pub sent: usize,
}

/// A server on a free port of this machine.
#[derive(Debug)]
pub(super) struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves `answers` in order, one a request, then 500.
    pub(super) fn start(answers: Vec<Answer>) -> Self {
        let mut answers = answers.into_iter();
        Self::serve(move |_| answers.next().unwrap_or_else(|| Answer::status(500)))
    }

    /// Serves what `answer` says for a path.
    pub(super) fn serve(mut answer: impl FnMut(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        // The thread ends with the test process; nothing it holds outlives that.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let Some(mut request) = read_request(&stream) else { continue };
                let answer = answer(&request.path);
                // The log is complete before the client can see the end of the answer.
                let mut log = log.lock().unwrap();
                request.sent = answer.send(&mut stream, request.range.as_deref());
                log.push(request);
            }
        });
        Self { address, requests }
    }

    /// The server's address, without a slash at its end.
    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of `path`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, range: None, authorization: None, sent: 0 };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Some(request)
}

fn parse_range(range: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}

/// The SHA-256 of `bytes` in hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Three attempts, without waiting between them.
pub(super) fn quick_transport() -> Transport {
    let mut transport = Transport::new(PathBuf::from("unused-hub-cache"));
    (transport.attempts, transport.retry_pause) = (3, Duration::ZERO);
    transport
}
